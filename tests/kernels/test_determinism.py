# SPDX-License-Identifier: Apache-2.0
"""The CPU kernels give the same bits for any number of threads, from two callers at once, and by both ways in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from parity import ARGUMENTS, Backend, render_with_gradients, upstream_for
from synthetic import SyntheticScene, make_scene
from torch import Tensor

from sparse3d.kernels.records import View
from sparse3d.splats import PARAMETER_NAMES


@pytest.fixture
def threads(cpu_backend: Backend) -> Iterator:
    """`threads(n)` sets how many threads the kernels of the level under test use; put back at the end."""
    from sparse3d.kernels import cpu

    yield cpu.set_threads
    cpu.set_threads(0)


def _large_scene() -> SyntheticScene:
    """Enough splats and tiles that blocks are dealt to threads in another order each time."""
    return make_scene(51, num_splats=6000, width=130, height=90, scale=0.03, opaque=0.1, antialias=True).to(
        torch.float32
    )


def _everything(backend: Backend, scene: SyntheticScene) -> dict[str, Tensor]:
    rendering, gradients = render_with_gradients(backend.rasterize, scene, upstream_for(scene, 1))
    target = torch.rand(rendering.image[0].shape, generator=torch.Generator().manual_seed(2))
    leaf = rendering.image[0].clone().requires_grad_()
    loss = backend.l1_ssim_loss(leaf, target, None, 0.2)
    (v_image,) = torch.autograd.grad(loss, leaf)
    return {
        **rendering._asdict(),
        **{f"v_{k}": v for k, v in gradients.items()},
        "loss": loss.detach(),
        "v_image": v_image,
    }


def _assert_same_bits(first: dict[str, Tensor], second: dict[str, Tensor], what: str) -> None:
    differing = [name for name in first if not torch.equal(first[name], second[name])]
    assert not differing, f"{what}: other bits in {differing}"


def test_one_two_and_three_threads_give_the_same_bits(cpu_backend: Backend, threads) -> None:
    scene = _large_scene()
    results = []
    for count in (1, 2, 3, 2):
        assert threads(count) == count
        results.append(_everything(cpu_backend, scene))
    assert (results[0]["radii"] > 0).sum() > 3000
    assert results[0]["v_means"].abs().max() > 0
    for count, result in zip((2, 3, 2), results[1:], strict=True):
        _assert_same_bits(results[0], result, f"{count} threads")


@pytest.mark.parametrize("share", [None, 1, 3])
def test_two_callers_at_once_give_the_same_bits(cpu_backend: Backend, threads, share: int | None) -> None:
    """The second with threads of its own, or in turns with the first."""
    from sparse3d.kernels import cpu

    threads(2)
    scenes = [make_scene(seed, num_splats=2000, width=70, height=50, scale=0.04).to(torch.float32) for seed in (52, 53)]
    alone = [_everything(cpu_backend, scene) for scene in scenes]

    def compute(index: int) -> dict[str, Tensor]:
        with cpu.share(share) if share and index % 2 else contextlib.nullcontext():
            return _everything(cpu_backend, scenes[index % 2])

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(compute, range(6)))
    for index, result in enumerate(together):
        _assert_same_bits(alone[index % 2], result, f"caller {index}")


def test_a_scene_does_not_depend_on_what_was_rendered_before(cpu_backend: Backend) -> None:
    """Buffers keep what was in them: a second, other scene in the same step must not show through."""
    from sparse3d.kernels.cpu.step import CpuSplatStep

    big, small = _large_scene(), make_scene(54, num_splats=50, width=33, height=20).to(torch.float32)
    fresh, used = CpuSplatStep(), CpuSplatStep()
    _step_render(used, big)
    expected, found = _step_render(fresh, small), _step_render(used, small)
    _assert_same_bits(expected, found, "used buffers")


def _step_render(step, scene: SyntheticScene) -> dict[str, Tensor]:
    view = View(scene.settings.width, scene.settings.height, scene.cam_from_world[0], scene.intrinsics[0])
    rendering = step.render(scene.params, view, scene.background[0], scene.settings)
    parts = {
        "image": rendering.image,
        "alpha": rendering.alpha,
        "depth": rendering.depth,
        "median": rendering.median_depth,
    }
    return {name: part.clone() for name, part in parts.items()}


def test_levels_agree_with_each_other() -> None:
    """Not the same bits, but the same picture: lanes of 4, 8 and 16 round sums in another order."""
    from parity import CPU_LEVELS, CPU_MISSING

    if len(CPU_LEVELS) < 2:
        pytest.skip(CPU_MISSING if not CPU_LEVELS else "this machine has one SIMD level")
    from sparse3d.kernels import cpu

    scene = make_scene(55, num_splats=300).to(torch.float32)
    pictures = []
    for level in CPU_LEVELS:
        with cpu.use_level(level):
            pictures.append(Backend("cpu").rasterize(*scene.arguments()).image)
    for picture in pictures[1:]:
        assert (picture - pictures[0]).abs().mean() < 1e-5
        assert (picture - pictures[0]).abs().max() < 0.02


def test_arguments_are_left_alone(cpu_backend: Backend) -> None:
    scene = make_scene(56, num_splats=100).to(torch.float32)
    before = {name: value.clone() for name, value in scene.tensors().items()}
    _everything(cpu_backend, scene)
    for name in ARGUMENTS:
        assert torch.equal(scene.tensors()[name], before[name]), name
    assert set(PARAMETER_NAMES) < set(ARGUMENTS)

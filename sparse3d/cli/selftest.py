# SPDX-License-Identifier: Apache-2.0
"""One small test per operation on a back end, for `doctor`: does this build, on this machine, compute what it should?

The judge is reference.py in float64. A splat that ends at 1/255 in one precision and not in the other changes single
pixels, so a test allows a few outliers; a broken kernel has thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from sparse3d import kernels
from sparse3d.kernels import cpu, reference
from sparse3d.kernels.records import AdamHyper, AdamState, OutputGradients, RasterSettings, View
from sparse3d.kernels.step import photometric, splat_step
from sparse3d.splats import PARAMETER_NAMES

_SETTINGS = RasterSettings(45, 37, sh_degree=3, depth=True)
_TOLERANCE = 2e-3
_OUTLIERS = 0.005


class Outcome(NamedTuple):
    """`error`: what the check measured; `problem`: empty where it is good enough."""

    name: str
    error: float
    problem: str


def run_all(level: str) -> list[Outcome]:
    """Every test on one build of the CPU kernels. A test that raises is a problem, not an end."""
    tests: list[tuple[str, Callable[[], tuple[float, str]]]] = [
        ("rasterize", _rasterize),
        ("rasterize gradients", _rasterize_gradients),
        ("L1 + SSIM loss and gradient", _loss),
        ("training step with Adam", _step),
        ("same bits at 1, 2 and 3 threads", _threads),
    ]
    out = []
    with cpu.use_level(level):
        for name, test in tests:
            try:
                out.append(Outcome(name, *test()))
            except Exception as error:
                out.append(Outcome(name, float("nan"), f"{type(error).__name__}: {error}"))
    return out


def _scene(dtype: torch.dtype) -> dict[str, Tensor]:
    """300 seeded splats in front of the camera and some behind it."""
    g = torch.Generator().manual_seed(7)
    means = torch.randn(300, 3, generator=g) * torch.tensor([1.2, 1.0, 0.7]) + torch.tensor([0.0, 0.0, 2.5])
    scene = {
        "means": means,
        "quats_wxyz": torch.randn(300, 4, generator=g),
        "log_scales": torch.randn(300, 3, generator=g) * 0.4 - 2.3,
        "logit_opacities": torch.randn(300, generator=g),
        "sh0": torch.randn(300, 1, 3, generator=g),
        "shN": torch.randn(300, 15, 3, generator=g) * 0.1,
    }
    return {name: tensor.to(dtype) for name, tensor in scene.items()}


def _camera(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    pose = torch.eye(4, dtype=dtype)
    pose[0, 3] = 0.1
    intrinsics = torch.tensor([40.0, 41.0, 22.0, 18.5], dtype=dtype)
    return pose, intrinsics, torch.tensor([0.1, 0.2, 0.3], dtype=dtype)


def _target(dtype: torch.dtype) -> Tensor:
    return torch.rand(37, 45, 3, generator=torch.Generator().manual_seed(8)).to(dtype)


def _both(backend: str, dtype: torch.dtype) -> tuple[dict[str, Tensor], kernels.Rasterization]:
    scene = {name: tensor.requires_grad_() for name, tensor in _scene(dtype).items()}
    pose, intrinsics, background = _camera(dtype)
    out = kernels.rasterize(
        **scene, cam_from_world=pose[None], intrinsics=intrinsics[None], background=background[None],
        settings=_SETTINGS, backend=backend,
    )  # fmt: skip
    return scene, out


def _rasterize() -> tuple[float, str]:
    with torch.no_grad():
        _, found = _both("cpu", torch.float32)
        _, expected = _both("reference", torch.float64)
    if float(expected.alpha.mean()) < 0.1:
        return float("nan"), "the test's picture is empty"
    worst = max(_share_off(getattr(found, name), getattr(expected, name)) for name in ("image", "alpha", "depth"))
    return worst, "" if worst <= _OUTLIERS else f"{worst:.1%} of the values differ from the reference"


def _rasterize_gradients() -> tuple[float, str]:
    gradients = []
    for backend, dtype in (("cpu", torch.float32), ("reference", torch.float64)):
        scene, out = _both(backend, dtype)
        ((out.image - _target(dtype)) ** 2).sum().backward()
        gradients.append({name: tensor.grad for name, tensor in scene.items()})
    return _worst_relative(*gradients, limit=0.02)


def _loss() -> tuple[float, str]:
    rows = []
    for backend, dtype in (("cpu", torch.float32), ("reference", torch.float64)):
        image = _target(dtype).flip(0).contiguous().requires_grad_()
        loss = kernels.l1_ssim_loss(image, _target(dtype), None, 0.2, backend=backend)
        loss.backward()
        rows.append({"loss": loss.detach(), "gradient": image.grad})
    return _worst_relative(*rows, limit=1e-3)


def _step() -> tuple[float, str]:
    rows = [_after_one_step(backend, 1) for backend in ("cpu", "reference")]
    before = _scene(torch.float32)
    moved = [{name: row[name] - before[name] for name in PARAMETER_NAMES} for row in rows]
    return _worst_relative(*moved, limit=0.02)


def _threads() -> tuple[float, str]:
    first = _after_one_step("cpu", 1)
    for count in (2, 3):
        other = _after_one_step("cpu", count)
        different = [name for name in PARAMETER_NAMES if not torch.equal(first[name], other[name])]
        if different:
            return float("nan"), f"{count} threads give other bits in {', '.join(different)}"
    return 0.0, ""


def _after_one_step(backend: str, threads: int) -> dict[str, Tensor]:
    params = _scene(torch.float32)
    pose, intrinsics, background = _camera(torch.float32)
    step, view = splat_step(backend, threads), View(_SETTINGS.width, _SETTINGS.height, pose, intrinsics)
    # A large eps keeps the step proportional to the gradient: with the usual 1e-15 the first step of Adam is the
    # gradient's sign, and rounding decides it where the gradient is nearly zero.
    hyper = AdamHyper(lr=dict.fromkeys(PARAMETER_NAMES, 1e-2), eps=1.0)
    rendering = step.render(params, view, background, _SETTINGS)
    found = photometric(backend)(rendering.image, _target(torch.float32), None, 0.2)
    step.backward_adam(params, AdamState.zeros(params), hyper, OutputGradients(found.v_image))
    return params


def _share_off(found: Tensor, expected: Tensor) -> float:
    off = (found.double() - expected.double()).abs() > _TOLERANCE * (1.0 + expected.double().abs())
    return float((off | ~torch.isfinite(found)).double().mean())


def _worst_relative(
    found: Mapping[str, Tensor | None], expected: Mapping[str, Tensor | None], *, limit: float
) -> tuple[float, str]:
    """Largest |found - expected| / |expected| over the tensors, as norms."""
    worst, where = 0.0, ""
    for name, value in expected.items():
        other = found[name]
        if value is None or other is None or float(value.norm()) == 0.0:
            return float("nan"), f"no gradient to {name}"
        error = float((other.double() - value.double()).norm() / value.double().norm())
        if not error <= worst:
            worst, where = error, name
    return worst, "" if worst <= limit else f"{where} is {worst:.1%} off"


def reference_runs() -> Outcome:
    """The reference against a value known by hand: one opaque splat in the middle of a picture."""
    params = {
        "means": torch.tensor([[0.0, 0.0, 1.0]]), "quats_wxyz": torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        "log_scales": torch.full((1, 3), -1.0), "logit_opacities": torch.tensor([0.0]),
        "sh0": torch.zeros(1, 1, 3), "shN": torch.zeros(1, 0, 3),
    }  # fmt: skip
    out = reference.rasterize(
        params["means"], params["quats_wxyz"], params["log_scales"], params["logit_opacities"], params["sh0"],
        params["shN"], cam_from_world=torch.eye(4)[None], intrinsics=torch.tensor([[9.0, 9.0, 4.5, 4.5]]),
        background=torch.zeros(1, 3), settings=RasterSettings(9, 9, sh_degree=0),
    )  # fmt: skip
    # In the centre the Gaussian is 1: alpha = opacity = 0.5, colour = 0.5, so the pixel is 0.25.
    error = abs(float(out.image[0, 4, 4, 0]) - 0.25)
    return Outcome("rasterize", error, "" if error < 1e-5 else f"the middle pixel is off by {error:.2g}")

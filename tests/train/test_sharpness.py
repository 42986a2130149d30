# SPDX-License-Identifier: Apache-2.0
"""Sharpness-aware steps: uphill by the stated length, and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sparse3d.kernels.reference import l1_ssim_loss, rasterize
from sparse3d.scene.records import Scene
from sparse3d.splats import PARAMETER_NAMES
from sparse3d.train.config import DensityConfig, ScheduleConfig, TrainConfig
from sparse3d.train.schedule import learning_rates
from sparse3d.train.terms.config import TermsConfig
from sparse3d.train.trainer import Run
from sparse3d.train.views import raster_settings
from tests.train import tiny

CONFIG = TrainConfig(
    steps=60, sh_degree=1, threads=1, schedule=ScheduleConfig(half_size_until=0, sh_degree_every=0),
    density=DensityConfig(policy="fixed"), terms=TermsConfig(sharpness=3.0, sharpness_start=0.5),
)  # fmt: skip


def climbed(run: Run, progress: float, scale_shown: float = 0.0) -> tuple[dict[str, torch.Tensor], float]:
    """Parameters after a climb, and how much higher the loss is there."""
    shot = run.shots.next(1, 0.0, 1, torch.zeros(3))
    settings = raster_settings(shot.view, CONFIG, 1)
    before = {name: tensor.clone() for name, tensor in run.params.items()}
    shown = dict(run.params)
    if scale_shown:
        shown["logit_opacities"] = run.params["logit_opacities"] - scale_shown

    def loss() -> float:
        run.kernels.render(shown, shot.view.cam_from_world, shot.view.intrinsics, torch.zeros(3), settings)
        return shot.loss(run.kernels, rendering=None, ssim_weight=0.2)[0]  # type: ignore[arg-type]

    low = loss()
    run.sharpness.climb(run.kernels, run.params, shown, shot, torch.zeros(3), settings, 0.2, progress)
    moved = {name: tensor.clone() for name, tensor in run.params.items()}
    if scale_shown:
        offset = moved["logit_opacities"] - before["logit_opacities"]
        assert torch.allclose(shown["logit_opacities"], before["logit_opacities"] - scale_shown + offset, atol=1e-5)
    rise = loss() - low
    run.sharpness.descend(run.params)
    for name, tensor in run.params.items():
        assert torch.allclose(tensor, before[name], atol=1e-5), name
    return moved, rise


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_uphill_is_along_the_gradient_by_steps_of_the_optimiser(tiny_scene: Scene, backend: str):
    start = replace(tiny.true_splats(), sh0=tiny.true_splats().sh0 * 0.5)
    run = Run(tiny_scene, start, replace(CONFIG, backend=backend), None)
    moved, rise = climbed(run, 0.5)
    assert rise > 0
    rates = learning_rates(CONFIG.rates, run.extent, 0.0)
    shot = Run(tiny_scene, start, CONFIG, None).shots.next(1, 0.0, 1, torch.zeros(3))
    leaves = {name: tensor.double().requires_grad_() for name, tensor in start.named()}
    p = [leaves[name] for name in PARAMETER_NAMES]
    pose, intrinsics = shot.view.cam_from_world.double()[None], shot.view.intrinsics.double()[None]
    background = torch.zeros(1, 3, dtype=torch.float64)
    settings = raster_settings(shot.view, CONFIG, 1)
    out = rasterize(p[0], p[1], p[2], p[3], p[4], p[5], pose, intrinsics, background, settings)
    l1_ssim_loss(out.image[0], shot.target.double(), None, 0.2).backward()
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        gradient = leaf.grad.reshape(len(leaf.grad), -1)
        norm = gradient.norm(dim=1)
        # Where the gradient is next to nothing its direction is rounding.
        strong = norm > 0.05 * norm.max()
        offset = (moved[name].double() - leaf.detach()).reshape(len(gradient), -1)
        wanted = 3.0 * rates[name] * gradient / norm[:, None]
        assert int(strong.sum()) > 5
        assert torch.allclose(offset[strong], wanted[strong], atol=0.02 * 3.0 * rates[name]), name
        assert torch.all(offset[norm == 0] == 0)


def test_what_is_shown_moves_with_the_splats(tiny_scene: Scene):
    assert climbed(Run(tiny_scene, tiny.true_splats(), CONFIG, None), 0.9, scale_shown=0.5)[1] > 0


def test_before_its_time_nothing_moves(tiny_scene: Scene):
    run = Run(tiny_scene, tiny.initial(), CONFIG, None)
    before = {name: tensor.clone() for name, tensor in run.params.items()}
    moved, rise = climbed(run, 0.49)
    assert rise == 0
    assert all(torch.equal(moved[name], before[name]) for name in moved)


def test_left_out_colours_come_back_after_a_sharpness_aware_step(tiny_scene: Scene):
    """SH dropout puts rows aside that sharpness moves as well."""
    still = replace(CONFIG.rates, means=0, means_final=0, sh0=0, opacities=0, scales=0, quats=0)
    for dropout, rate in ((0.5, 1e-3), (0.5, 0.0)):
        terms = replace(CONFIG.terms, sh_dropout=dropout, sharpness_start=0.0)
        cfg = replace(CONFIG, rates=replace(still, shN=rate), terms=terms)
        run = Run(tiny_scene, tiny.true_splats(), cfg, None)
        before = run.params["shN"].clone()
        for _ in run.advance(None, None):
            pass
        unmoved = (run.params["shN"] - before).abs().amax(dim=(1, 2)) < 1e-6
        assert 0.3 < float(unmoved.float().mean()) <= 1.0
        assert bool(unmoved.all()) == (rate == 0.0)

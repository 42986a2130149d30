# SPDX-License-Identifier: Apache-2.0
"""Colour variance along the rays: its gradient against autograd in float64, and what it does to a scene."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sparse3d.conventions import SH_C0
from sparse3d.kernels.reference import rasterize, sh_basis
from sparse3d.kernels.workspace import AdamHyper, AdamState, StepWorkspace
from sparse3d.scene.records import Scene
from sparse3d.splats import PARAMETER_NAMES, Splats
from sparse3d.train.config import DensityConfig, ScheduleConfig, TrainConfig
from sparse3d.train.ray_variance import RayVariance, colors_of, in_place_of_colors
from sparse3d.train.shots import ExtraShot, PhotoShot
from sparse3d.train.step import ReferenceStep, TrainingStep
from sparse3d.train.terms.config import TermsConfig
from sparse3d.train.trainer import train
from sparse3d.train.views import View, raster_settings, view_of
from tests.train import tiny

CONFIG = TrainConfig(
    steps=120, sh_degree=1, threads=1, schedule=ScheduleConfig(half_size_until=0, sh_degree_every=0),
    density=DensityConfig(policy="fixed"),
)  # fmt: skip
WEIGHT = 0.7


def shot_of(view: View, mask: Tensor | None) -> PhotoShot:
    return PhotoShot("a", 0, view, torch.zeros(view.height, view.width, 3), mask, None)


def loss_of(leaves: dict[str, Tensor], shown_logits: Tensor, view: View, mask: Tensor | None, channel: int) -> Tensor:
    """WEIGHT / 2 times the variance of one channel, by two renderings; float64."""
    means, sh0, shN = leaves["means"].detach(), leaves["sh0"], leaves["shN"]
    pose = view.cam_from_world.double()
    rays = torch.nn.functional.normalize(means + pose[:3, :3].T @ pose[:3, 3], dim=1)
    basis = sh_basis(rays, 1)
    color = (0.5 + basis[:, 0] * sh0[:, 0, channel] + (basis[:, 1:] * shN[:, :, channel]).sum(1)).clamp(min=0)
    settings = raster_settings(view, CONFIG, 0)
    none = torch.zeros(len(means), 0, 3, dtype=torch.float64)
    outputs = []
    for value in (color**2, color):
        grey = ((value - 0.5) / SH_C0)[:, None, None].expand(-1, 1, 3)
        out = rasterize(
            leaves["means"], leaves["quats_wxyz"], leaves["log_scales"], shown_logits, grey, none, pose[None],
            view.intrinsics.double()[None], torch.zeros(1, 3, dtype=torch.float64), settings,
        )  # fmt: skip
        outputs.append(out)
    square, plain = (out.image[0, ..., 0] for out in outputs)
    variance = square - plain**2 / outputs[0].alpha[0].clamp(min=1e-4)
    weight = torch.ones_like(variance) if mask is None else mask.double()
    return 0.5 * WEIGHT * (variance * weight).sum() / weight.sum()


@pytest.mark.parametrize(
    ("step", "masked"), [(StepWorkspace(1), True), (StepWorkspace(1), False), (ReferenceStep(), True)]
)
def test_the_moments_take_up_the_gradient_of_the_loss(step: TrainingStep, masked: bool):
    splats = tiny.true_splats()
    # A colour below 0 shows as 0.
    splats.sh0[:10] = -3.0
    view = view_of(tiny.cameras()[1])
    mask = torch.zeros(view.height, view.width)
    mask[:, 20:] = 1.0
    shot = shot_of(view, mask if masked else None)
    params = dict(splats.named())
    shown = {**params, "logit_opacities": params["logit_opacities"] - 0.5}
    before = AdamState.zeros(params)
    adam = AdamState.zeros(params)
    for moments in (before.m, before.v, adam.m, adam.v):
        for name, tensor in moments.items():
            tensor.copy_(torch.full_like(tensor, 1e-3 if name != "quats_wxyz" else 0.0))
    term = RayVariance(TermsConfig(ray_variance=WEIGHT), torch.Generator().manual_seed(5))
    channel = int(torch.randint(3, (1,), generator=torch.Generator().manual_seed(5)))
    kept = {name: tensor.clone() for name, tensor in params.items()}
    # In the middle of the run the cosine is at a half.
    term.pull(step, params, shown, adam, shot, raster_settings(view, CONFIG, 1, stats=True, depth=True), 0.5)
    assert all(torch.equal(kept[name], params[name]) for name in params)
    assert adam.step == 0

    leaves = {name: tensor.double().requires_grad_() for name, tensor in kept.items()}
    # An opacity shown counts as a constant times the splat's own.
    constant = torch.sigmoid(shown["logit_opacities"].double()) / torch.sigmoid(leaves["logit_opacities"].detach())
    opacity = constant * torch.sigmoid(leaves["logit_opacities"])
    loss = loss_of(leaves, torch.log(opacity / (1 - opacity)), view, shot.mask, channel)
    wanted = dict(zip(PARAMETER_NAMES, torch.autograd.grad(loss, [leaves[k] for k in PARAMETER_NAMES]), strict=True))
    beta1, beta2 = AdamHyper({}).beta1, AdamHyper({}).beta2
    for name, gradient in wanted.items():
        scale = float(gradient.abs().max())
        assert scale > 0, name
        # What is left of it after the step's own decay of the moments.
        first = (adam.m[name] - before.m[name]).double() * beta1 / (1 - beta1)
        second = (adam.v[name] - before.v[name]).double() * beta2 / (1 - beta2)
        assert torch.allclose(first, gradient, atol=2e-3 * scale), name
        assert torch.allclose(second, gradient**2, atol=5e-3 * scale**2 + 2e-7), name
    assert not first[..., [c for c in range(3) if c != channel]].any()  # pyright: ignore[reportPossiblyUnboundVariable]


def test_only_photos_are_looked_at_and_at_the_end_nothing_is_left():
    params = dict(tiny.true_splats().named())
    view, adam = view_of(tiny.cameras()[1]), AdamState.zeros(params)
    term = RayVariance(TermsConfig(ray_variance=1.0), torch.Generator())
    size = (view.height, view.width)
    other = ExtraShot("x", view, torch.zeros(*size, 3), torch.ones(size), 1.0)
    settings, step = raster_settings(view, CONFIG, 1), StepWorkspace(1)
    term.pull(step, params, params, adam, other, settings, 0.0)
    term.pull(step, params, params, adam, shot_of(view, None), settings, 1.0)
    assert not any(bool(tensor.any()) for tensor in adam.m.values())


def mean_deviation(splats: Splats, scene: Scene) -> float:
    """Mean over the training photos and channels of the variance along the rays."""
    total, step = 0.0, StepWorkspace(1)
    for index in scene.train:
        view = view_of(scene.cameras[index])
        params = dict(splats.named())
        for channel in range(3):
            grey = in_place_of_colors(params, colors_of(params, view, 1, channel)[1])
            settings = raster_settings(view, CONFIG, 0)
            seen = step.render(grey, view.cam_from_world, view.intrinsics, torch.zeros(3), settings)
            total += float((seen.image[..., 0] - seen.image[..., 1] ** 2 / seen.alpha.clamp(min=1e-4)).mean())
    return total / (3 * len(scene.train))


def trained(scene: Scene, weight: float) -> tuple[Splats, float]:
    loop = train(scene, tiny.initial(300), replace(CONFIG, terms=TermsConfig(ray_variance=weight)), None)
    psnr = None
    while True:
        try:
            psnr = getattr(next(loop), "psnr", psnr)
        except StopIteration as end:
            assert psnr is not None
            return end.value, psnr


def test_colours_along_the_rays_come_nearer_to_each_other(tiny_scene: Scene):
    few = replace(tiny_scene, train=tiny_scene.train[:3])
    plain, psnr = trained(few, 0.0)
    pulled, psnr_pulled = trained(few, 20.0)
    assert mean_deviation(pulled, few) < 0.7 * mean_deviation(plain, few)
    assert psnr_pulled > psnr - 1.0

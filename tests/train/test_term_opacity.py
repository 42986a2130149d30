# SPDX-License-Identifier: Apache-2.0
"""Opacity dropout and decay against their formulas in float64, and dropout's gradient against autograd."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from sparse3d.kernels.records import AdamHyper, AdamState, OutputGradients, RasterSettings, view_of
from sparse3d.kernels.reference import l1_ssim_loss, rasterize
from sparse3d.kernels.step import photometric, splat_step
from sparse3d.records.scene import Scene
from sparse3d.splats import PARAMETER_NAMES
from sparse3d.train.config import DensityConfig, RatesConfig, TrainConfig
from sparse3d.train.loop import Loop
from sparse3d.train.splats.terms.config import TermsConfig
from sparse3d.train.splats.terms.opacity import drop, scaled_logits
from tests.train import tiny
from tests.train.tiny import loop


def test_scaled_logits_are_those_of_scaled_opacities():
    logits = np.linspace(-40, 40, 401).astype(np.float32)
    for factor in (0.3, 1.0, 1.25, 5.0):
        opacity = np.minimum(factor / (1 + np.exp(-logits.astype(np.float64))), 0.999)
        expected = np.log(opacity / (1 - opacity))
        assert np.allclose(scaled_logits(logits, factor), expected, rtol=1e-5, atol=2e-4)
    extreme = scaled_logits(np.array([-1e3, 1e3], np.float32), 1.25)
    assert np.all(np.isfinite(extreme))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_the_gradient_with_dropout_is_that_of_autograd(backend: str):
    """The step renders the scaled opacities and updates the splats' own."""
    splats = tiny.true_splats()
    params = {name: tensor.clone() for name, tensor in splats.named()}
    generator = torch.Generator().manual_seed(1)
    # Some so opaque that scaling them would exceed 1.
    params["logit_opacities"] = torch.rand(splats.num_splats, generator=generator) * 6 - 3
    dropped, share = torch.rand(splats.num_splats, generator=generator) < 0.3, 0.3
    clamped = torch.sigmoid(params["logit_opacities"]) / (1 - share) > 0.999
    assert bool(dropped.any())
    assert bool((clamped & ~dropped).any())
    view = view_of(tiny.cameras()[0])
    settings = RasterSettings(view.width, view.height, sh_degree=1)
    background, target = torch.zeros(3), torch.rand(view.height, view.width, 3, generator=generator)

    step = splat_step(backend, 1)
    shown = params | {"logit_opacities": drop(params["logit_opacities"], dropped, share)}
    seen = step.render(shown, view, background, settings)
    arriving = OutputGradients(photometric(backend)(seen.image, target, None, 0.2).v_image)
    adam = AdamState.zeros(params)
    still = AdamHyper(dict.fromkeys(params, 0.0))
    step.backward_adam({k: t.clone() for k, t in params.items()}, adam, still, arriving)

    leaves = {name: tensor.double().requires_grad_() for name, tensor in params.items()}
    scaled = torch.sigmoid(leaves["logit_opacities"]) / (1 - share)
    # The clamp is passed through: its derivative is that of what it was given.
    ratio = (0.999 / scaled).clamp(max=1).detach()
    opacity = (scaled * ratio)[~dropped]
    rows = {name: leaf[~dropped] for name, leaf in leaves.items()} | {"logit_opacities": torch.logit(opacity)}
    pose, intrinsics = view.cam_from_world.double()[None], view.intrinsics.double()[None]
    r = [rows[name] for name in PARAMETER_NAMES]
    out = rasterize(r[0], r[1], r[2], r[3], r[4], r[5], pose, intrinsics, background.double()[None], settings)
    l1_ssim_loss(out.image[0], target.double(), None, 0.2).backward()
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        found = adam.m[name].double() / 0.1
        scale = float(leaf.grad.abs().max())
        assert torch.allclose(found, leaf.grad, atol=2e-4 * scale), name
        assert torch.all(found[dropped] == 0), f"{name} of a splat that was left out"


def run_of(scene: Scene, **terms: Any) -> Loop:
    still = RatesConfig(means=0, means_final=0, sh0=0, shN=0, opacities=0, scales=0, quats=0)
    cfg = TrainConfig(
        steps=50, sh_degree=1, threads=1, rates=still, density=DensityConfig(policy="fixed"), terms=TermsConfig(**terms)
    )
    return loop(scene, tiny.initial(), cfg)


def test_opacities_decay_to_their_share_of_the_beginning(tiny_scene: Scene):
    run = run_of(tiny_scene, opacity_decay=0.4, opacity_decay_start=0.2)
    trainee = tiny.trainee(run)
    logits = trainee.params["logit_opacities"]
    logits.copy_(torch.linspace(-20, 20, len(logits)))
    # As if steps had seen every splat but the first four, which this run does not render.
    trainee.adam.v["logit_opacities"][4:] = 1.0
    before = torch.sigmoid(logits.double())
    for _ in range(50):
        list(run.advance())
    # Ten of the fifty steps lie before the start.
    after = torch.sigmoid(logits.double())
    assert torch.allclose(after[4:], before[4:] * math.exp(-0.4 * 40 / 50), rtol=1e-3)
    assert torch.equal(after[:4], before[:4]), "what no photo has seen faded"
    short = run_of(tiny_scene, opacity_decay=50.0, opacity_decay_start=0.0)
    trainee = tiny.trainee(short)
    trainee.adam.v["logit_opacities"][:] = 1.0
    before = torch.sigmoid(trainee.params["logit_opacities"].double())
    list(short.advance())
    after = torch.sigmoid(trainee.params["logit_opacities"].double())
    assert torch.allclose(after, before * math.exp(-0.01), rtol=1e-4)


def test_dropout_rises_with_the_run(tiny_scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """The number of splats that a step renders, at its beginning and near its end."""
    run = run_of(tiny_scene, dropout=0.5)
    drawn = []
    trainee = tiny.trainee(run)
    render = trainee._kernels.render

    def counted(params, *rest):
        drawn.append(int((params["logit_opacities"] > -20).sum()))
        return render(params, *rest)

    monkeypatch.setattr(trainee._kernels, "render", counted)
    while run.step < 50:
        list(run.advance())
    total = trainee.count
    assert drawn[0] == total
    assert np.mean(drawn[-10:]) == pytest.approx(0.55 * total, rel=0.1)
    assert np.mean(drawn[20:30]) == pytest.approx(0.755 * total, rel=0.1)


def test_nothing_is_left_out_when_scores_are_taken(tiny_scene: Scene):
    run = run_of(tiny_scene, dropout=0.5)
    trainee = tiny.trainee(run)
    # Late in the run, where a step leaves out many.
    shot = run.photos.next(41)
    camera = tiny_scene.cameras[tiny_scene.train[shot.position]]
    shown = trainee.render(shot).image.clone()
    first = trainee.picture(camera, shot.background).clone()
    assert not torch.allclose(shown, first, atol=0.05)
    assert torch.equal(first, trainee.picture(camera, shot.background))
    assert torch.equal(first, tiny.trainee(run_of(tiny_scene)).picture(camera, shot.background))

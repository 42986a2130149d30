# SPDX-License-Identifier: Apache-2.0
"""Smoothness of depth, fading before the cameras, and nothing outside of masks."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from sparse3d.kernels.workspace import AdamState
from sparse3d.scene.records import Scene
from sparse3d.train.terms.config import TermsConfig
from sparse3d.train.terms.floating import NearOpacity, Outside
from sparse3d.train.terms.normal import rays
from sparse3d.train.terms.smooth import Smoothness
from sparse3d.train.terms.term import OutputGradients, TermSetup, TermStep
from sparse3d.train.views import view_of
from tests.train import tiny

HEIGHT, WIDTH = 12, 15


class Seen(NamedTuple):
    image: Tensor
    alpha: Tensor
    depth: Tensor


def setup_of(scene: Scene, **values: Any) -> TermSetup:
    return TermSetup(TermsConfig(**values), scene, 100, 1.0, torch.Generator(), tiny.initial().means)


def step_of(target: Tensor, mask: Tensor | None = None, position: int | None = 0) -> TermStep:
    camera = tiny.cameras()[0].resized(target.shape[1], target.shape[0])
    return TermStep(1, 0.0, position, view_of(camera), target, mask, {})


def test_smoothness_has_the_gradient_of_its_loss(tiny_scene: Scene):
    generator = torch.Generator().manual_seed(0)
    alpha = 0.3 + 0.7 * torch.rand(HEIGHT, WIDTH, generator=generator)
    depth = alpha * (2 + torch.rand(HEIGHT, WIDTH, generator=generator))
    target = torch.rand(HEIGHT, WIDTH, 3, generator=generator)
    term = Smoothness(setup_of(tiny_scene, smooth=0.5))
    first = torch.randint(2, (2,), generator=torch.Generator()).tolist()
    gradients = OutputGradients()
    term.add_gradients(step_of(target), Seen(target, alpha, depth), gradients)

    a, d = alpha.double().requires_grad_(), depth.double().requires_grad_()
    inverse, seen, image = a / d, (alpha > 0.5).double(), target.double()
    mean = ((inverse * seen).sum() / seen.sum()).detach()
    loss = torch.zeros((), dtype=torch.float64)
    for start, *planes in ((first[0], inverse, seen, image), (first[1], inverse.T, seen.T, image.transpose(0, 1))):
        x, s, i = (plane[start::2] for plane in planes)
        edge = (i[:, 1:] - i[:, :-1]).abs().mean(2)
        weight = torch.exp(-10 * (edge[:, 1:] + edge[:, :-1])) * s[:, 2:] * s[:, 1:-1] * s[:, :-2]
        bend = ((x[:, 2:] - 2 * x[:, 1:-1] + x[:, :-2]) / mean).abs()
        loss = loss + (weight * torch.where(bend < 1e-3, bend**2 / 2e-3, bend - 5e-4)).sum()
    wanted = torch.autograd.grad(2 * 0.5 * loss / seen.sum(), (a, d))
    for have, want in zip((gradients.alpha, gradients.depth), wanted, strict=True):
        assert have is not None
        assert float(want.abs().max()) > 0
        assert torch.allclose(have.double(), want, atol=1e-5 * float(want.abs().max()))


def test_a_slanted_plane_is_smooth_and_a_step_counts_less_at_an_edge(tiny_scene: Scene):
    step = step_of(torch.zeros(HEIGHT, WIDTH, 3))
    plane = 1 / (rays(step.view) * torch.tensor([0.3, 0.2, 1.0])[:, None, None]).sum(0)
    term = Smoothness(setup_of(tiny_scene, smooth=1.0))
    ones = torch.ones(HEIGHT, WIDTH)

    def pull(depth: Tensor, target: Tensor) -> float:
        gradients = OutputGradients()
        term.add_gradients(step_of(target), Seen(target, ones, depth), gradients)
        assert gradients.depth is not None
        return float(gradients.depth.abs().sum())

    flat, edge = torch.zeros(HEIGHT, WIDTH, 3), torch.zeros(HEIGHT, WIDTH, 3)
    edge[:, 7:] = 0.2
    stepped = plane.clone()
    stepped[:, 7:] += 1.0
    assert pull(plane, flat) < 0.01 * pull(stepped, flat)
    assert 0 < pull(stepped, edge) < 0.5 * pull(stepped, flat)


def test_nothing_seen_is_no_error(tiny_scene: Scene):
    term, none = Smoothness(setup_of(tiny_scene, smooth=1.0)), torch.zeros(HEIGHT, WIDTH)
    gradients = OutputGradients()
    target = torch.zeros(HEIGHT, WIDTH, 3)
    term.add_gradients(step_of(target), Seen(target, none, none), gradients)
    assert gradients.depth is not None
    assert not gradients.depth.any()
    other = OutputGradients()
    term.add_gradients(step_of(target, position=None), Seen(target, none, none), other)
    assert other.depth is None


def test_splats_before_a_camera_fade_in_steps_on_its_photo(tiny_scene: Scene):
    term = NearOpacity(setup_of(tiny_scene, near_opacity=0.2, near_fraction=0.5))
    params = {name: tensor.clone() for name, tensor in tiny.initial().named()}
    camera = tiny_scene.cameras[tiny_scene.train[0]]
    begins = np.quantile(camera.project(params["means"].double().numpy())[1], 0.05)
    # On the axis before and after half of where the scene begins, behind the camera, and near but beside the picture.
    places = np.array([[0, 0, 0.45 * begins], [0, 0, 0.55 * begins], [0, 0, -0.5], [5, 0, 0.4 * begins]])
    world = places @ camera.world_from_cam[:3, :3].T + camera.position
    params["means"][:4] = torch.from_numpy(world).float()
    before = torch.sigmoid(params["logit_opacities"].double())
    adam = AdamState.zeros(params)
    target = torch.zeros(64, 64, 3)
    term.after_step(step_of(target, position=None), params, adam)
    assert torch.equal(before, torch.sigmoid(params["logit_opacities"].double()))
    term.after_step(step_of(target), params, adam)
    factor = torch.sigmoid(params["logit_opacities"].double()) / before
    assert float(factor[0]) == pytest.approx(math.exp(-0.2), rel=1e-4)
    assert torch.all(factor[1:] == 1)
    # A resumed run has the depths of its beginning, whatever splats it is given.
    other = NearOpacity(TermSetup(term.cfg, tiny_scene, 100, 1.0, torch.Generator(), params["means"] * 0.1))
    assert not torch.equal(other.tensors()["near_opacity.near"], term.tensors()["near_opacity.near"])
    other.restore(term.tensors())
    assert torch.equal(other.tensors()["near_opacity.near"], term.tensors()["near_opacity.near"])


def test_alpha_outside_of_the_mask_is_pulled_down(tiny_scene: Scene):
    term = Outside(setup_of(tiny_scene, outside=0.3))
    generator = torch.Generator().manual_seed(0)
    alpha = torch.rand(HEIGHT, WIDTH, generator=generator)
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[2:-2, 2:-2] = torch.rand(HEIGHT - 4, WIDTH - 4, generator=generator).round()
    target = torch.zeros(HEIGHT, WIDTH, 3)
    gradients = OutputGradients()
    term.add_gradients(step_of(target, mask), Seen(target, alpha, alpha), gradients)
    leaf = alpha.double().requires_grad_()
    (wanted,) = torch.autograd.grad(0.3 * (leaf**2 * (1 - mask)).mean(), leaf)
    assert gradients.alpha is not None
    assert torch.allclose(gradients.alpha.double(), wanted, rtol=1e-5)
    gradients = OutputGradients()
    term.add_gradients(step_of(target, None), Seen(target, alpha, alpha), gradients)
    term.add_gradients(step_of(target, 1 - mask), Seen(target, alpha, alpha), gradients)
    assert gradients.alpha is None, "without a mask, and where it hides something in the midst of the photo"

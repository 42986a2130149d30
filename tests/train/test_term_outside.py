# SPDX-License-Identifier: Apache-2.0
"""Nothing outside of masks."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sparse3d.kernels.records import OutputGradients, view_of
from sparse3d.records.scene import Scene
from sparse3d.train.shots import Shot
from sparse3d.train.splats.terms.config import TermsConfig
from sparse3d.train.splats.terms.outside import Outside
from sparse3d.train.splats.terms.term import TermSetup
from tests.train import tiny

HEIGHT, WIDTH = 12, 15


class Seen(NamedTuple):
    image: Tensor
    alpha: Tensor
    depth: Tensor


def setup_of(scene: Scene, **values: Any) -> TermSetup:
    return TermSetup(TermsConfig(**values), scene, 100, torch.Generator())


def shot_of(target: Tensor, mask: Tensor | None = None) -> Shot:
    camera = tiny.cameras()[0].resized(target.shape[1], target.shape[0])
    return tiny.shot(view_of(camera), mask=mask)


def test_alpha_outside_of_the_mask_is_pulled_down(tiny_scene: Scene):
    term = Outside(setup_of(tiny_scene, outside=0.3))
    generator = torch.Generator().manual_seed(0)
    alpha = torch.rand(HEIGHT, WIDTH, generator=generator)
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[2:-2, 2:-2] = torch.rand(HEIGHT - 4, WIDTH - 4, generator=generator).round()
    target = torch.zeros(HEIGHT, WIDTH, 3)
    gradients = OutputGradients()
    term.add_gradients(shot_of(target, mask), Seen(target, alpha, alpha), gradients)
    leaf = alpha.double().requires_grad_()
    (wanted,) = torch.autograd.grad(0.3 * (leaf**2 * (1 - mask)).mean(), leaf)
    assert gradients.alpha is not None
    assert torch.allclose(gradients.alpha.double(), wanted, rtol=1e-5)
    gradients = OutputGradients()
    term.add_gradients(shot_of(target, None), Seen(target, alpha, alpha), gradients)
    term.add_gradients(shot_of(target, 1 - mask), Seen(target, alpha, alpha), gradients)
    assert gradients.alpha is None, "without a mask, and where it hides something in the midst of the photo"

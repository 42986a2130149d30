# SPDX-License-Identifier: Apache-2.0
"""Nothing outside of masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sparse3d.judge.pictures import KnownAlpha, Pictures
from sparse3d.kernels.records import OutputGradients, view_of
from sparse3d.records.scene import Scene
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


def test_alpha_is_pulled_to_the_photos_where_it_says_one(tiny_scene: Scene):
    term = Outside(setup_of(tiny_scene, outside=0.3))
    generator = torch.Generator().manual_seed(0)
    alpha, wanted, weight = (torch.rand(HEIGHT, WIDTH, generator=generator) for _ in range(3))
    view = view_of(tiny.cameras()[0].resized(WIDTH, HEIGHT))
    seen = Seen(torch.zeros(HEIGHT, WIDTH, 3), alpha, alpha)
    gradients = OutputGradients()
    term.add_gradients(tiny.shot(view, known_alpha=KnownAlpha(wanted, weight)), seen, gradients)
    leaf = alpha.double().requires_grad_()
    (expected,) = torch.autograd.grad(0.3 * ((leaf - wanted) ** 2 * weight).mean(), leaf)
    assert gradients.alpha is not None
    assert torch.allclose(gradients.alpha.double(), expected, rtol=1e-5, atol=1e-9)
    gradients = OutputGradients()
    term.add_gradients(tiny.shot(view), seen, gradients)
    assert gradients.alpha is None


def test_object_masks_say_that_nothing_is_outside(tiny_photos: Path, tmp_path: Path):
    tiny.write_photos(tmp_path, masks=True)
    pictures = Pictures(tiny.scene(tmp_path, masks=True))
    for scale in (1, 2):
        mask = pictures.target(0, scale, torch.zeros(3))[1]
        found = pictures.known_alpha(0, scale)
        assert mask is not None
        assert found is not None
        assert torch.equal(found.weight, 1.0 - mask)
        assert not found.alpha.any()
        assert 0.1 < float(found.weight.mean()) < 0.95
    assert Pictures(tiny.scene(tmp_path, masks=True), masks="off").known_alpha(0, 1) is None
    # Turned round, the masks hide something in the midst of the photo.
    for path in (tmp_path / "masks").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    assert Pictures(tiny.scene(tmp_path, masks=True)).known_alpha(0, 1) is None
    assert Pictures(tiny.scene(tiny_photos)).known_alpha(0, 1) is None

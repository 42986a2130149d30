# SPDX-License-Identifier: Apache-2.0
"""What the tests of compression look at: the tiny scene's splats, some that no camera sees, and pictures of them."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse3d.render import render
from sparse3d.splats import Splats
from tests.train import tiny


def joined(a: Splats, b: Splats) -> Splats:
    """The splats of both, `a` first."""
    return Splats.of({name: torch.cat([x, getattr(b, name)]) for name, x in a.named()}, antialias=a.antialias)


def ball(radius: float, count: int) -> Splats:
    """An opaque ball around the origin, of one grey."""
    generator = torch.Generator().manual_seed(1)
    means = torch.randn(count, 3, generator=generator)
    return Splats(
        means=means / means.norm(dim=1, keepdim=True) * radius,
        quats_wxyz=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1),
        log_scales=torch.full((count, 3), -1.6),
        logit_opacities=torch.full((count,), 6.0),
        sh0=torch.zeros(count, 1, 3),
        shN=torch.zeros(count, 3, 3),
    )


def pictures(splats: Splats) -> Tensor:
    """[V,H,W,3] from all cameras of the tiny scene."""
    return torch.stack([render(splats, camera).image for camera in tiny.cameras()])


def squared_error(a: Splats, b: Splats) -> float:
    """Summed over all pictures."""
    return float((pictures(a).double() - pictures(b).double()).square().sum())

# SPDX-License-Identifier: Apache-2.0
"""Front-to-back blending of projected splats over a rectangle of pixels, all pairs at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sparse3d.conventions import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_STOP


class Block(NamedTuple):
    """A rectangle of pixels, columns x0..x1 and rows y0..y1, upper bounds excluded."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def pixels(self) -> int:
        return (self.x1 - self.x0) * (self.y1 - self.y0)


class Blended(NamedTuple):
    """color [h,w,3] without background, transmittance [h,w], depth [h,w], median_depth [h,w] and, with no gradient,
    the per-splat sum and maximum of the blending weight, both [S]."""

    color: Tensor
    transmittance: Tensor
    depth: Tensor
    median_depth: Tensor
    weight_sum: Tensor
    weight_max: Tensor


def pixel_offsets(means2d: Tensor, block: Block) -> Tensor:
    """Pixel centre minus mean, [P,S,2] px, pixels in row order."""
    options: dict[str, Any] = {"dtype": means2d.dtype, "device": means2d.device}
    ys = torch.arange(block.y0, block.y1, **options) + 0.5
    xs = torch.arange(block.x0, block.x1, **options) + 0.5
    grid_y, grid_x = torch.meshgrid(ys, xs, indexing="ij")
    centres = torch.stack([grid_x.reshape(-1), grid_y.reshape(-1)], dim=-1)
    return centres[:, None, :] - means2d[None]


def blend(offsets: Tensor, conics: Tensor, opacities: Tensor, colors: Tensor, depths: Tensor, block: Block) -> Blended:
    """Blend S splats, already in depth order, over the P pixels of `block`.

    offsets [P,S,2] as `pixel_offsets`; conics [S,3]; opacities [S]; colors [S,3]; depths [S].
    alpha = min(0.99, o exp(-sigma)), dropped where o exp(-sigma) < 1/255; a pixel ends before the splat that would
    bring its transmittance below 1e-4 (equation 3 of 3DGS and its section 6).
    """
    dx, dy = offsets.unbind(-1)
    sigma = 0.5 * (conics[:, 0] * dx * dx + conics[:, 2] * dy * dy) + conics[:, 1] * dx * dy
    response = opacities * torch.exp(-sigma)
    alpha = torch.where(response >= ALPHA_MIN, torch.clamp(response, max=ALPHA_MAX), torch.zeros_like(response))
    with torch.no_grad():
        # Transmittance only falls, so "the first splat that would bring it below the stop, and all after it" are
        # exactly those whose running product is below the stop.
        live = torch.cumprod(1 - alpha, dim=1) >= TRANSMITTANCE_STOP
    alpha = torch.where(live, alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1 - alpha, dim=1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=1)
    weights = alpha * before

    height, width = block.y1 - block.y0, block.x1 - block.x0
    with torch.no_grad():
        half_gone = after <= 0.5
        first = half_gone.to(torch.uint8).argmax(1)
        median = torch.where(half_gone[:, -1], depths[first], torch.zeros_like(depths[:1]))
        weight_sum, weight_max = weights.sum(0), weights.amax(0)
    return Blended(
        color=(weights @ colors).reshape(height, width, 3),
        transmittance=after[:, -1].reshape(height, width),
        depth=(weights @ depths).reshape(height, width),
        median_depth=median.reshape(height, width),
        weight_sum=weight_sum,
        weight_max=weight_max,
    )

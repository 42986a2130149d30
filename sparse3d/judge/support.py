# SPDX-License-Identifier: Apache-2.0
"""How many training photos support each splat."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.judge.observe import centre_in_picture, depths_in, footprint_sums, look_closely, spreads_in
from sparse3d.judge.peel import SURFACE_TOLERANCE
from sparse3d.kernels import Rasterization
from sparse3d.splats import Splats

# The blending weight that a splat must reach in some pixel to count as seen.
MIN_WEIGHT = 0.02
# More photos than this are not asked: so many see enough, and each takes two renderings.
MOST_VIEWS = 100


def supports(splats: Splats, camera: Camera, *, backend: str | None = None) -> Tensor:
    """[N] bool: the splat's centre is in the picture, its blending weight reaches MIN_WEIGHT somewhere, and the
    rendered surface lies within 5 % of the depth and two standard deviations of the splat."""
    seen = look_closely(splats, camera, splats.means.new_zeros(3), backend)
    distance, surface = surface_distances(splats, camera, seen, backend=backend)
    near = distance <= SURFACE_TOLERANCE * surface + 2.0 * spreads_in(splats, camera)
    return centre_in_picture(seen, camera) & (seen.weight_max[0] >= MIN_WEIGHT) & near


def surface_distances(
    splats: Splats, camera: Camera, seen: Rasterization, *, backend: str | None = None
) -> tuple[Tensor, Tensor]:
    """(distance along the camera's axis between splat and rendered surface [N], that surface's depth [N]).

    The surface is the median depth, averaged over the splat's footprint; infinitely far from it where there is none.
    """
    median = seen.median_depth[0]
    weight, weight_depth = footprint_sums(splats, camera, torch.stack([(median > 0).float(), median]), backend=backend)
    surface = weight_depth / weight.clamp(min=1e-6)
    distance = (depths_in(splats, camera) - surface).abs()
    return torch.where(weight > 0, distance, torch.full_like(distance, torch.inf)), surface


def count_support(splats: Splats, cameras: Iterable[Camera], *, backend: str | None = None) -> Tensor:
    """[N] uint8: how many of the cameras, 255 at most, support each splat."""
    count = torch.zeros_like(splats.logit_opacities, dtype=torch.int64)
    for camera in cameras:
        count += supports(splats, camera, backend=backend)
    return count.clamp(max=255).to(torch.uint8)

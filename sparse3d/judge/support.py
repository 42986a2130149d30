# SPDX-License-Identifier: Apache-2.0
"""How many training photos support each splat, and the file that says so."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from sparse3d.formats.tensor_file import read_tensors, write_tensors
from sparse3d.judge.observe import centre_in_picture, depths_in, footprint_sums, look, spreads_in
from sparse3d.judge.peel import SURFACE_TOLERANCE
from sparse3d.kernels import Rasterization
from sparse3d.kernels.records import View
from sparse3d.splats import Splats

# The blending weight that a splat must reach in some pixel to count as seen.
MIN_WEIGHT = 0.02
# More photos than this are not asked: so many see enough, and each takes two renderings.
MOST_VIEWS = 100


def supports(splats: Splats, view: View, *, seen: Rasterization | None = None, backend: str | None = None) -> Tensor:
    """[N] bool: the splat's centre is in the picture, its blending weight reaches MIN_WEIGHT somewhere, and the
    rendered surface lies within 5 % of the depth and two standard deviations of the splat.

    seen: the view's rendering with statistics, where it is at hand.
    """
    if seen is None:
        seen = look(splats, view, torch.zeros(3), stats=True, backend=backend)
    distance, surface = surface_distances(splats, view, seen, backend=backend)
    near = distance <= SURFACE_TOLERANCE * surface + 2.0 * spreads_in(splats, view)
    return centre_in_picture(seen, view) & (seen.weight_max[0] >= MIN_WEIGHT) & near


def surface_distances(
    splats: Splats, view: View, seen: Rasterization, *, backend: str | None = None
) -> tuple[Tensor, Tensor]:
    """(distance along the view's axis between splat and rendered surface [N], that surface's depth [N]).

    The surface is the median depth, averaged over the splat's footprint; infinitely far from it where there is none.
    """
    median = seen.median_depth[0]
    weight, weight_depth = footprint_sums(splats, view, torch.stack([(median > 0).float(), median]), backend=backend)
    surface = weight_depth / weight.clamp(min=1e-6)
    distance = (depths_in(splats, view) - surface).abs()
    return torch.where(weight > 0, distance, torch.full_like(distance, torch.inf)), surface


def count_support(splats: Splats, views: Iterable[View], *, backend: str | None = None) -> Tensor:
    """[N] uint8: how many of the views, 255 at most, support each splat."""
    count = torch.zeros(splats.num_splats, dtype=torch.int64)
    for view in views:
        count += supports(splats, view, backend=backend)
    return count.clamp(max=255).to(torch.uint8)


def write_support(path: Path, support: Tensor, num_views: int) -> None:
    """support.safetensors of a run: "views" [N] uint8, in the order of splat.ply, and of how many photos."""
    write_tensors(path, {"views": support}, {"kind": "supporting views", "photos": num_views})


def read_support(path: Path) -> Tensor:
    """[N] uint8 of `write_support`. Raises DataError for another file."""
    tensors, _ = read_tensors(path)
    return tensors["views"]

# SPDX-License-Identifier: Apache-2.0
"""One photo's votes on floaters: its picture is cut at several depths, and the error is summed over footprints.

With everything nearer than a depth left out, a pixel that a floater covered shows what lies behind it. Where that fits
the photo better, what was cut did not belong there, however many floaters stood behind each other. A splat that
belongs there, behind a floater, is the better front and stays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from sparse3d.judge.observe import depths_in, footprint_sums, look, spreads_in
from sparse3d.judge.photos import PhotoView
from sparse3d.render.probe import Seeing
from sparse3d.splats import Splats

# Depths are cut between these quantiles of what the photo's camera draws; the farthest part can hide nothing.
_NEAR_QUANTILE, _FAR_QUANTILE = 0.001, 0.75
# A vote needs a gain of this much squared error a pixel (0.02 of the brightness), and half a pixel of footprint.
_LEAST_GAIN = 5e-4
_LEAST_WEIGHT = 0.5
# A dense depth counts from this confidence on, and must be known for this share of the footprint.
_CONFIDENT = 0.5
_KNOWN_SHARE = 0.5
# Relative distance between a splat and a surface at which it belongs to it.
SURFACE_TOLERANCE = 0.05


class Votes(NamedTuple):
    """against [N] bool: the photo is better without all that reaches from its camera to the splat. change [N]: of the
    photo's squared error summed over the footprint, when the splat and what is cut with it go; positive where it is
    needed, 0 where the photo says nothing."""

    against: Tensor
    change: Tensor


def peel_votes(splats: Splats, photo: PhotoView, *, levels: int, gain: float, backend: str | None = None) -> Votes:
    """What one photo says of each splat.

    E[l] is the mean squared error over a splat's footprint with everything nearer than depth l cut away (E[0]: with
    nothing cut). With k the first depth behind the splat, min E[k:] is the best the photo can have without it, and
    min E[:k] with it; a vote is a fall of at least the share `gain`.
    """
    count = splats.num_splats
    nothing = Votes(splats.means.new_zeros(count, dtype=torch.bool), splats.means.new_zeros(count))
    seen = look(splats, photo.camera, Seeing(photo.background, backend=backend))
    depth = depths_in(splats, photo.camera)
    drawn = depth[seen.radii[0] > 0].numpy()
    if len(drawn) == 0:
        return nothing
    near, far = (float(value) for value in np.quantile(drawn, [_NEAR_QUANTILE, _FAR_QUANTILE]))
    if not 0 < near < far:
        return nothing
    cuts = np.geomspace(near, far, levels + 1)[1:].astype(np.float32)
    mask = torch.ones_like(seen.alpha[0]) if photo.mask is None else photo.mask
    errors = [_error(seen.image[0], photo)]
    for cut in cuts:
        beyond = look(splats, photo.camera, Seeing(photo.background, near=float(cut), backend=backend))
        errors.append(_error(beyond.image[0], photo))
    sums = footprint_sums(
        splats, photo.camera, torch.stack([mask, *(mask * error for error in errors)]), backend=backend
    )
    weight = sums[0]
    error = sums[1:] / weight.clamp(min=1e-6)
    # best_to[k]: with at most k cuts; best_from[k]: with k cuts or more.
    best_to = torch.cummin(error, dim=0).values
    best_from = torch.cummin(error.flip(0), dim=0).values.flip(0)
    behind = torch.searchsorted(torch.from_numpy(cuts), depth, right=True) + 1
    counts = (weight > _LEAST_WEIGHT) & (behind <= levels) & (depth > 0)
    behind = behind.clamp(max=levels)
    rows = torch.arange(count, device=splats.means.device)
    kept, without = best_to[behind - 1, rows], best_from[behind, rows]
    against = counts & (without < (1.0 - gain) * kept) & (kept - without > _LEAST_GAIN)
    return Votes(against, torch.where(counts, weight * (without - kept), torch.zeros_like(weight)))


class DepthVotes(NamedTuple):
    """in_front [N] bool: clearly before the photo's dense depth. on_surface [N] bool: at it."""

    in_front: Tensor
    on_surface: Tensor


def depth_votes(splats: Splats, photo: PhotoView, *, backend: str | None = None) -> DepthVotes:
    """Where each splat lies against the photo's dense depth, averaged over its footprint where that is confident; both
    are False where the photo has no dense depth, or does not know it for half of the footprint."""
    if photo.dense is None:
        none = torch.zeros_like(splats.logit_opacities, dtype=torch.bool)
        return DepthVotes(none, none.clone())
    known = ((photo.dense.confidence >= _CONFIDENT) & (photo.dense.depth > 0)).float()
    maps = torch.stack([torch.ones_like(known), known, known * photo.dense.depth])
    weight, weight_known, weight_depth = footprint_sums(splats, photo.camera, maps, backend=backend)
    told = (weight > _LEAST_WEIGHT) & (weight_known >= _KNOWN_SHARE * weight)
    surface = weight_depth / weight_known.clamp(min=1e-6)
    depth, spread = depths_in(splats, photo.camera), spreads_in(splats, photo.camera)
    in_front = told & (depth + 2.0 * spread < (1.0 - SURFACE_TOLERANCE) * surface)
    on_surface = told & ((depth - surface).abs() <= SURFACE_TOLERANCE * surface + spread)
    return DepthVotes(in_front, on_surface)


def _error(image: Tensor, photo: PhotoView) -> Tensor:
    """[H,W] squared error, mean over channels, evened out over 3x3 pixels against noise."""
    red, green, blue = ((image.clamp(0.0, 1.0) - photo.image) ** 2).unbind(2)
    error = (red + green + blue) / 3.0
    return avg_pool2d(error[None, None], 3, stride=1, padding=1, count_include_pad=False)[0, 0]

# SPDX-License-Identifier: Apache-2.0
"""Finds the splats that float in front of what the photos show, and those that no photo asks for.

What a photo says is measured, not guessed from opacity: the change of its error over a splat's footprint (peel.py), or
of its whole error without that splat (observe.removal_costs). Nothing is removed that all photos together need more
than they object to, except where dense depth says so. Deterministic for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.errors import UsageError
from sparse3d.judge.floater_config import FloaterConfig
from sparse3d.judge.observe import centre_in_picture, depths_in, look, look_closely, removal_costs
from sparse3d.judge.peel import SURFACE_TOLERANCE, depth_votes, peel_votes
from sparse3d.judge.photos import PhotoView
from sparse3d.judge.support import MIN_WEIGHT, surface_distances
from sparse3d.kernels.neighbours import nearest_distances
from sparse3d.render.probe import Seeing
from sparse3d.splats import Splats

# What a photo shows nearest: this quantile of its rendered depth, so that no floater decides it.
_NEAREST_QUANTILE = 0.01
# K of the neighbour statistic is the square root of N (GaussianObject), within these.
_FEWEST_NEIGHBOURS, _MOST_NEIGHBOURS = 3, 32
# The median absolute deviation of a normal distribution, in standard deviations.
_MAD_OF_SIGMA = 0.6745
# A stray splat's distance to its neighbours, in robust standard deviations above the median.
_STRAY_DEVIATIONS = 2.0
# A round of votes that finds less than one in so many of all found is the last.
_LAST_ROUND = 20
CRITERIA = ("outside", "front", "dense", "harmful", "stray", "isolated", "faint", "useless")


class Region(Protocol):
    """A part of space that holds the scene, as a visual hull of masks."""

    def contains(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """[N] bool of world points [N,3]."""
        ...


@dataclass(frozen=True)
class Floaters:
    """remove [N] bool. counts: number by criterion, each splat under the first that found it."""

    remove: Tensor
    counts: dict[str, int]

    @property
    def share(self) -> float:
        return float(self.remove.sum()) / max(len(self.remove), 1)


class _Search:
    """The splats still there, and by which criterion each other one went."""

    def __init__(self, splats: Splats) -> None:
        self.all = splats
        self.rows = torch.arange(splats.num_splats, device=splats.means.device)
        self.left = splats
        self.counts: dict[str, int] = dict.fromkeys(CRITERIA, 0)

    def drop(self, criterion: str, mask: Tensor) -> int:
        """Remove those of `left` where mask holds; returns how many. The last splats stay."""
        number = int(mask.sum())
        if number == 0 or number == len(mask):
            return 0
        self.counts[criterion] += number
        self.rows = self.rows[~mask]
        self.left = self.all.select(self.rows)
        return number

    def result(self) -> Floaters:
        remove = self.all.means.new_ones(self.all.num_splats, dtype=torch.bool)
        remove[self.rows] = False
        return Floaters(remove, {name: number for name, number in self.counts.items() if number})


def find_floaters(
    splats: Splats,
    photos: Sequence[PhotoView],
    cfg: FloaterConfig,
    *,
    hull: Region | None = None,
    backend: str | None = None,
) -> Floaters:
    """The splats to remove. Without photos: by their neighbours and their opacity alone.

    Criteria, in this order: outside (of the hull, where one is given), front (photos' votes), dense (dense depth lies
    behind), harmful (less error without it), stray (off every picture, nearer than anything shown), isolated (far from
    its neighbours and not really shown), faint, useless (no weight in any pixel). Does not look at cfg.max_share: see
    `check_share`.
    """
    search = _Search(splats)
    if splats.num_splats == 0:
        return search.result()
    if hull is not None:
        search.drop("outside", torch.from_numpy(~hull.contains(splats.means.numpy())))
    if not photos:
        if cfg.isolated > 0:
            search.drop("isolated", isolated(search.left, cfg.isolated))
        _drop_faint(search, cfg)
        return search.result()
    if cfg.votes > 0:
        _drop_front(search, photos, cfg, backend)
    if cfg.dense_votes > 0 and any(photo.dense is not None for photo in photos):
        search.drop("dense", _before_dense(search.left, photos, cfg, backend))
    if cfg.harmful:
        search.drop("harmful", _harmful(search.left, photos, backend))
    if cfg.stray > 0:
        search.drop("stray", _stray(search.left, photos, cfg, backend))
    if cfg.isolated > 0:
        search.drop("isolated", isolated(search.left, cfg.isolated) & ~_shown(search.left, photos, backend))
    _drop_faint(search, cfg)
    if cfg.min_weight > 0:
        search.drop("useless", _useless(search.left, photos, cfg, backend))
    return search.result()


def check_share(found: Floaters, cfg: FloaterConfig, *, forced: bool = False) -> None:
    """Raises UsageError where more would go than cfg.max_share allows, unless forced."""
    if found.share > cfg.max_share and not forced:
        by = ", ".join(f"{number} {name}" for name, number in found.counts.items())
        raise UsageError(
            f"{int(found.remove.sum())} of {len(found.remove)} splats would be removed ({by}), more than the share "
            f"{cfg.max_share:g} that is allowed; look whether photos and splats are of one scene, or add --force"
        )


def isolated(splats: Splats, limit: float) -> Tensor:
    """[N] bool: the mean distance to the K nearest others lies `limit` robust standard deviations above the median.

    GaussianObject's statistic (Yang et al. 2024: mean distance to K = sqrt(N) neighbours >= mean + limit * deviation)
    in logarithms, with median and median absolute deviation: distances of a scene that reaches far spread over orders
    of magnitude, and floaters must not widen the measure that finds them.
    """
    count = splats.num_splats
    neighbours = min(max(round(math.sqrt(count)), _FEWEST_NEIGHBOURS), _MOST_NEIGHBOURS)
    if count <= neighbours:
        return splats.means.new_zeros(count, dtype=torch.bool)
    distance = nearest_distances(splats.means.numpy(), neighbours).sum(axis=1) / neighbours
    logarithm = np.log(np.maximum(distance, 1e-12))
    middle = np.median(logarithm)
    deviation = np.median(np.abs(logarithm - middle)) / _MAD_OF_SIGMA
    if deviation <= 0:
        return splats.means.new_zeros(count, dtype=torch.bool)
    return torch.from_numpy(logarithm >= middle + limit * deviation)


def _drop_faint(search: _Search, cfg: FloaterConfig) -> None:
    if cfg.min_opacity > 0:
        search.drop("faint", search.left.opacities < cfg.min_opacity)


def _drop_front(search: _Search, photos: Sequence[PhotoView], cfg: FloaterConfig, backend: str | None) -> None:
    before = _total_error(search.left, photos, backend)
    for _ in range(cfg.rounds):
        chosen = _voted(search.left, photos, cfg, backend)
        if not bool(chosen.any()) or bool(chosen.all()):
            return
        after = _total_error(search.left.select(~chosen), photos, backend)
        if after >= before:
            return
        before = after
        if search.drop("front", chosen) * _LAST_ROUND <= search.counts["front"]:
            return


def _voted(splats: Splats, photos: Sequence[PhotoView], cfg: FloaterConfig, backend: str | None) -> Tensor:
    against = splats.means.new_zeros(splats.num_splats, dtype=torch.int64)
    change = splats.means.new_zeros(splats.num_splats)
    for photo in photos:
        votes = peel_votes(splats, photo, levels=cfg.levels, gain=cfg.gain, backend=backend)
        against += votes.against
        change += votes.change
    return (against >= cfg.votes) & (change < 0)


def _before_dense(splats: Splats, photos: Sequence[PhotoView], cfg: FloaterConfig, backend: str | None) -> Tensor:
    in_front = splats.means.new_zeros(splats.num_splats, dtype=torch.int64)
    on_surface = splats.means.new_zeros(splats.num_splats, dtype=torch.bool)
    for photo in photos:
        votes = depth_votes(splats, photo, backend=backend)
        in_front += votes.in_front
        on_surface |= votes.on_surface
    return (in_front >= cfg.dense_votes) & ~on_surface


def _stray(splats: Splats, photos: Sequence[PhotoView], cfg: FloaterConfig, backend: str | None) -> Tensor:
    """[N] bool: the centre is in no picture, no picture's surface goes through the splat, in front of some camera it is
    nearer than cfg.stray times the nearest that this camera's photo shows, and it is not among many others, as what
    was put around the photos on purpose is."""
    held = splats.means.new_zeros(splats.num_splats, dtype=torch.bool)
    near = held.clone()
    for photo in photos:
        seen = look_closely(splats, photo.camera, photo.background, backend)
        distance, surface = surface_distances(splats, photo.camera, seen, backend=backend)
        on_surface = (seen.weight_max[0] >= MIN_WEIGHT) & (distance <= SURFACE_TOLERANCE * surface)
        held |= centre_in_picture(seen, photo.camera) | on_surface
        shown = seen.median_depth[0]
        shown = shown[shown > 0].numpy()
        if len(shown):
            depth = depths_in(splats, photo.camera)
            near |= (depth > 0) & (depth < cfg.stray * float(np.quantile(shown, _NEAREST_QUANTILE)))
    return near & ~held & isolated(splats, _STRAY_DEVIATIONS)


def _shown(splats: Splats, photos: Sequence[PhotoView], backend: str | None) -> Tensor:
    """[N] bool: some photo shows the splat with a blending weight of MIN_WEIGHT."""
    return _most_weight(splats, photos, backend)[0] >= MIN_WEIGHT


def _harmful(splats: Splats, photos: Sequence[PhotoView], backend: str | None) -> Tensor:
    """[N] bool: without each of them, and without all of them together, the photos' error is less."""
    linear, square = splats.means.new_zeros(splats.num_splats), splats.means.new_zeros(splats.num_splats)
    for number, photo in enumerate(photos):
        parts = removal_costs(splats, photo, seed=number, backend=backend)
        linear += parts[0]
        square += parts[1]
    # A splat that is all wrong before a picture that is all right costs -square: the margin for the estimate is small.
    cost = linear + 1.25 * square
    order = torch.sort(cost, stable=True).indices
    number = int((cost < 0).sum())
    before = _total_error(splats, photos, backend) if number else 0.0
    while number:
        # Costs are of one removal each. Where many splats share a fault the first ones mend it: try fewer.
        chosen = splats.means.new_zeros(splats.num_splats, dtype=torch.bool)
        chosen[order[:number]] = True
        if _total_error(splats.select(~chosen), photos, backend) < before:
            return chosen
        number //= 2
    return splats.means.new_zeros(splats.num_splats, dtype=torch.bool)


def _total_error(splats: Splats, photos: Sequence[PhotoView], backend: str | None) -> float:
    """Squared error of all photos over the pixels that count. numpy's sums do not depend on the number of threads."""
    total = 0.0
    for photo in photos:
        image = look(splats, photo.camera, Seeing(photo.background, backend=backend)).image[0]
        error = ((image.clamp(0.0, 1.0) - photo.image) ** 2).numpy()
        weight = 1.0 if photo.mask is None else photo.mask.numpy()[..., None]
        total += float((error * weight).sum(dtype=np.float64))
    return total


def _useless(splats: Splats, photos: Sequence[PhotoView], cfg: FloaterConfig, backend: str | None) -> Tensor:
    most, drawn = _most_weight(splats, photos, backend)
    # What no photo looked at cannot be called useless.
    return drawn & (most > 0) & (most < cfg.min_weight)


def _most_weight(splats: Splats, photos: Sequence[PhotoView], backend: str | None) -> tuple[Tensor, Tensor]:
    """(largest blending weight in any photo [N], drawn in some photo [N])."""
    most = splats.means.new_zeros(splats.num_splats)
    drawn = splats.means.new_zeros(splats.num_splats, dtype=torch.bool)
    for photo in photos:
        seen = look_closely(splats, photo.camera, photo.background, backend)
        most = torch.maximum(most, seen.weight_max[0])
        drawn |= seen.radii[0] > 0
    return most, drawn

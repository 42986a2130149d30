# SPDX-License-Identifier: Apache-2.0
"""The dense-depth kernels as calls on numpy arrays: plane sweep, semi-global aggregation, PatchMatch, cross-check.

A photo is a `MvsImage`; a hypothesis is a row (w, gx, gy, cost) of `planes` [H,W,4] float32: inverse depth in 1 / world
units, its change a pixel in x and in y, and the cost of the match, 0 (same) to about 2. Formulas: math/mvs.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.kernels import cpu

Planes = NDArray[np.float32]
# Penalties of aggregation in bytes of the volume: a step to the next plane, and a jump where the grey does not change.
_SMALL_JUMP, _LARGE_JUMP = 6, 48


@dataclass(frozen=True)
class MatchCosts:
    """best_views: the lowest costs that count, of so many sources; census_share: of the cost, the rest is ZNCC;
    geometric_weight: cost of a pixel of disagreement with the depth of a source that has one; spacing: pixels between
    the samples of a patch. Raises DataError for no view, no spacing, a share outside 0..1 and a negative weight."""

    best_views: int
    census_share: float = 0.5
    geometric_weight: float = 0.0
    spacing: int = 1

    def __post_init__(self) -> None:
        shares = 0.0 <= self.census_share <= 1.0 and 0.0 <= self.geometric_weight < float("inf")
        if self.best_views < 1 or self.spacing < 1 or not shares:
            raise DataError(
                "MatchCosts: best_views and spacing are 1 or more, census_share is 0 to 1, geometric_weight 0 or more; "
                f"found {self.best_views}, {self.spacing}, {self.census_share:g}, {self.geometric_weight:g}"
            )


@dataclass(frozen=True)
class DepthRange:
    """Between which depths a search looks, as inverse depths in 1 / world units: w_far at the far end, w_near at the
    near one. One that can be searched has 0 < w_far < w_near."""

    w_far: float
    w_near: float


@dataclass(frozen=True)
class Rounds:
    """count: rounds of PatchMatch; seed: of its random planes; last [H,W] uint8: a pixel looks for a better plane in
    so many of them only, the last ones (None: in all)."""

    count: int
    seed: int
    last: NDArray[np.uint8] | None = None


class MvsImage:
    """One photo at one size: grey [H,W] float32 in 0..1 and its packed bytes. Raises DataError where they differ."""

    def __init__(self, camera: Camera, grey: NDArray[np.float32]) -> None:
        if grey.shape != (camera.height, camera.width):
            raise DataError(f"MvsImage: grey {grey.shape} does not fit a {camera.width}x{camera.height} camera")
        self.camera = camera
        self.grey = np.ascontiguousarray(grey, np.float32)
        self.intrinsics = [float(camera.fx), float(camera.fy), float(camera.cx), float(camera.cy)]
        byte = np.clip(np.rint(self.grey * 255.0), 0, 255).astype(np.uint32)
        right = np.concatenate([byte[:, 1:], byte[:, -1:]], axis=1)
        below = np.concatenate([byte[1:], byte[-1:]])
        across = np.concatenate([right[1:], right[-1:]])
        self.quads = (byte | right << 8 | below << 16 | across << 24).view(np.int32)

    def source_of(self, reference: MvsImage, planes: Planes | None = None):
        """This photo as a source for `reference`, with its own hypotheses where they are to be compared. Raises
        DataError where they have another size."""
        if planes is not None:
            _check_planes("source_of", self, planes)
        return cpu.module().MvsSource(self.quads, _warps(reference.camera, self.camera), planes)


def sources_max() -> int:
    """Sources that one call takes at most."""
    return cpu.module().mvs_sources_max


def _warps(reference: Camera, source: Camera) -> NDArray[np.float32]:
    """[24]: A and b of math/mvs.h to the source, then back."""
    rows = []
    for a, b in ((reference, source), (source, reference)):
        relative = b.cam_from_world @ a.world_from_cam
        rows += [(b.K @ relative[:3, :3] @ np.linalg.inv(a.K)).ravel(), b.K @ relative[:3, 3]]
    return np.concatenate(rows).astype(np.float32)


def _costs(costs: MatchCosts):
    return cpu.module().MvsCosts(costs.best_views, costs.census_share, costs.geometric_weight, costs.spacing)


def _check_planes(what: str, image: MvsImage, planes: Planes) -> None:
    size = (*image.grey.shape, 4)
    if planes.shape != size or planes.dtype != np.float32 or not planes.flags.c_contiguous:
        raise DataError(
            f"{what}: planes must be a contiguous float32 array {size}, found {planes.dtype} {planes.shape}"
        )


def _check_sources(what: str, sources: Sequence) -> None:
    limit = cpu.module().mvs_sources_max
    if len(sources) > limit:
        raise DataError(f"{what}: {len(sources)} sources; the kernels take {limit} at most")


def sweep(
    reference: MvsImage, sources: Sequence, costs: MatchCosts, span: DepthRange, planes: int
) -> tuple[Planes, NDArray[np.float32]]:
    """Inverse depth of every pixel within `span` from that many parallel planes.

    Returns planes [H,W,4] and clarity [H,W] in 0..1, the gap to the second best minimum. Memory: 5 bytes a pixel and
    plane. Raises DataError without a source or with an empty range.
    """
    w_far, w_near = span.w_far, span.w_near
    if not sources or not 0 < w_far < w_near or planes < 4:
        raise DataError(
            f"sweep: {len(sources)} sources, {planes} planes from {w_far:g} to {w_near:g} cannot be searched"
        )
    _check_sources("sweep", sources)
    m = cpu.module()
    h, w = reference.grey.shape
    volume = np.empty((h, w, planes), np.uint8)
    m.sweep_planes(reference.grey, reference.intrinsics, list(sources), _costs(costs), w_far, w_near, volume)
    out, clarity = np.empty((h, w, 4), np.float32), np.empty((h, w), np.float32)
    scratch = np.empty(2 * volume.size, np.int16)
    m.aggregate_sgm(reference.grey, volume, w_far, w_near, _SMALL_JUMP, _LARGE_JUMP, scratch, out, clarity)
    return out, clarity


def patch_match(
    reference: MvsImage,
    sources: Sequence,
    costs: MatchCosts,
    planes: Planes,
    span: DepthRange,
    rounds: Rounds,
) -> None:
    """Refine `planes` [H,W,4] in place, within `span`; the cost of each pixel never rises. Raises DataError for planes
    of another size and for more sources than the kernels take."""
    _check_planes("patch_match", reference, planes)
    _check_sources("patch_match", sources)
    shape, last = reference.grey.shape, rounds.last
    if last is not None and (last.shape != shape or last.dtype != np.uint8 or not last.flags.c_contiguous):
        raise DataError(f"patch_match: last must be a contiguous uint8 array {shape}, found {last.dtype} {last.shape}")
    cpu.module().patch_match(
        reference.grey, reference.intrinsics, list(sources), _costs(costs), span.w_far, span.w_near, rounds.count,
        rounds.seed, last, np.empty(shape, np.int16), planes,
    )  # fmt: skip


def check(
    reference: MvsImage, sources: Sequence, planes: Planes, max_px: float, max_relative: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """How many sources (made with their planes) agree with each pixel [H,W], how many see something clearly in front
    of its point, and how many see through it. Raises as `patch_match` does, and for a source without planes."""
    _check_planes("check", reference, planes)
    _check_sources("check", sources)
    for number, source in enumerate(sources):
        if not source.has_planes:
            raise DataError(f"check: source {number} was made without planes; give them to `source_of`")
    counts = tuple(np.empty(reference.grey.shape, np.uint8) for _ in range(3))
    cpu.module().check_depth(reference.grey, reference.intrinsics, list(sources), planes, max_px, max_relative, *counts)
    return counts  # pyright: ignore[reportReturnType]

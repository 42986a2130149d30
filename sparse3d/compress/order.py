# SPDX-License-Identifier: Apache-2.0
"""Orders of splats in which neighbours are alike: along a Morton curve in space, or on a 2-D grid for image codecs."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.kernels.cpu import compress as kernels
from sparse3d.splats import Splats

# Bits an axis of a Morton code: 3 x 21 fit an int64.
_BITS = 21
# Percentiles that the curve spans; what lies outside is moved to the nearest face.
_LOW, _HIGH = 0.1, 99.9
# Measured on WebP bytes of trained scenes of 33,000 and 47,000 splats.
PLACE_WEIGHT = 32.0
# Side of the squares in which the start of a grid stops sorting.
_LEAF = 8
# The first radius is this share of the grid's shorter side; it falls by a factor down to 1. From a random start the
# same slow fall ends at the same roughness.
_FIRST, _SHRINK = 0.5, 0.93
# Rounds at a radius (more at the last), each with a new target and so many sweeps; fewer where hardly anything moves.
_ROUNDS, _LAST_ROUNDS, _SWEEPS, _STILL = 3, 10, 3, 1e-3


def morton_order(means: Tensor) -> Tensor:
    """The permutation [N] int64 that puts means [N,3] along a Morton curve (z varies fastest), 21 bits an axis.

    All axes have one scale: the largest extent between the 0.1th and the 99.9th percentile; what lies outside is
    clamped. Equal codes keep their order. Raises DataError for numbers that are not finite and other shapes.
    """
    if means.ndim != 2 or means.shape[1] != 3:
        raise DataError(f"morton_order: means must be [N,3], found {tuple(means.shape)}")
    xyz = _finite("morton_order", means).astype(np.float64)
    if len(xyz) == 0:
        return torch.from_numpy(np.zeros(0, np.int64))
    ranked = np.sort(xyz, axis=0)
    last = len(xyz) - 1
    low = ranked[math.floor(last * _LOW / 100)]
    high = ranked[math.ceil(last * _HIGH / 100)]
    extent = max(float((high - low).max()), 1e-300)
    top = 2**_BITS - 1
    # Clipped before the cast: an outlier may be far beyond what 64 bits hold.
    cells = np.clip((xyz - low) / extent, 0.0, 1.0) * top
    code = np.zeros(len(xyz), np.uint64)
    for axis in range(3):
        code |= _spread(cells[:, axis].astype(np.uint64)) << np.uint64(2 - axis)
    return torch.from_numpy(np.argsort(code, kind="stable").astype(np.int64))


def _spread(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Two zero bits between any two of the low 21 bits."""
    for shift, mask in (
        (32, 0x001F00000000FFFF),
        (16, 0x001F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        x = (x | x << np.uint64(shift)) & np.uint64(mask)
    return x


def grid_order(features: Tensor, width: int, height: int, seed: int = 0) -> Tensor:
    """The permutation [N] int64 that lays features [N,D] on a grid of width x height cells, row by row (cell k is pixel
    k), so that neighbours in both directions are alike in squared distance; D is 1 to 16, N at most width * height.

    Parallel linear assignment sorting (PLAS; Morgenstern et al. 2024, arXiv 2312.13299) with a box filter, from a start
    that halves the grid and the vectors along their main axes in turn. Features should have about equal spread, times
    what each is worth. The same for any number of threads. Raises DataError for other shapes and for numbers that are
    not finite.
    """
    if features.ndim != 2 or not 1 <= features.shape[1] <= 16:
        raise DataError(f"grid_order: features must be [N,D] with D from 1 to 16, found {tuple(features.shape)}")
    n = features.shape[0]
    if width < 1 or height < 1 or n > width * height:
        raise DataError(f"grid_order: {n} vectors do not fit a grid of {width}x{height} cells")
    x = _finite("grid_order", features)
    if n == 0:
        return torch.from_numpy(np.zeros(0, np.int64))
    # Scores in float: about the mean, and with the largest spread 1.
    x = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    x = np.ascontiguousarray(x / max(float(np.abs(x).max()), 1e-300), np.float32)
    rows = -(-n // width)
    sorter = kernels.GridSorter(x, width, rows, _start(x, width, rows))
    radius, draw = max(_FIRST * min(width, rows), 1.0), seed * 1_000_003
    while True:
        last = radius < 2
        for _ in range(_LAST_ROUNDS if last else _ROUNDS):
            draw += 1
            if sorter.round(int(radius), _SWEEPS, draw) < _STILL * n:
                break
        if last:
            break
        radius *= _SHRINK
    return torch.from_numpy(sorter.cells.astype(np.int64))


def image_features(splats: Splats) -> Tensor:
    """[N,10] float32 for `grid_order`, for attributes that become lossless 8-bit images: where a splat is, its colour,
    opacity and size.

    Places are sign(x) log(1 + |x|), as images of them store it, and weigh PLACE_WEIGHT times what the rest does: they
    have 16 bits, so that every halving of the step to the neighbour saves bits, and what is near is mostly alike.
    """
    places = torch.sign(splats.means) * torch.log1p(splats.means.abs())
    places = (places - places.mean(0)) / places.std(correction=0).clamp(min=1e-9)
    rest = torch.cat([splats.sh0.reshape(-1, 3), splats.logit_opacities[:, None], splats.log_scales], dim=1)
    rest = (rest - rest.mean(0)) / rest.std(0, correction=0).clamp(min=1e-9)
    return torch.cat([PLACE_WEIGHT * places, rest.clamp(-4, 4)], dim=1)


def _start(x: NDArray[np.float32], width: int, height: int) -> NDArray[np.int32]:
    """Cells [N]: the grid and the vectors are halved again and again, the grid across its longer side and the vectors
    along their principal axis, so that whole regions are alike before anything is refined."""
    n = len(x)
    cells = np.empty(n, np.int32)
    # (vectors, left, top, right, bottom); an explicit stack, for depth is log2 of the cells only on average.
    todo = [(np.arange(n), 0, 0, width, height)]
    while todo:
        index, left, top, right, bottom = todo.pop()
        if right - left <= _LEAF and bottom - top <= _LEAF:
            places = _places(n, width, left, top, right, bottom)
            cells[places] = index
            continue
        if right - left >= bottom - top:
            middle = (left + right) // 2
            first, second = (left, top, middle, bottom), (middle, top, right, bottom)
        else:
            middle = (top + bottom) // 2
            first, second = (left, top, right, middle), (left, middle, right, bottom)
        size = _count(n, width, *first)
        along = _project(x[index])
        by = index[np.argsort(along, kind="stable")]
        todo += [(by[:size], *first), (by[size:], *second)]
    return cells


def _project(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Places along the principal axis, whose largest component is made positive, so that neighbours agree on it."""
    if len(x) < 2:
        return np.zeros(len(x))
    sample = x[:: max(1, len(x) // 4096)].astype(np.float64)
    centred = sample - sample.mean(axis=0)
    # einsum adds in a fixed order; a matrix product's order may depend on the threads.
    covariance = np.einsum("ni,nj->ij", centred, centred)
    _, vectors = np.linalg.eigh(covariance)
    axis = vectors[:, -1]
    axis = axis * np.sign(axis[np.abs(axis).argmax()])
    return np.einsum("nd,d->n", x.astype(np.float64), axis)


def _count(n: int, width: int, left: int, top: int, right: int, bottom: int) -> int:
    """Cells in use of a rectangle."""
    full, rest = divmod(n, width)
    whole = max(min(bottom, full) - top, 0) * (right - left)
    return whole + (max(min(right, rest) - left, 0) if top <= full < bottom else 0)


def _places(n: int, width: int, left: int, top: int, right: int, bottom: int) -> NDArray[np.int64]:
    places = (np.arange(top, bottom)[:, None] * width + np.arange(left, right)[None, :]).reshape(-1)
    return places[places < n]


def _finite(what: str, values: Tensor) -> NDArray[np.float32]:
    array = values.detach().to(torch.float32).numpy()
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise DataError(f"{what}: row {bad} of {len(array)} has a number that is not finite")
    return array

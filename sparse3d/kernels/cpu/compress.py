# SPDX-License-Identifier: Apache-2.0
"""The compression kernels as calls on numpy arrays: nearest entries, means, splitting, codebooks, grid order.

Vectors are rows of float32, padded with zeros to a multiple of 16 numbers (`padded`); `dim` of them count. Results are
the same for any number of threads. Formulas: math/kmeans.h; what each kernel does: cpu/compress/kmeans.h, codebook.h,
grid_order.h.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.kernels import cpu

Floats = NDArray[np.float32]
Words = NDArray[np.int32]
# Indices are 32 bits in the kernels.
_ROWS_MAX = 2**31 - 1


def padded(vectors: Floats) -> Floats:
    """A copy [N,S] of vectors [N,D] with zeros up to the next multiple of 16."""
    pad = cpu.module().kmeans_pad
    out = np.zeros((vectors.shape[0], max(pad, -(-vectors.shape[1] // pad) * pad)), np.float32)
    out[:, : vectors.shape[1]] = vectors
    return out


def half_norms(entries: Floats) -> Floats:
    """[P] half the squared lengths of the rows."""
    wide = entries.astype(np.float64)
    return (0.5 * (wide * wide).sum(axis=1)).astype(np.float32)


def assign(vectors: Floats, entries: Floats, dim: int) -> tuple[Words, Floats]:
    """The nearest of `entries` [P,S] to each of `vectors` [N,S]: labels [N], the first of equals, and squared distances
    [N]. Compares all with all. Raises DataError for rows that do not fit together and where P is 0."""
    _check_rows("assign", vectors, entries, dim)
    labels, errors = np.empty(len(vectors), np.int32), np.empty(len(vectors), np.float32)
    cpu.module().kmeans_assign(vectors, entries, dim, half_norms(entries), labels, errors)
    return labels, errors


def assign_near(
    vectors: Floats, entries: Floats, dim: int, labels: Words, order: Words, cap: int
) -> tuple[Words, Floats, int]:
    """As `assign`, faster, from earlier labels: 32 vectors at a time along `order` [N], a permutation in which
    neighbours are alike, look at most at `cap` entries. Third: how many groups would have had more; with 0 the result
    is exact. Raises DataError as `assign`, and for labels or an order that are out of range."""
    _check_rows("assign_near", vectors, entries, dim)
    n = len(vectors)
    _check_words("assign_near: labels", labels, n, len(entries))
    _check_words("assign_near: order", order, n, n)
    if cap < 1:
        raise DataError(f"assign_near: cap is {cap}, expected 1 or more")
    out, errors = labels.copy(), np.empty(n, np.float32)
    cut = cpu.module().kmeans_assign_near(vectors, entries, dim, half_norms(entries), order, cap, out, errors)
    return out, errors, cut


def update(vectors: Floats, entries: Floats, dim: int, weights: Floats | None, order: Words, starts: Words) -> Floats:
    """Means [P,S] of the vectors order[starts[p]:starts[p + 1]], weighted; where there are none, the row of `entries`.
    Raises DataError for rows, weights or indices that do not fit together."""
    _check_rows("update", vectors, entries, dim)
    _check_weights("update", weights, len(vectors))
    _check_words("update: order", order, len(vectors), len(vectors))
    _check_words("update: starts", starts, len(entries) + 1, len(vectors) + 1)
    if len(starts) and (np.diff(starts) < 0).any():
        raise DataError("update: starts must not fall")
    out = entries.copy()
    cpu.module().kmeans_update(vectors, dim, weights, order, starts, out)
    return out


def split(vectors: Floats, dim: int, weights: Floats | None, count: int, seed: int) -> tuple[Words, Words]:
    """Cuts the vectors [N,S] into at most `count` cells of small error: order [N], cell after cell with alike cells
    side by side, and starts [cells + 1]. Raises DataError for rows and weights that do not fit together, and
    for no vectors or a count below 1."""
    if count < 1 or len(vectors) == 0:
        raise DataError(f"split: {len(vectors)} vectors cannot be split into {count} cells; give 1 or more of each")
    _check_rows("split", vectors, vectors[:1], dim)
    _check_weights("split", weights, len(vectors))
    order, starts = np.empty(len(vectors), np.int32), np.empty(min(count, len(vectors)) + 1, np.int32)
    cells = cpu.module().kmeans_split(vectors, dim, weights, seed & 0xFFFFFFFF, order, starts)
    return order, starts[: cells + 1].copy()


def intervals(sums: NDArray[np.float64], count: int) -> Words:
    """Starts [count + 1] of the intervals of sorted bins with the least squared error; `sums` [bins + 1, 3] are running
    sums of w, w x and w x^2. Raises DataError where there are fewer bins than intervals."""
    if sums.ndim != 2 or sums.shape[1] != 3 or sums.dtype != np.float64 or not sums.flags.c_contiguous:
        raise DataError(f"intervals: sums must be contiguous float64 [bins + 1, 3], found {sums.dtype} {sums.shape}")
    if not 1 <= count <= len(sums) - 1:
        raise DataError(f"intervals: {len(sums) - 1} bins cannot be cut into {count} intervals")
    starts = np.empty(count + 1, np.int32)
    cpu.module().codebook_intervals(sums, starts)
    return starts


class GridSorter:
    """Vectors on a grid of width x height cells, filled row by row; `cells` [N] says which vector lies where.

    features [N,D], D at most 16; cells is a permutation of 0 .. N - 1. Raises DataError where they do not fit.
    """

    def __init__(self, features: Floats, width: int, height: int, cells: Words) -> None:
        stride = cpu.module().grid_stride
        n, dim = features.shape
        if dim > stride or n > width * height:
            raise DataError(
                f"GridSorter: {n} vectors of {dim} numbers do not fit a grid of {width}x{height} with {stride} a cell"
            )
        _check_words("GridSorter: cells", cells, n, n)
        self.cells = cells.copy()
        self._features = np.zeros((n, stride), np.float32)
        self._features[:, :dim] = features
        self._size = width, height
        self._scratch = np.empty((2, width * height, stride), np.float32)

    def round(self, radius: int, sweeps: int, seed: int) -> int:
        """Moves vectors towards the mean of their surroundings of `radius` cells; returns how many moves it took."""
        return cpu.module().grid_order_round(
            self._features, *self._size, radius, sweeps, seed & 0xFFFFFFFF, self.cells, self._scratch
        )


def _check_rows(what: str, vectors: Floats, entries: Floats, dim: int) -> None:
    for name, rows in (("vectors", vectors), ("entries", entries)):
        if rows.ndim != 2 or rows.dtype != np.float32 or not rows.flags.c_contiguous:
            raise DataError(f"{what}: {name} must be contiguous float32 rows, found {rows.dtype} {rows.shape}")
        if rows.shape[1] % cpu.module().kmeans_pad or not 0 <= dim <= rows.shape[1] or len(rows) > _ROWS_MAX:
            raise DataError(f"{what}: {name} of shape {rows.shape} are not padded rows of {dim} numbers")
    if vectors.shape[1] != entries.shape[1]:
        raise DataError(f"{what}: vectors are {vectors.shape[1]} numbers wide and entries {entries.shape[1]}")
    if len(vectors) and not len(entries):
        raise DataError(f"{what}: {len(vectors)} vectors and no entry")


def _check_weights(what: str, weights: Floats | None, count: int) -> None:
    if weights is None:
        return
    if weights.shape != (count,) or weights.dtype != np.float32 or not weights.flags.c_contiguous:
        raise DataError(f"{what}: weights must be contiguous float32 [{count}], found {weights.dtype} {weights.shape}")


def _check_words(what: str, words: Words, count: int, limit: int) -> None:
    if words.shape != (count,) or words.dtype != np.int32 or not words.flags.c_contiguous:
        raise DataError(f"{what} must be contiguous int32 [{count}], found {words.dtype} {words.shape}")
    if count and (int(words.min()) < 0 or int(words.max()) >= limit):
        raise DataError(f"{what} must lie in 0..{limit - 1}")

# SPDX-License-Identifier: Apache-2.0
"""Codebooks of single numbers: the entries with the least squared error, and ones that also make indices cheap.

The optimal cut of sorted numbers into intervals comes from dynamic programming over fine bins; Lloyd's steps on the
numbers themselves then remove what the bins cost. With a price on bits the entries move towards even spacing, which is
what entropy-coded (or predicted) indices like best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.kernels.cpu import compress as kernels

Floats = NDArray[np.float32]
# Above so many numbers, those that differ by less than one in 2048 of what they are from the mean count as one:
# a codebook's steps are far wider.
MANY = 1 << 18
# Of a float32: its sign, 8 bits of exponent and 11 of mantissa.
_KEY_BITS = 20
_BLOCK = 1 << 18
# Bins of the dynamic programme: half of them with equal numbers of values, half with equal widths.
BINS = 4096


@dataclass(frozen=True)
class Codebook:
    """entries [count] float32, rising; labels [M] uint8, each number's entry; mse: weighted mean squared error.

    Entries that are not needed repeat the last one that is.
    """

    entries: Tensor
    labels: Tensor
    mse: float

    def decoded(self) -> Tensor:
        """[M]: every number's entry."""
        return self.entries[self.labels.long()]


def codebook(
    values: Tensor,
    count: int = 256,
    *,
    weights: Tensor | None = None,
    iterations: int = 20,
    price: float = 0.0,
) -> Codebook:
    """`count` (1 to 256) entries for the numbers `values` [M] float32 with the least weighted squared error.

    weights [M], 0 or more. iterations: Lloyd's steps after the dynamic programme, at most. price: what a bit of an
    index's entropy costs, in units of the mean squared error that `price` 0 reaches (0.5 to 2 are useful): the entries
    then minimise error + price * mse0 * entropy (entropy-constrained scalar quantisation; Chou, Lookabaugh and Gray
    1989), and labels are the cheapest entries, not always the nearest.
    Of more than 262,144 numbers, those that differ by less than 1/2048 of their distance from the mean count as one.
    Raises DataError for NaN or infinite numbers, negative weights, shapes that do not fit, and a count out of range.
    """
    x, w = _checked(values, count, weights)
    if len(x) == 0:
        return Codebook(torch.from_numpy(np.zeros(count, np.float32)), torch.from_numpy(np.zeros(0, np.uint8)), 0.0)
    # Equal numbers are one of their weight; all sums are in double.
    distinct, mass, group_of = _grouped(x, w) if len(x) > MANY else _distinct(x, w)
    sorted_values = _Sorted(distinct, mass)
    entries = sorted_values.lloyd(sorted_values.optimal(count), iterations)
    cuts = sorted_values.cuts(entries, np.zeros(len(entries)))
    if price > 0:
        entries, cuts = sorted_values.entropy_constrained(entries, price * sorted_values.error(entries, cuts))
    label_of = np.searchsorted(cuts[1:-1], np.arange(len(distinct)), side="right")
    rounded = entries.astype(np.float32)
    full = np.concatenate([rounded, np.full(count - len(rounded), rounded[-1], np.float32)])
    mse = sorted_values.error(rounded.astype(np.float64), cuts)
    labels = label_of.astype(np.uint8)[group_of]
    return Codebook(torch.from_numpy(full), torch.from_numpy(labels), mse)


def _distinct(x: Floats, w: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """The distinct numbers, rising, their weights, and which of them each of `x` is."""
    distinct, inverse = np.unique(x, return_inverse=True)
    mass = np.bincount(inverse.reshape(-1), weights=w, minlength=len(distinct)).astype(np.float64)
    return distinct.astype(np.float64), mass, inverse.reshape(-1)


def _grouped(x: Floats, w: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
    """As `_distinct`, for many numbers in little memory: those whose distances from the mean have the same
    first 20 bits are one, their own mean."""
    # Subtracting rounds, but never swaps two numbers.
    middle = np.float32(x.mean(dtype=np.float64))
    keys = np.empty(len(x), np.int32)
    mass, sums, plain, counts = (np.zeros(1 << _KEY_BITS) for _ in range(4))
    for start in range(0, len(x), _BLOCK):
        part, weight = x[start : start + _BLOCK], w[start : start + _BLOCK]
        bits = (part - middle).view(np.int32)
        # Bits of floats as integers that rise with the numbers: those of negative ones are turned over.
        key = ((bits ^ ((bits >> 31) & 0x7FFFFFFF)) >> (32 - _KEY_BITS)) + (1 << (_KEY_BITS - 1))
        keys[start : start + _BLOCK] = key
        size = len(mass)
        mass += np.bincount(key, weight, size)
        sums += np.bincount(key, weight * part, size)
        plain += np.bincount(key, part, size)
        counts += np.bincount(key, None, size)
    used = np.flatnonzero(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(mass[used] > 0, sums[used] / mass[used], plain[used] / counts[used])
    group_of_key = np.zeros(len(mass), np.int32)
    group_of_key[used] = np.arange(len(used))
    return np.maximum.accumulate(means), mass[used], group_of_key[keys]


class _Sorted:
    """Rising distinct numbers with their weights, as running sums. A codebook's cells are cuts [K + 1] of the indices:
    cell k is cuts[k] .. cuts[k + 1] - 1."""

    def __init__(self, values: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        # Numbers of weight 0 get an entry like others and make none.
        self.values, self.total = values, max(float(weights.sum()), 1e-300)
        # About the mean, so that running sums of squares keep their digits.
        self.offset = float((values * weights).sum() / self.total)
        y = values - self.offset
        self.sums = np.zeros((len(values) + 1, 3))
        np.cumsum(np.stack([weights, weights * y, weights * y * y], axis=1), axis=0, out=self.sums[1:])

    def optimal(self, count: int) -> NDArray[np.float64]:
        """Entries, at most `count`, of the best cut between bins."""
        edges = self._bins()
        starts = kernels.intervals(np.ascontiguousarray(self.sums[edges]), min(count, len(edges) - 1))
        return self.means(edges[starts])

    def lloyd(self, entries: NDArray[np.float64], iterations: int) -> NDArray[np.float64]:
        """Entries after steps of nearest entry and mean, until nothing changes."""
        cuts = self.cuts(entries, np.zeros(len(entries)))
        for _ in range(iterations):
            moved = self.means(cuts)
            after = self.cuts(moved, np.zeros(len(moved)))
            entries = moved
            if np.array_equal(after, cuts):
                break
            cuts = after
        return entries

    def entropy_constrained(
        self, entries: NDArray[np.float64], price: float, iterations: int = 60
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Entries and cuts that lower error + price * bits; entries that no number pays for are left out."""
        cuts = self.cuts(entries, np.zeros(len(entries)))
        for _ in range(iterations):
            mass = np.diff(self.sums[cuts, 0])
            kept = mass > 0
            if not kept.any():
                break
            entries, mass = self.means(cuts)[kept], mass[kept]
            cost = -price * np.log2(mass / self.total)
            entries, cost = _hull(entries, cost)
            after = self.cuts(entries, cost)
            if np.array_equal(after, cuts):
                break
            cuts = after
        return self._without_empty(entries, cuts)

    def means(self, cuts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of the cells; the middle of the numbers where a cell weighs nothing."""
        mass, sums = np.diff(self.sums[cuts, 0]), np.diff(self.sums[cuts, 1])
        last = np.clip(cuts[1:] - 1, 0, len(self.values) - 1)
        middle = 0.5 * (self.values[np.minimum(cuts[:-1], last)] + self.values[last])
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = sums / mass + self.offset
        # Differences of running sums may leave a cell by rounding.
        low, high = self.values[np.minimum(cuts[:-1], last)], self.values[last]
        return np.maximum.accumulate(np.where(mass > 0, np.clip(mean, low, high), middle))

    def cuts(self, entries: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.int64]:
        """Where (x - entry)^2 + cost changes its least entry; entries rise, and each is least somewhere."""
        gap = np.diff(entries)
        safe = np.where(gap > 0, gap, 1.0)
        edge = 0.5 * (entries[1:] + entries[:-1]) + np.where(gap > 0, np.diff(cost) / (2 * safe), 0.0)
        inner = np.searchsorted(self.values, edge, side="right")
        return np.concatenate([[0], np.maximum.accumulate(inner), [len(self.values)]]).astype(np.int64)

    def error(self, entries: NDArray[np.float64], cuts: NDArray[np.int64]) -> float:
        """Weighted mean squared error."""
        s = np.diff(self.sums[cuts], axis=0)
        c = entries - self.offset
        return max(float((s[:, 2] - 2 * c * s[:, 1] + c * c * s[:, 0]).sum()) / self.total, 0.0)

    def _without_empty(
        self, entries: NDArray[np.float64], cuts: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        used = np.diff(cuts) > 0
        return entries[used], np.concatenate([cuts[:-1][used], cuts[-1:]])

    def _bins(self) -> NDArray[np.int64]:
        """Edges of bins, as indices of the numbers: all of them where they are few."""
        n = len(self.values)
        if n <= BINS:
            return np.arange(n + 1)
        half = BINS // 2
        share = np.linspace(0, 1, half + 1)[1:-1]
        by_weight = np.searchsorted(self.sums[:, 0], share * self.total)
        by_width = np.searchsorted(self.values, self.values[0] + share * (self.values[-1] - self.values[0]))
        return np.unique(np.concatenate([[0], by_weight, by_width, [n]])).clip(0, n)


def _hull(entries: NDArray[np.float64], cost: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The entries for which some x has the least (x - entry)^2 + cost: the lower convex hull of entry^2 + cost."""
    kept: list[int] = []
    height = entries * entries + cost
    for i in range(len(entries)):
        while kept and entries[kept[-1]] == entries[i] and height[kept[-1]] >= height[i]:
            kept.pop()
        if kept and entries[kept[-1]] == entries[i]:
            continue
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            slope_ab = (height[b] - height[a]) / (entries[b] - entries[a])
            slope_bi = (height[i] - height[b]) / (entries[i] - entries[b])
            if slope_bi > slope_ab:
                break
            kept.pop()
        kept.append(i)
    return entries[kept], cost[kept]


def _checked(values: Tensor, count: int, weights: Tensor | None) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    if values.ndim != 1:
        raise DataError(f"codebook: values must be [M], found {tuple(values.shape)}")
    if not 1 <= count <= 256:
        raise DataError(f"codebook: {count} entries were asked for; labels are bytes, so 1 to 256")
    x = values.detach().to(torch.float32).numpy() + np.float32(0)
    if not np.isfinite(x).all():
        raise DataError(f"codebook: number {int(np.flatnonzero(~np.isfinite(x))[0])} of {len(x)} is not finite")
    w = np.ones(len(x)) if weights is None else weights.detach().numpy().astype(np.float64)
    if w.shape != x.shape or not np.isfinite(w).all() or (w < 0).any():
        raise DataError(f"codebook: weights must be {len(x)} finite numbers of 0 or more")
    return x, w

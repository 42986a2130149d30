# SPDX-License-Identifier: Apache-2.0
"""A table of values that stands for many scalars: 1-D k-means (Lloyd 1982) on the sorted values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_ROUNDS = 200


@dataclass(frozen=True)
class Codebook:
    """entries [count] float32 ascending; labels [M] uint8: the nearest entry of each value."""

    entries: Tensor
    labels: Tensor


def codebook(values: Tensor, count: int = 256, *, weights: Tensor | None = None) -> Codebook:
    """Entries with the smallest weighted squared error to `values` [M] float32; count is 1 to 256; weights [M] >= 0."""
    data = values.detach().cpu().double().numpy()
    weight = np.ones(len(data)) if weights is None else weights.detach().cpu().double().numpy()
    order = np.argsort(data, kind="stable")
    x, w = data[order], weight[order]
    w = w + 1e-9 * max(float(w.mean()), 1e-30)
    mass, moment = np.concatenate([[0.0], np.cumsum(w)]), np.concatenate([[0.0], np.cumsum(w * x)])
    distinct = np.unique(x)
    if len(distinct) <= count:
        entries = np.concatenate([distinct, np.full(count - len(distinct), distinct[-1])])
    else:
        entries = _start(distinct, x, w, count)
        for _ in range(_ROUNDS):
            cuts = np.concatenate([[0], np.searchsorted(x, (entries[1:] + entries[:-1]) / 2), [len(x)]])
            inside = mass[cuts[1:]] - mass[cuts[:-1]]
            means = (moment[cuts[1:]] - moment[cuts[:-1]]) / np.where(inside > 0, inside, 1.0)
            moved = np.sort(np.where(inside > 0, means, entries))
            if np.array_equal(moved, entries):
                break
            entries = moved
    entries = entries.astype(np.float32)
    middle = (entries[1:].astype(np.float64) + entries[:-1]) / 2
    labels = np.searchsorted(middle, data, side="left").astype(np.uint8)
    return Codebook(torch.from_numpy(entries), torch.from_numpy(labels))


def _start(distinct: np.ndarray, x: np.ndarray, w: np.ndarray, count: int) -> np.ndarray:
    """Entries by the cube root of the density, the best companding for squared error (Panter and Dite 1951)."""
    histogram, edges = np.histogram(x, bins=4096, weights=w)
    density = np.cumsum(np.cbrt(histogram))
    at = (np.arange(count) + 0.5) / count * density[-1]
    return np.interp(at, np.concatenate([[0.0], density]), edges)

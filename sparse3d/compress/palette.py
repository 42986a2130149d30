# SPDX-License-Identifier: Apache-2.0
"""A palette of vectors that stands for many: k-means in cells of a tree of principal axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_CELL = 1024


@dataclass(frozen=True)
class Palette:
    """entries [P,D] float32; labels [N] int64: the entry that stands for each vector."""

    entries: Tensor
    labels: Tensor


@torch.no_grad()
def palette(
    vectors: Tensor,
    count: int,
    *,
    weights: Tensor | None = None,
    iterations: int = 8,
    warm: Tensor | None = None,
    seed: int = 0,
) -> Palette:
    """At most `count` entries with a small weighted squared error to `vectors` [N,D] float32; weights [N] >= 0.

    Where count >= N every vector is its own entry, in order. `warm` [P,D] are entries to start from.
    """
    del seed
    n = vectors.shape[0]
    if count >= n:
        return Palette(vectors.clone(), torch.arange(n))
    weight = torch.ones(n) if weights is None else weights.float().clamp_min(1e-12)
    entries = torch.empty(0, vectors.shape[1]) if warm is None else warm.clone()
    labels = torch.zeros(n, dtype=torch.int64)
    if warm is not None:
        _, labels = _lloyd(vectors, weight, entries, iterations)
        return Palette(_, labels)
    parts: list[Tensor] = []
    total = 0
    cells = _cells(vectors, torch.arange(n))
    for number, cell in enumerate(cells):
        seen = sum(len(c) for c in cells[: number + 1])
        want = max(1, round(seen * count / n) - total)
        want = min(want, len(cell), count - total - (len(cells) - number - 1))
        step = torch.linspace(0, len(cell) - 1, want).round().long()
        found, own = _lloyd(vectors[cell], weight[cell], vectors[cell][step], iterations)
        parts.append(found)
        labels[cell] = own + total
        total += len(found)
    return Palette(torch.cat(parts), labels)


def _cells(vectors: Tensor, index: Tensor) -> list[Tensor]:
    if len(index) <= _CELL:
        return [index]
    values = vectors[index]
    centred = values - values.mean(dim=0)
    axis = torch.ones(values.shape[1])
    for _ in range(6):
        axis = centred.T @ (centred @ axis)
        axis = axis / axis.norm().clamp_min(1e-20)
    order = torch.argsort(centred @ axis, stable=True)
    half = len(index) // 2
    return _cells(vectors, index[order[:half]]) + _cells(vectors, index[order[half:]])


def _lloyd(vectors: Tensor, weight: Tensor, entries: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    labels = _nearest(vectors, entries)
    for _ in range(iterations):
        mass = torch.zeros(len(entries)).index_add_(0, labels, weight)
        total = torch.zeros_like(entries).index_add_(0, labels, vectors * weight[:, None])
        entries = torch.where(mass[:, None] > 0, total / mass.clamp_min(1e-20)[:, None], entries)
        labels = _nearest(vectors, entries)
    return entries, labels


def _nearest(vectors: Tensor, entries: Tensor) -> Tensor:
    return ((entries * entries).sum(dim=1) - 2 * vectors @ entries.T).argmin(dim=1)

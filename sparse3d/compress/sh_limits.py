# SPDX-License-Identifier: Apache-2.0
"""What training may not undo of a smaller choice of harmonics: those that are 0, those that splats have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.splats import Splats


@dataclass(frozen=True)
class ShLimits:
    """kept [N,K] bool: harmonics that may be other than 0. group [N] int64 and weight [N]: splats of the same group
    above 0 have the same harmonics, the mean by weight of what each would have; those of group 0 have none. Without
    them each has its own."""

    kept: Tensor
    group: Tensor | None = None
    weight: Tensor | None = None

    def select(self, rows: Tensor) -> ShLimits:
        """For those splats alone."""
        if self.group is None or self.weight is None:
            return ShLimits(self.kept[rows])
        return ShLimits(self.kept[rows], self.group[rows], self.weight[rows])

    def of(self, splats: Splats) -> Splats:
        """The splats within the limits."""
        if self.group is not None:
            return replace(splats, shN=self._in_common(splats.shN))
        return splats if self.unlimited else replace(splats, shN=splats.shN * self.kept[:, :, None])

    @cached_property
    def unlimited(self) -> bool:
        """Whether every splat may have all harmonics, and its own."""
        return self.group is None and bool(self.kept.all())

    @cached_property
    def _groups(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Rows of the groups above 0, one group after the other; where each group begins; the rows' shares of it."""
        assert self.group is not None
        assert self.weight is not None
        group = self.group.numpy()
        order = np.argsort(group, kind="stable")
        order = order[group[order] > 0]
        starts = np.flatnonzero(np.diff(group[order], prepend=0))
        weight = self.weight.double().numpy()[order] + 1e-12
        sums = np.add.reduceat(weight, starts) if len(starts) else np.zeros(0)
        return order, starts, weight / np.repeat(sums, np.diff(np.append(starts, len(order))))

    def _in_common(self, shN: Tensor) -> Tensor:
        order, starts, share = self._groups
        out = torch.zeros_like(shN)
        if len(order):
            values = shN.detach().numpy()[order].astype(np.float64) * share[:, None, None]
            means = np.add.reduceat(values, starts, axis=0).astype(np.float32)
            out[torch.from_numpy(order)] = torch.from_numpy(
                np.repeat(means, np.diff(np.append(starts, len(order))), axis=0)
            )
        return out

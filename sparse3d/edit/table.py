# SPDX-License-Identifier: Apache-2.0
"""Which edits each group of splats has had, as a tree: eight bytes for a group that some edit made different."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparse3d.edit import transform


class Table:
    """Groups by number; 0 is the group that nothing was done to. A group is another group and one edit after it."""

    def __init__(self) -> None:
        self._parent = np.zeros(1, np.uint32)
        self._motion = np.zeros(1, np.uint32)
        self._motions = [transform.identity()]

    def __len__(self) -> int:
        return len(self._parent)

    @property
    def nbytes(self) -> int:
        return self._parent.nbytes + self._motion.nbytes + sum(motion.nbytes for motion in self._motions)

    def grow(self, ids: NDArray[np.uint32], motion: NDArray[np.float64]) -> NDArray[np.uint32]:
        """The groups [n] that splats of the groups `ids` [n] are in after one more edit, `motion` [23]."""
        used, inverse = np.unique(ids, return_inverse=True)
        first = len(self)
        self._parent = np.concatenate([self._parent, used])
        self._motion = np.concatenate([self._motion, np.full(len(used), len(self._motions), np.uint32)])
        self._motions.append(motion)
        return (first + inverse).astype(np.uint32)

    def cut(self, count: int) -> None:
        """Only the first `count` groups, and the edits that they need."""
        self._parent, self._motion = self._parent[:count].copy(), self._motion[:count].copy()
        del self._motions[int(self._motion.max()) + 1 :]

    def rows(self, ids: NDArray[np.uint32]) -> NDArray[np.float64]:
        """[n,23] what all edits of each group come to; always composed from the first to the last, so that the bits do
        not depend on what was looked up before."""
        chain, at = [], ids
        while at.any():
            chain.append(self._motion[at])
            at = self._parent[at]
        out = np.tile(transform.identity(), (len(ids), 1))
        for motions in reversed(chain):
            for number in np.unique(motions[motions > 0]):
                of = motions == number
                out[of] = transform.compose(self._motions[number], out[of])
        return out

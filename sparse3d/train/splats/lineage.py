# SPDX-License-Identifier: Apache-2.0
"""What has become of splats that somebody selected a while ago."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor

from sparse3d.errors import UsageError

# Rows of past changes that are kept, as int32: 64 MB, the last 160 changes of 100,000 splats.
_MOST_ROWS = 16_000_000


class Lineage:
    """The changes of the splats since a run began, or the last of them.

    changes: how many there were. Nothing is kept until `remember`, which a run that nobody steers never calls.
    """

    def __init__(self, most_rows: int = _MOST_ROWS) -> None:
        self.changes = 0
        self._remembers = False
        self._most, self._rows = most_rows, 0
        # Of each change: the number of splats before, and the row each splat after it came from.
        self._past: deque[tuple[int, Tensor]] = deque()

    def remember(self) -> None:
        self._remembers = True

    def add(self, before: int, source_row: Tensor) -> None:
        """A change of `before` splats; source_row [N'] int64 as in `DensityUpdate`."""
        self.changes += 1
        if not self._remembers:
            return
        self._past.append((before, source_row.to(torch.int32)))
        self._rows += len(source_row)
        while self._rows > self._most:
            self._rows -= len(self._past.popleft()[1])

    def now(self, rows: Any, changes: int, count: int) -> Tensor:
        """Mask [count] of the splats there are, for those selected when there had been `changes` changes.

        rows: a mask [N] of bool or numbers [M] of the splats then. A splat that was split or copied stands for all that
        came of it. Raises UsageError for a selection that is none, that is empty, or that is too old.
        """
        if isinstance(changes, bool) or not isinstance(changes, int) or not 0 <= changes <= self.changes:
            raise UsageError(
                f"the selection names change {changes!r} of {self.changes}; select in a snapshot of this run"
            )
        back = self.changes - changes
        if back > len(self._past):
            raise UsageError(
                f"the selection is {back} changes of the splats old, and only the last {len(self._past)} are "
                "remembered; select again in the newest picture"
            )
        since = list(self._past)[len(self._past) - back :]
        mask = _mask(rows, since[0][0] if since else count)
        for _, source_row in since:
            mask = mask[source_row.long()]
        return mask


def _mask(rows: Any, count: int) -> Tensor:
    """[count] bool of row numbers or a mask. Raises UsageError."""
    try:
        found = torch.as_tensor(rows, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise UsageError("the selection is no list of numbers and no mask; give one of them") from None
    if found.ndim != 1 or found.dtype.is_floating_point or found.dtype.is_complex:
        raise UsageError(
            f"the selection is {list(found.shape)} of {found.dtype}; give a mask or whole numbers, in one dimension"
        )
    if found.dtype == torch.bool:
        if len(found) != count:
            raise UsageError(f"the mask has {len(found)} entries, the snapshot it names has {count} splats")
        mask = found.clone()
    else:
        found = found.long()
        if len(found) and not 0 <= int(found.min()) <= int(found.max()) < count:
            raise UsageError(
                f"the selection goes from {int(found.min())} to {int(found.max())}, the snapshot it names has splats "
                f"0 to {count - 1}"
            )
        mask = torch.zeros(count, dtype=torch.bool, device="cpu")
        mask[found] = True
    if not bool(mask.any()):
        raise UsageError("the selection is empty; select splats first")
    return mask

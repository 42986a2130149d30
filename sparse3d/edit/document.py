# SPDX-License-Identifier: Apache-2.0
"""Splats that are edited: a selection, what is hidden and locked, and every step back.

A splat keeps its row for as long as the document lives: a deleted one is only not there, an added one comes last. What
was done to values is a row of a table of transforms (transform.py), so a step is a few kilobytes of packed bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.edit import transform
from sparse3d.edit.history import MEMORY_LIMIT, Bits, History, PackedBits, PackedIds, Step
from sparse3d.edit.table import Table
from sparse3d.errors import UsageError
from sparse3d.splats import Splats, num_sh_rest

FLAGS = ("present", "selected", "hidden", "locked")


class Shown(NamedTuple):
    """What a viewer draws: the splats that are there and not hidden, which of them are selected [n] bool, and the
    document's row of each [n]."""

    splats: Splats
    selected: Bits
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """What an edit did. count: splats that it changed (selected, deleted, moved). notes: sentences for the user.
    pieces: splats that were separated, by the file that the edit names ("" where it names none)."""

    count: int
    notes: tuple[str, ...] = ()
    pieces: tuple[tuple[str, Splats], ...] = ()


@dataclass(frozen=True)
class Change:
    """What one edit asks for. flags: new [N] bool by name of FLAGS. where: rows [N] bool whose values `motion` [23]
    changes. copied: rows [N] bool to add again. added: other splats to add. New splats are selected."""

    flags: Mapping[str, Bits]
    where: Bits | None = None
    motion: NDArray[np.float64] | None = None
    copied: Bits | None = None
    added: Splats | None = None


class Document:
    """Splats under edit. The given ones are never changed. Make edits with `operations.apply`."""

    def __init__(self, splats: Splats, *, memory_limit: int = MEMORY_LIMIT) -> None:
        self._base = splats
        self._now = splats.clone()
        self.flags: dict[str, Bits] = {name: np.zeros(splats.num_splats, bool) for name in FLAGS}
        self.flags["present"][:] = True
        self._ids = np.zeros(splats.num_splats, np.uint32)
        self._table = Table()
        self.history = History(memory_limit)
        # Splats that undone steps had added, the first undone first, and their groups.
        self._undone_rows: list[tuple[Splats, NDArray[np.uint32]]] = []
        self._operations: list[Mapping[str, Any]] = []

    @property
    def sh_degree(self) -> int:
        return self._base.sh_degree

    @property
    def num_rows(self) -> int:
        """Rows of the document, with those of deleted splats."""
        return len(self._ids)

    @property
    def present(self) -> Bits:
        return self.flags["present"]

    @property
    def selected(self) -> Bits:
        return self.flags["selected"]

    @property
    def editable(self) -> Bits:
        """[N] there, not hidden, not locked: what a selection can take."""
        return self.present & ~self.flags["hidden"] & ~self.flags["locked"]

    @property
    def operations(self) -> tuple[Mapping[str, Any], ...]:
        """The edits that made the document what it is, undone ones left out: what a project file keeps."""
        return tuple(self._operations)

    @property
    def memory(self) -> int:
        """Bytes that the history takes, with the table of transforms."""
        return self.history.bytes + self._table.nbytes

    def all_rows(self) -> Splats:
        """Every row [N] with its values of now, deleted ones too; the order of the masks. Not to be written to."""
        return self._now

    def splats(self) -> Splats:
        """A copy of the splats that are there: what is written to a file."""
        return self.all_rows().select(torch.from_numpy(self.present))

    def shown(self) -> Shown:
        rows = np.flatnonzero(self.present & ~self.flags["hidden"])
        return Shown(self.all_rows().select(torch.from_numpy(rows)), self.selected[rows], rows)

    def make(self, op: Mapping[str, Any], change: Change) -> tuple[str, ...]:
        """Make one step; returns what there is to say of the history. A step that is redone can no longer be after."""
        self._forget_undone()
        groups, rows_before, degree_before = len(self._table), self.num_rows, self.sh_degree
        flags_before, ids_before = {name: bits.copy() for name, bits in self.flags.items()}, self._ids.copy()
        for name, bits in change.flags.items():
            self.flags[name] = bits.copy()
        ids = None
        if change.where is not None and change.motion is not None:
            self._ids[change.where] = self._table.grow(self._ids[change.where], change.motion)
            self._refresh(np.flatnonzero(change.where))
            ids = PackedIds.of(ids_before, self._ids)
        extra = self._add(change)
        packed: dict[str, PackedBits] = {}
        for name, old in flags_before.items():
            changed = _longer(old, self.num_rows) ^ self.flags[name]
            if changed.any():
                packed[name] = PackedBits.of(changed)
        step = Step(dict(op), packed, ids, (rows_before, self.num_rows), (degree_before, self.sh_degree), groups, extra)
        gone = self.history.push(step, self._table.nbytes)
        self._operations.append(dict(op))
        if not gone:
            return ()
        limit = self.history.limit / 1e6
        return (f"The {gone} oldest steps can no longer be undone: the history may take {limit:g} MB.",)

    def undo(self) -> Mapping[str, Any] | None:
        """Take the last step back; returns its edit, None where there is nothing to undo."""
        if not self.history.done:
            return None
        step = self.history.done.pop()
        self._run(step, forward=False)
        self.history.undone.append(step)
        self._operations.pop()
        return step.op

    def redo(self) -> Mapping[str, Any] | None:
        """Make the step again that was undone last; returns its edit, None where there is none."""
        if not self.history.undone:
            return None
        step = self.history.undone.pop()
        self._run(step, forward=True)
        self.history.done.append(step)
        self._operations.append(step.op)
        return step.op

    def _run(self, step: Step, *, forward: bool) -> None:
        rows, degree = (pair[1 if forward else 0] for pair in (step.rows, step.degrees))
        if rows > self.num_rows:
            self._put_behind(*self._undone_rows.pop())
            self.flags = {name: _longer(bits, rows) for name, bits in self.flags.items()}
        for name, bits in step.flags.items():
            self.flags[name] ^= bits.unpacked()
        if step.ids is not None:
            self._refresh(np.flatnonzero(step.ids.written(self._ids, forward=forward)))
        if rows < self.num_rows:
            tail = torch.arange(rows, self.num_rows, device=self._base.means.device)
            self._undone_rows.append((self._base.select(tail), self._ids[rows:].copy()))
            self._base, self._now = (_head(part, rows, degree) for part in (self._base, self._now))
            self._ids = self._ids[:rows].copy()
            self.flags = {name: bits[:rows].copy() for name, bits in self.flags.items()}

    def _refresh(self, rows: NDArray[np.int64]) -> None:
        """The values of the rows made anew from those they were read with."""
        index = torch.from_numpy(rows)
        fresh = self._edited(self._base.select(index), self._ids[rows])
        for name, tensor in fresh.named():
            getattr(self._now, name)[index] = tensor

    def _edited(self, base: Splats, ids: NDArray[np.uint32]) -> Splats:
        used, inverse = np.unique(ids, return_inverse=True)
        return transform.applied(base, self._table.rows(used), inverse)

    def _add(self, change: Change) -> int:
        """Put splats behind the last row; returns the bytes that they take."""
        if change.copied is not None:
            index = torch.from_numpy(np.flatnonzero(change.copied))
            base, ids = self._base.select(index), self._ids[change.copied]
        elif change.added is not None:
            base, ids = change.added, np.zeros(change.added.num_splats, np.uint32)
        else:
            return 0
        self._put_behind(base, ids)
        for name in FLAGS:
            new = np.full(base.num_splats, name in ("present", "selected"))
            self.flags[name] = np.concatenate([self.flags[name], new])
        return 2 * sum(tensor.nbytes for _, tensor in base.named())

    def _put_behind(self, base: Splats, ids: NDArray[np.uint32]) -> None:
        degree = max(self.sh_degree, base.sh_degree)
        self._now = joined(self._now, self._edited(base, ids), degree)
        self._base = joined(self._base, base, degree)
        self._ids = np.concatenate([self._ids, ids])

    def _forget_undone(self) -> None:
        """What only undone steps know goes, so that the next step meets the document as if they had not been made."""
        if self.history.undone:
            self._table.cut(self.history.undone[-1].groups)
        self.history.undone.clear()
        self._undone_rows.clear()


def joined(first: Splats, second: Splats, degree: int) -> Splats:
    """The splats of both, the first's before; coefficients that one lacks up to `degree` are 0. The antialias flag is
    the first's."""
    parts = [_padded(first, degree), _padded(second, degree)]
    return replace(
        parts[0], **{name: torch.cat([tensor, getattr(parts[1], name)]) for name, tensor in parts[0].named()}
    )


def _padded(splats: Splats, degree: int) -> Splats:
    lacking = num_sh_rest(degree) - splats.shN.shape[1]
    if lacking < 0:
        raise UsageError(f"splats of degree {splats.sh_degree} do not fit into degree {degree}; give the higher one")
    return replace(splats, shN=torch.cat([splats.shN, splats.shN.new_zeros(splats.num_splats, lacking, 3)], dim=1))


def _head(splats: Splats, count: int, degree: int) -> Splats:
    """The first splats, without the coefficients that only those behind them had."""
    first = splats.select(torch.arange(count, device=splats.means.device))
    return replace(first, shN=first.shN[:, : num_sh_rest(degree)].contiguous())


def _longer(bits: Bits, count: int) -> Bits:
    return np.concatenate([bits, np.zeros(count - len(bits), bool)])

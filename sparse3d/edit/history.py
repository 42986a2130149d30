# SPDX-License-Identifier: Apache-2.0
"""The steps that were made, as packed bits of what changed, within a stated memory."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.bool_]
# What all steps may take together, in bytes; the oldest go when they take more.
MEMORY_LIMIT = 200_000_000


@dataclass(frozen=True)
class PackedBits:
    """A boolean array, eight to a byte and deflated."""

    data: bytes
    count: int

    @classmethod
    def of(cls, bits: Bits) -> PackedBits:
        return cls(zlib.compress(np.packbits(bits).tobytes(), 1), len(bits))

    def unpacked(self) -> Bits:
        packed = np.frombuffer(zlib.decompress(self.data), np.uint8)
        return np.unpackbits(packed, count=self.count).astype(bool)


@dataclass(frozen=True)
class PackedIds:
    """Other rows of the table of transforms for some splats: which splats, their numbers before and after."""

    where: PackedBits
    before: bytes
    after: bytes

    @classmethod
    def of(cls, before: NDArray[np.uint32], after: NDArray[np.uint32]) -> PackedIds:
        changed = before != after
        return cls(PackedBits.of(changed), _deflated(before[changed]), _deflated(after[changed]))

    def written(self, ids: NDArray[np.uint32], *, forward: bool) -> Bits:
        """Write the numbers into `ids` [N] in place; returns [N] which changed."""
        where = np.zeros(len(ids), bool)
        where[: self.where.count] = self.where.unpacked()
        ids[where] = np.frombuffer(zlib.decompress(self.after if forward else self.before), np.uint32)
        return where

    @property
    def bytes(self) -> int:
        return len(self.where.data) + len(self.before) + len(self.after)


@dataclass(frozen=True)
class Step:
    """One edit. flags: by name, which splats changed (the same bits undo and redo); counts of rows and SH degrees
    before and after, for edits that add splats; groups of the table before. bytes: what it takes, about; extra: of the
    splats that it added."""

    op: Mapping[str, Any]
    flags: Mapping[str, PackedBits]
    ids: PackedIds | None
    rows: tuple[int, int]
    degrees: tuple[int, int]
    groups: int
    extra: int = 0

    @property
    def bytes(self) -> int:
        packed = sum(len(bits.data) for bits in self.flags.values())
        return packed + (self.ids.bytes if self.ids is not None else 0) + self.extra + 500


@dataclass
class History:
    """Steps done and steps undone. dropped: steps that are too old to be undone any more."""

    limit: int = MEMORY_LIMIT
    done: list[Step] = field(default_factory=list)
    undone: list[Step] = field(default_factory=list)
    dropped: int = 0

    @property
    def bytes(self) -> int:
        return sum(step.bytes for step in (*self.done, *self.undone))

    def push(self, step: Step, beside: int = 0) -> int:
        """Add a step that was just made; returns how many of the oldest went. beside: other bytes that count."""
        self.undone.clear()
        self.done.append(step)
        total, first = self.bytes + beside, 0
        while total > self.limit and first < len(self.done) - 1:
            total -= self.done[first].bytes
            first += 1
        del self.done[:first]
        self.dropped += first
        return first


def _deflated(ids: NDArray[np.uint32]) -> bytes:
    return zlib.compress(ids.tobytes(), 1)

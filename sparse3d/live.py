# SPDX-License-Identifier: Apache-2.0
"""Between a trainer and who watches it: the newest value out, requests in, and nobody waits."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class Slot(Generic[T]):
    """Holds the latest value put into it. The writer never blocks on readers; a reader sees a whole value or None."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._value: T | None = None
        self._version = 0

    def put(self, value: T) -> None:
        with self._condition:
            self._value = value
            self._version += 1
            self._condition.notify_all()

    def get(self) -> tuple[T | None, int]:
        """The newest value and its version (0: nothing was put yet)."""
        with self._condition:
            return self._value, self._version

    def wait_newer(self, version: int, timeout_s: float) -> tuple[T | None, int]:
        """Wait until a value newer than `version` is there or the time is over, then as `get`."""
        with self._condition:
            self._condition.wait_for(lambda: self._version > version, timeout=timeout_s)
            return self._value, self._version


@dataclass(frozen=True)
class Snapshot(Generic[T]):
    """What a trainer puts into its `Slot`: a copy of what it trains, after `step` steps.

    changes: how often parts of it (splats) had been added, removed or moved by then. Whoever selects rows of `value`
    names this number with them, so that the trainer finds what has become of them since.
    """

    step: int
    changes: int
    value: T


class Inbox(Generic[T]):
    """What readers ask of a trainer: many writers, one reader, in order. Neither side blocks the other; the trainer
    waits here only while it is paused. most: beyond so many unread ones no more are taken."""

    def __init__(self, most: int = 1000) -> None:
        self._condition = threading.Condition(threading.RLock())
        self._waiting: list[T] = []
        self._most = most
        self._open = True

    def put(self, value: T) -> bool:
        """False where it was not taken: too many wait, or the reader has gone."""
        with self._condition:
            if not self._open or len(self._waiting) >= self._most:
                return False
            self._waiting.append(value)
            self._condition.notify_all()
            return True

    def take(self) -> list[T]:
        """All that wait, oldest first; they no longer wait."""
        with self._condition:
            taken, self._waiting = self._waiting, []
            return taken

    def wait(self, timeout_s: float) -> bool:
        """Wait until something is there or the time is over; whether something is there."""
        with self._condition:
            return self._condition.wait_for(lambda: bool(self._waiting), timeout=timeout_s)

    def close(self) -> list[T]:
        """As `take`, and from now on nothing more is taken in."""
        with self._condition:
            self._open = False
            return self.take()

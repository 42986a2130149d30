# SPDX-License-Identifier: Apache-2.0
"""A place for the newest value: one writer, many readers, nobody waits."""

from __future__ import annotations

import threading
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

# SPDX-License-Identifier: Apache-2.0
"""The time of a run."""

from __future__ import annotations

import time


class Clock:
    """Seconds of the loop and of evaluations, kept apart, over all parts of a resumed run."""

    def __init__(self) -> None:
        self.seconds_eval = 0.0
        self._before = 0.0
        self._since: float | None = None

    def start(self) -> None:
        self._since = time.perf_counter()

    def pause(self) -> None:
        self._before, self._since = self.seconds, None

    @property
    def seconds(self) -> float:
        return self._before + (0.0 if self._since is None else time.perf_counter() - self._since)

    def restore(self, seconds: float, seconds_eval: float) -> None:
        self._before, self.seconds_eval = seconds, seconds_eval

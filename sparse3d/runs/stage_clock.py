# SPDX-License-Identifier: Apache-2.0
"""How long each stage of a run takes that tells its progress."""

from __future__ import annotations

import time
from collections.abc import Callable


class StageClock:
    """Passes progress on, and adds up the seconds from a stage's first word to the next stage's. seconds: by stage, in
    the order in which they began."""

    def __init__(self, progress: Callable[[str, float], None] | None) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}
        self._stage, self._since = "", 0.0

    def __call__(self, stage: str, fraction: float) -> None:
        if stage != self._stage:
            self.stop()
            self._stage, self._since = stage, time.perf_counter()
        if self._progress is not None:
            self._progress(stage, fraction)

    def stop(self) -> None:
        """The stage under way, if any, has ended."""
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + time.perf_counter() - self._since
            self._stage = ""

    def rounded(self) -> dict[str, float]:
        """The seconds to the millisecond."""
        return {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}

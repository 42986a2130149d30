# SPDX-License-Identifier: Apache-2.0
"""Talking while something long runs: bars on stderr where a person looks, a line now and then where a file does."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Between two lines of progress where stderr is not a terminal: a log that can still be read.
_LINE_EVERY_S = 15.0


def say(text: str) -> None:
    """One line of talk."""
    print(text, file=sys.stderr, flush=True)


def quote(path: Path | str) -> str:
    """A path as it can be typed into a shell."""
    import shlex

    return shlex.quote(str(path)) if sys.platform != "win32" else f'"{path}"'


def duration(seconds: float) -> str:
    """12 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Bar:
    """Progress of one long thing: share done, time left, and a text that changes. Use as a context manager.

    On a terminal a rich bar that is redrawn; elsewhere a line at most every 15 seconds and one at the end.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = self._last_line = time.monotonic()
        self._progress = None
        self._task = None
        self._said = ""

    def __enter__(self) -> Bar:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("{task.description}"), BarColumn(bar_width=20), TaskProgressColumn(),
                TextColumn("{task.fields[text]}"), TimeRemainingColumn(compact=True),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._task = self._progress.add_task(self._title, total=1.0, text="")
            self._progress.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
        if kind is None and self._said:
            say(f"{self._title}: {self._said}, {duration(time.monotonic() - self._began)}")

    def show(self, fraction: float | None, text: str = "") -> None:
        """`fraction` 0..1 done (None: unknown)."""
        self._said = text
        if self._progress is not None and self._task is not None:
            total = 1.0 if fraction is not None else None
            self._progress.update(self._task, completed=fraction or 0.0, total=total, text=text)
            return
        now = time.monotonic()
        if now - self._last_line >= _LINE_EVERY_S and fraction != 1.0:
            self._last_line = now
            say(f"{self._title}: {self._share(fraction, now)}{text}")

    def _share(self, fraction: float | None, now: float) -> str:
        if not fraction:
            return ""
        left = (now - self._began) * (1.0 - fraction) / fraction
        return f"{fraction:4.0%}, about {duration(left)} left, "


@contextlib.contextmanager
def bytes_progress(total: int | None) -> Iterator[Callable[..., None]]:
    """A bar for a download: call it with (bytes so far, name of the file, bytes expected if known only now)."""
    with Bar("fetching") as bar:

        def progress(done: int, name: str, expected: int | None = None) -> None:
            whole = total if total is not None else expected
            of = f" of {whole / 1e6:.1f}" if whole else ""
            bar.show(done / whole if whole else None, f"{done / 1e6:.1f}{of} MB, {name}")

        yield progress

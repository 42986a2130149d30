# SPDX-License-Identifier: Apache-2.0
"""Two readers of the trainer's events: one for a person at a terminal, one that writes JSON lines for programs."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from sparse3d.cli.last_lines import last_lines
from sparse3d.cli.terminal import Bar, duration, say
from sparse3d.train.events import Cleaned, Evaluated, Event, Finished, Planned, Started, Steered, Stepped

# Between two JSON lines of one stage of loading.
_PROGRESS_EVERY_S = 1.0


class TerminalReader:
    """Bars and sentences on stderr, the last lines on stdout. A context manager: it leaves no bar behind."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._stage = ""
        self._training = False
        self._rate = _Rate()

    def __enter__(self) -> TerminalReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close(failed=kind is not None)

    def is_training(self) -> bool:
        return self._training

    def progress(self, what: str, fraction: float) -> None:
        """Loading and initial points: one bar a stage."""
        if what != self._stage or self._bar is None:
            self._open(what)
        assert self._bar is not None
        self._bar.show(fraction, "done" if fraction >= 1.0 else "")

    def handle(self, event: Event) -> None:
        if isinstance(event, Planned):
            self._planned(event)
        elif isinstance(event, Started):
            self._started(event)
        elif isinstance(event, Stepped):
            self._stepped(event)
        elif isinstance(event, Evaluated) and not event.final and event.psnr is not None:
            say(f"step {event.step}: PSNR {event.psnr:.2f} dB on the held-out photos, {event.count:,} {event.counted}")
        elif isinstance(event, Cleaned):
            self._cleaned(event)
        elif isinstance(event, Steered):
            done = "" if event.applied else " (not done)"
            say(f"step {event.step}: {event.command}{done}: {event.said}")
        elif isinstance(event, Finished):
            self._training = False
            self._close()

    def result(self, metrics: dict[str, Any], run: Path, page: Path | None) -> None:
        for warning in metrics.get("warnings", ()):
            say(f"warning: {warning}")
        print(last_lines(metrics, run, page), flush=True)

    def _planned(self, event: Planned) -> None:
        for note in event.notes:
            say(f"note: {note}")
        parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in event.stages.items())
        say(f"this will take about {duration(sum(event.stages.values()))} here: {parts}")

    def _started(self, event: Started) -> None:
        self._close()
        for note in event.notes:
            say(f"note: {note}")
        held = f"{event.views_test} held out" if event.views_test else "none held out"
        say(
            f"training on {event.views_train} photos ({held}) of {event.width}x{event.height}, "
            f"{event.count:,} {event.counted} to begin with, {event.backend} back end"
            + (f", going on after step {event.step} of {event.steps}" if event.step else f", {event.steps} steps")
        )
        self._training = True
        self._open("training")

    def _stepped(self, event: Stepped) -> None:
        if self._bar is None:
            return
        text = f"loss {event.loss:.4f}  PSNR {event.psnr:.1f}  {event.count:,} {event.counted}"
        rate = self._rate.update(event.step, event.seconds)
        if rate:
            text += f"  {rate:.1f} steps/s"
        self._bar.show(event.step / event.steps, text)

    def _cleaned(self, event: Cleaned) -> None:
        by = ", ".join(f"{number:,} {name}" for name, number in event.removed.items()) or "none"
        more = "; more than floaters.max_share, so all stay" if event.kept else ""
        say(f"step {event.step}: floaters: {by}{more}; {event.count:,} {event.counted}")

    def _open(self, stage: str) -> None:
        self._close()
        self._stage = stage
        self._bar = Bar(stage)
        self._bar.__enter__()

    def _close(self, failed: bool = False) -> None:
        if self._bar is not None:
            self._bar.__exit__(RuntimeError if failed else None)
            self._bar = None


class _Rate:
    """Steps a second over the last reports; the loop's own seconds, so that evaluations do not count."""

    def __init__(self) -> None:
        self._points: list[tuple[int, float]] = []

    def update(self, step: int, seconds: float) -> float | None:
        self._points = [*self._points[-19:], (step, seconds)]
        (first, began), (last, ended) = self._points[0], self._points[-1]
        return (last - first) / (ended - began) if ended > began else None


class JsonReader:
    """One JSON object a line on stdout. Where nobody reads any more, the run is asked to stop and save."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._training = False
        self._broken = False
        self._last = ("", 0.0)

    def __enter__(self) -> JsonReader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._broken:
            raise BrokenPipeError

    def is_training(self) -> bool:
        return self._training

    def progress(self, what: str, fraction: float) -> None:
        stage, told = self._last
        now = time.monotonic()
        if what != stage or fraction >= 1.0 or now - told >= _PROGRESS_EVERY_S:
            self._last = (what, now)
            self._write({"event": "loading", "what": what, "fraction": round(fraction, 4)})

    def handle(self, event: Event) -> None:
        self._training = not isinstance(event, Finished)
        self._write(event.to_json())

    def result(self, metrics: dict[str, Any], run: Path, page: Path | None) -> None:
        values = {key: value for key, value in metrics.items() if key != "per_view"}
        self._write({"event": "result", "run": str(run), "report": None if page is None else str(page), **values})

    def _write(self, value: dict[str, Any]) -> None:
        if self._broken:
            return
        try:
            # ASCII only: no encoding of a pipe can break a line. NaN is not JSON, so it must not get this far.
            print(json.dumps(value, allow_nan=False), flush=True)
        except BrokenPipeError:
            self._broken = True
            self._stop.set()

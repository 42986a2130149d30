# SPDX-License-Identifier: Apache-2.0
"""The course of a training, as a run's events.jsonl tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Points of a curve at most; a longer course is thinned evenly, its last point kept.
_MOST_POINTS = 400


@dataclass(frozen=True)
class Course:
    """steps [P] rising; loss, psnr (of the training photos, dB) and count [P] of what is `counted` (splats), nan where
    it is not told."""

    steps: NDArray[np.float64]
    loss: NDArray[np.float64]
    psnr: NDArray[np.float64]
    count: NDArray[np.float64]
    counted: str = "splats"


def read_course(folder: Path) -> Course | None:
    """None where there are no events of at least two steps. Lines that are not whole, as the last one of a run that is
    writing, do not count."""
    rows: dict[int, tuple[float, float, float]] = {}
    counted = "splats"
    try:
        with (folder / "events.jsonl").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                event = _event(line)
                if event is not None:
                    rows[int(event["step"])] = (_number(event, "loss"), _number(event, "psnr"), _number(event, "count"))
                    counted = str(event.get("counted", counted))
    except OSError:
        return None
    steps = sorted(rows)
    if len(steps) < 2:
        return None
    stride = -(-len(steps) // _MOST_POINTS)
    kept = sorted({*steps[::stride], steps[-1]})
    table = np.array([(step, *rows[step]) for step in kept], dtype=np.float64)
    at, loss, psnr, count = (np.ascontiguousarray(column) for column in table.T)
    return Course(at, loss, psnr, count, counted)


def _event(line: str) -> dict[str, Any] | None:
    """The line's event where it tells of a step."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    told = isinstance(event, dict) and event.get("event") == "stepped" and isinstance(event.get("step"), int)
    return event if told else None


def _number(event: dict[str, Any], key: str) -> float:
    value = event.get(key)
    return float(value) if isinstance(value, (int, float)) else float("nan")

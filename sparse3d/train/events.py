# SPDX-License-Identifier: Apache-2.0
"""What the trainer tells: frozen records, the same for the terminal, the JSON log, the live viewer and the tests."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Kept out of the JSON of an evaluation event: one line a photo belongs into metrics.json.
_LONG = ("per_view",)


@dataclass(frozen=True)
class Event:
    """Base of all events. `step` counts finished steps of the run, 0 before the first."""

    step: int

    def to_json(self) -> dict[str, Any]:
        """Plain values with the event's name under "event"; paths as strings."""
        out: dict[str, Any] = {"event": type(self).__name__.lower()}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in _LONG:
                continue
            out[field.name] = (
                str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            )
        return out


@dataclass(frozen=True)
class Started(Event):
    """The loop is about to begin (or to go on, where step > 0). `notes`: sentences about the scene for the user."""

    steps: int
    num_splats: int
    views_train: int
    views_test: int
    backend: str
    threads: int
    width: int
    height: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stepped(Event):
    """Progress. loss: mean over the steps since the last report. psnr: of the last step's photo, a training photo at
    the size trained on. seconds: the loop so far, evaluations left out, over all parts of a resumed run."""

    steps: int
    loss: float
    psnr: float
    num_splats: int
    seconds: float
    sh_degree: int
    image_scale: int


@dataclass(frozen=True)
class Densified(Event):
    """The number of splats changed, or splats were moved."""

    num_splats: int
    added: int
    removed: int
    moved: int


@dataclass(frozen=True)
class Cleaned(Event):
    """Floaters were looked for. removed: number by criterion (`train.floaters`); kept: they were more than
    floaters.max_share, so that none was removed."""

    num_splats: int
    removed: dict[str, int]
    kept: bool


@dataclass(frozen=True)
class Evaluated(Event):
    """The held-out photos were rendered and compared. Values are None where no photo is held out.
    seconds: of the loop so far, evaluations left out; seconds_eval: of all evaluations so far."""

    psnr: float | None
    ssim: float | None
    lpips: float | None
    num_splats: int
    seconds: float
    seconds_eval: float
    final: bool
    psnr_full: float | None = None
    ssim_full: float | None = None
    per_view: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Saved(Event):
    """A file of the run is whole on the disk. what: checkpoint, splats, metrics, compare, coverage,
    cameras."""

    what: str
    path: Path


@dataclass(frozen=True)
class Finished(Event):
    """The end. reason: completed (all steps), or stopped (asked to; a checkpoint to resume from is saved)."""

    reason: str
    num_splats: int
    seconds: float
    seconds_eval: float

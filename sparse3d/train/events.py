# SPDX-License-Identifier: Apache-2.0
"""What the trainer tells: frozen records, the same for the terminal, the JSON log, the live viewer and the tests."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
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
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if entry.name in _LONG:
                continue
            out[entry.name] = (
                str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            )
        return out


@dataclass(frozen=True)
class Planned(Event):
    """Before anything long begins. stages: about how many seconds each will take on this machine, by name. notes: what
    was chosen, in sentences for the user."""

    stages: dict[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Counted(Event):
    """Base of events that say how large the scene is: `count` of what is `counted` ("splats")."""

    count: int
    counted: str


@dataclass(frozen=True)
class Started(Counted):
    """The loop is about to begin (or to go on, where step > 0). `notes`: sentences about the scene for the user."""

    steps: int
    views_train: int
    views_test: int
    backend: str
    threads: int
    width: int
    height: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stepped(Counted):
    """Progress. loss: mean over the steps since the last report. psnr: of the last step's photo, a training photo at
    the size trained on. seconds: the loop so far, evaluations left out, over all parts of a resumed run. details: what
    the representation adds, as its degree of harmonics."""

    steps: int
    loss: float
    psnr: float
    seconds: float
    image_scale: int
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Densified(Counted):
    """The representation grew, shrank, or parts of it were moved."""

    added: int
    removed: int
    moved: int


@dataclass(frozen=True)
class Cleaned(Counted):
    """Floaters were looked for. removed: number by criterion (`judge.floaters`); kept: they were more than
    floaters.max_share, so that none was removed."""

    removed: dict[str, int]
    kept: bool


@dataclass(frozen=True)
class Steered(Counted):
    """The answer to a command (train/commands.py), after `step` steps. asked: its values; applied: whether it was done;
    said: what was done, or why nothing was."""

    command: str
    asked: dict[str, Any]
    applied: bool
    said: str


@dataclass(frozen=True)
class Evaluated(Counted):
    """The held-out photos were rendered and compared. Values are None where no photo is held out.
    seconds: of the loop so far, evaluations left out; seconds_eval: of all evaluations so far."""

    psnr: float | None
    ssim: float | None
    lpips: float | None
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
class Finished(Counted):
    """The end. reason: completed (all steps), or stopped (asked to; a checkpoint to resume from is saved). commands:
    how many have changed what was trained, over all parts of a resumed run."""

    reason: str
    seconds: float
    seconds_eval: float
    commands: int = 0

# SPDX-License-Identifier: Apache-2.0
"""What may be asked of a run under way, as plain records. They go through a `live.Inbox` (`Around.commands`) and are
answered by `Steered` events.

The loop does `Pause`, `Resume` and `Stop`; the rest goes to the trainee, which does it or says why not.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sparse3d.geometry.regions import Box, Sphere


@dataclass(frozen=True)
class Command(abc.ABC):
    """Base of all commands. name: in events."""

    name: ClassVar[str]

    def asked(self) -> dict[str, Any]:
        """Its values as JSON holds them, for events and checkpoints; selected rows are left out."""
        return {}


@dataclass(frozen=True)
class Pause(Command):
    """Stand still after the step under way. Other commands are still done."""

    name = "pause"


@dataclass(frozen=True)
class Resume(Command):
    """Go on after a pause."""

    name = "resume"


@dataclass(frozen=True)
class Stop(Command):
    """Save a checkpoint and end, as Ctrl-C does."""

    name = "stop"


@dataclass(frozen=True)
class SetRates(Command):
    """Other learning rates from the next step on. values: by the names in `RatesConfig`."""

    values: Mapping[str, float]
    name = "rates"

    def asked(self) -> dict[str, Any]:
        return _plain(self.values)


@dataclass(frozen=True)
class SetDensity(Command):
    """Other settings of density control from the next step on. values: by the names in `DensityConfig`."""

    values: Mapping[str, Any]
    name = "density"

    def asked(self) -> dict[str, Any]:
        return _plain(self.values)


@dataclass(frozen=True)
class Delete(Command):
    """Remove what was selected in a snapshot, and what has become of it since (halves, copies).

    rows: numbers of rows [M], or a mask [N] of bool, of a `live.Snapshot`'s value; changes: that snapshot's.
    """

    rows: Any
    changes: int
    name = "delete"

    def asked(self) -> dict[str, Any]:
        return _plain({"changes": self.changes})


@dataclass(frozen=True)
class DeleteRegion(Command):
    """Remove once what has its centre in the region; it may grow back."""

    region: Sphere | Box
    name = "delete region"

    def asked(self) -> dict[str, Any]:
        return _region(self.region)


@dataclass(frozen=True)
class KeepOut(Command):
    """Remove what has its centre in the region, now and whenever something came into it."""

    region: Sphere | Box
    name = "keep out"

    def asked(self) -> dict[str, Any]:
        return _region(self.region)


@dataclass(frozen=True)
class Allow(Command):
    """Take a `KeepOut` of the same region back: things may grow there again."""

    region: Sphere | Box
    name = "allow"

    def asked(self) -> dict[str, Any]:
        return _region(self.region)


def _plain(values: Any) -> dict[str, Any]:
    """As an event can hold it, whatever was asked: what is no number, text or bool by how it is written, NaN too."""
    if not isinstance(values, Mapping):
        return {}
    out: dict[str, Any] = {}
    for key, value in values.items():
        finite = isinstance(value, (bool, str, int)) or (isinstance(value, float) and abs(value) < float("inf"))
        out[str(key)] = value if finite else repr(value)[:40]
    return out


def _region(region: Any) -> dict[str, Any]:
    return region.to_json() if isinstance(region, (Sphere, Box)) else {}

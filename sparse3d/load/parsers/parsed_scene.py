# SPDX-License-Identifier: Apache-2.0
"""The record that a parser returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sparse3d.photos.photo import Photo
from sparse3d.records.points import Points


@dataclass(frozen=True)
class ParsedScene:
    """What a parser returns: photos sorted by name, all with cameras or all without, world frame as in the source.

    points: the scene's own; whether they may be used without a leak from test photos is decided later, by
    points_from_all_photos. notes: sentences for the user (counts of dropped files and the like).
    """

    kind: str
    root: Path
    photos: tuple[Photo, ...]
    points: Points | None = None
    points_from_all_photos: bool = False
    notes: tuple[str, ...] = ()

# SPDX-License-Identifier: Apache-2.0
"""When floaters are removed during training. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from sparse3d.errors import UsageError
from sparse3d.judge.floater_config import FloaterConfig


@dataclass(frozen=True)
class RemovalConfig(FloaterConfig):
    """Removal of floaters during training: when, and which splats are floaters."""

    at: tuple[float, ...] = ()
    """Fractions of the run after which floaters are removed, as 0.4 0.7 1.0 (none: never)."""
    outside_at: tuple[float, ...] = (0.33, 0.67, 1.0)
    """Fractions of the run after which splats outside the visual hull of an object's masks are removed, where photos
    are few (none: never)."""
    air_at: tuple[float, ...] = ()
    """Fractions of the run after which splats close to where photos were taken are removed (none: never)."""
    photos: int = 12
    """How many of the training photos are asked at most, at even distances."""
    levels: int = 12
    """Depths at which each photo is cut; more find floaters closer to surfaces."""
    rounds: int = 2
    """Rounds of votes at most: a floater may hide another one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("at", "outside_at", "air_at"):
            for moment in getattr(self, name):
                if not 0.0 < moment <= 1.0:
                    raise UsageError(
                        f"floaters.{name} has {moment:g}; it is a moment of the run, give more than 0, 1 at most"
                    )
        if self.photos < 1:
            raise UsageError(f"floaters.photos is {self.photos}; give 1 or more")

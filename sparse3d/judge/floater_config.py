# SPDX-License-Identifier: Apache-2.0
"""The settings of floater removal. The text under each field is its help on the command line. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from sparse3d.errors import UsageError


@dataclass(frozen=True)
class FloaterConfig:
    """Which splats are floaters. Raises UsageError for values that cannot be meant."""

    votes: int = 1
    """Photos that must show less error over a splat's footprint when everything down to it is cut away (0: off). What
    all photos together lose by it is never removed."""
    levels: int = 24
    """Depths at which each photo is cut; more find floaters closer to surfaces."""
    gain: float = 0.2
    """Share of the error over the footprint that a cut must take away before a photo votes."""
    rounds: int = 6
    """Rounds of votes at most: a floater may hide another one."""
    dense_votes: int = 1
    """Photos whose dense depth, where it is known, must lie clearly behind a splat while no photo's lies at it
    (0: off)."""
    stray: float = 0.8
    """Lone splats with their centre in no photo, in front of a camera and nearer than this times the nearest that its
    photo shows (0: off)."""
    isolated: float = 4.0
    """Splats that no photo really shows and whose mean distance to their neighbours is so many robust standard
    deviations above the median, in logarithms (0: off)."""
    min_opacity: float = 0.005
    """Splats fainter than this (0: off)."""
    min_weight: float = 0.0
    """Splats that are seen, but in no pixel of any photo with this weight (0: off)."""
    harmful: bool = True
    """Splats without which all photos together have less error."""
    max_share: float = 0.3
    """Share of all splats beyond which nothing is removed, unless that is forced."""

    def __post_init__(self) -> None:
        for name in ("votes", "dense_votes", "stray", "isolated", "min_opacity", "min_weight"):
            if getattr(self, name) < 0:
                raise UsageError(f"floaters.{name} is {getattr(self, name):g}; give 0 (off) or more")
        for name in ("levels", "rounds"):
            if getattr(self, name) < 1:
                raise UsageError(f"floaters.{name} is {getattr(self, name)}; give 1 or more")
        for name in ("gain", "max_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"floaters.{name} is {getattr(self, name):g}; it is a share, give 0 to 1")

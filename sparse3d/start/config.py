# SPDX-License-Identifier: Apache-2.0
"""The settings of what training starts from. The text under each field is its help on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sparse3d.depth.priors.config import PriorConfig
from sparse3d.errors import UsageError

# With at most this many training photos a scene is underdetermined.
FEW_PHOTOS = 12


@dataclass(frozen=True)
class StartConfig(PriorConfig):
    """Points, depth and guesses that training starts from. Raises UsageError for values that cannot be meant."""

    dense: Literal["auto", "on", "off"] = "auto"
    """Start from dense depth of the training photos: auto does where they are 12 or fewer and no points are given."""
    dense_spacing: float = 2.0
    """Pixels between the points of dense depth."""
    dense_points: int = 80_000
    """Points of dense depth at most, about: where there would be more, they stand farther apart."""
    surround: float = 0.4
    """Where dense depth is used, guess what lies around the photos, out to this share of their longer side (0: no)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1.0 <= self.dense_spacing <= 64.0:
            raise UsageError(f"--dense-spacing {self.dense_spacing:g}: must be 1 to 64 pixels")
        if self.dense_points < 100:
            raise UsageError(f"--dense-points {self.dense_points}: must be 100 or more")
        if not 0.0 <= self.surround <= 2.0:
            raise UsageError(f"--surround {self.surround:g}: is a share of the photos' size, give 0 to 2")

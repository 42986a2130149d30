# SPDX-License-Identifier: Apache-2.0
"""The weights of the training terms. No torch here: the command line builds its help from this file.

Every weight is 0 by default, and at 0 the term is off: it costs nothing and changes no bit of the result. Moments are
fractions of the run's steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparse3d.errors import UsageError


@dataclass(frozen=True)
class TermsConfig:
    """Training terms for few photos (0: off)."""

    dropout: float = 0.0
    """Share of splats left out of a step at the end of the run, rising from 0; the others show more opacity
    (DropGaussian, Park et al. 2025)."""
    opacity_decay: float = 0.0
    """Every opacity is multiplied by exp(-this) over the whole run, at most 1 % after each step, so that only what
    the photos ask for stays (Binocular3DGS, Han et al. 2024)."""
    opacity_decay_start: float = 0.05
    """Opacities do not decay before this fraction of the run."""
    depth: float = 0.0
    """Weight of the relative error of rendered depth, where a photo has a metric depth map (MVPGS, Xu et al. 2024)."""
    depth_pearson: float = 0.0
    """Weight of 1 - correlation of inverse depths, for depth maps without a known scale (FSGS, Zhu et al. 2024)."""
    normal: float = 0.0
    """Weight of 1 - cosine between the normals of the rendered depth and those of the depth map (2DGS, Huang et al.
    2024)."""
    depth_final: float = 0.1
    """Share of the weights of depth, depth_pearson and normal that is left at the end; the decay is exponential."""
    outside: float = 0.0
    """Weight of mean (alpha - the photo's)^2, where photos have alpha, and of alpha^2 outside of masks that cut out an
    object (CoR-GS, Zhang et al. 2024)."""

    def __post_init__(self) -> None:
        for name in WEIGHTS:
            if not getattr(self, name) >= 0.0:
                raise UsageError(f"train.terms.{name} is {getattr(self, name)}; give 0 (off) or more")
        if not 0.0 <= self.dropout < 1.0:
            raise UsageError(f"train.terms.dropout is {self.dropout}; it is a share, give 0 to less than 1")
        if not 0.0 <= self.opacity_decay_start <= 1.0:
            raise UsageError(
                f"train.terms.opacity_decay_start is {self.opacity_decay_start}; it is a moment of the run, give 0 to 1"
            )
        if not 0.0 < self.depth_final <= 1.0:
            raise UsageError(f"train.terms.depth_final is {self.depth_final}; give a share above 0, 1 at most")


# The terms by the field that switches each on, with what people call it.
WEIGHTS = {
    "dropout": "opacity dropout",
    "opacity_decay": "opacity decay",
    "depth": "depth maps",
    "depth_pearson": "relative depth maps",
    "normal": "normals of depth maps",
    "outside": "nothing outside object masks",
}

# Terms that earlier versions had, and their settings. A run in which they were off can go on and be measured again.
_GONE = (
    "anchor_dropout", "sh_dropout", "virtual", "binocular", "smooth", "near_opacity", "ray_variance", "rank",
    "max_axis_ratio", "min_scale", "feature_smooth", "sharpness",
)  # fmt: skip
_GONE_WITH_THEM = (
    "anchor_neighbours", "virtual_every", "virtual_start", "virtual_stop", "binocular_every", "binocular_start",
    "binocular_shift", "near_fraction", "sharpness_start",
)  # fmt: skip


def split_gone_terms(stored: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Stored settings without those of terms that are no more, and the names of such terms that were on."""
    kept = {name: value for name, value in stored.items() if name not in _GONE and name not in _GONE_WITH_THEM}
    return kept, [name for name in _GONE if stored.get(name)]


def active_terms(cfg: TermsConfig) -> dict[str, float]:
    """The weights of the terms that are on, by their names; empty where none is."""
    return {name: getattr(cfg, name) for name in WEIGHTS if getattr(cfg, name) > 0.0}


def describe_terms(cfg: TermsConfig) -> str:
    """`opacity dropout 0.2, opacity decay 5`; empty where no term is on."""
    return ", ".join(f"{WEIGHTS[name]} {weight:g}" for name, weight in active_terms(cfg).items())

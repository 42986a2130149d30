# SPDX-License-Identifier: Apache-2.0
"""The weights of the training terms. No torch here: the command line builds its help from this file.

Every weight is 0 by default, and at 0 the term is off: it costs nothing and changes no bit of the result. Moments are
fractions of the run's steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparse3d.errors import UsageError


@dataclass(frozen=True)
class TermsConfig:
    """Training terms for few photos (0: off)."""

    dropout: float = 0.0
    """Share of splats left out of a step at the end of the run, rising from 0; the others show more opacity
    (DropGaussian, Park et al. 2025)."""
    anchor_dropout: float = 0.0
    """Share of anchors at the end of the run, rising from 0: each is left out of a step together with its neighbours
    (DropAnSH-GS, 2026; there 0.02)."""
    anchor_neighbours: int = 10
    """How many neighbours an anchor takes along."""
    sh_dropout: float = 0.0
    """Share of splats that show only the lower degrees of their view-dependent colour in a step (DropAnSH-GS, 2026;
    there 0.2)."""
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
    virtual: float = 0.0
    """Weight of steps on virtual photos between the cameras, where the scene has them (MVPGS, Xu et al. 2024)."""
    virtual_every: int = 3
    """Every so many steps one is on a virtual photo."""
    virtual_start: float = 0.0
    """No virtual photos before this fraction of the run."""
    virtual_stop: float = 1.0
    """No virtual photos after this fraction of the run."""
    binocular: float = 0.0
    """Weight of steps on a photo's camera moved sideways: what it sees must fit the photo by the rendered depth
    (Binocular3DGS, Han et al. 2024)."""
    binocular_every: int = 3
    """Every so many steps one is such a step."""
    binocular_start: float = 0.6
    """None of them before this fraction of the run: depth must be good enough to begin with."""
    binocular_shift: float = 0.4
    """How far the camera is moved at most, in distances to the nearest other training camera."""
    smooth: float = 0.0
    """Weight of edge-aware smoothness of the rendered depth (Binocular3DGS, Han et al. 2024)."""
    near_opacity: float = 0.0
    """The opacity of splats just before a photo's camera is multiplied by exp(-this) in each step on it (after
    FreeNeRF, Yang et al. 2023)."""
    near_fraction: float = 0.5
    """What counts as just before the camera: this fraction of the depth at which the initial splats begin."""
    ray_variance: float = 0.0
    """Weight of the variance of colours along the rays, falling to 0 at the end; steps take twice as long (Sparfels,
    Jena et al. 2025)."""
    outside: float = 0.0
    """Weight of mean alpha^2 outside of the masks, where masks cut out an object (CoR-GS, Zhang et al. 2024)."""
    rank: float = 0.0
    """Pull of needles towards discs by their effective rank (Hyung et al. 2024)."""
    max_axis_ratio: float = 0.0
    """A splat's longest axis is at most this times its middle one (after PhysGaussian, Xie et al. 2024)."""
    min_scale: float = 0.0
    """A splat's axes are at least this many pixels of the photo that shows it largest (Mip-Splatting, Yu et al. 2024;
    its filter's width is 0.45)."""
    feature_smooth: float = 0.0
    """Share by which colours and opacities move towards those of their neighbours every ten steps, falling to 0 at the
    end (after SplatFields, Mihajlovic et al. 2024)."""
    sharpness: float = 0.0
    """Near the end gradients are taken this many optimiser steps uphill, so that the result lies in a flat place (FASR,
    2025)."""
    sharpness_start: float = 0.875
    """Fraction of the run from which on they are; steps take twice as long."""

    def __post_init__(self) -> None:
        for name in WEIGHTS:
            if not getattr(self, name) >= 0.0:
                raise UsageError(f"train.terms.{name} is {getattr(self, name)}; give 0 (off) or more")
        for name in _SHARES:
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(f"train.terms.{name} is {getattr(self, name)}; it is a share, give 0 to less than 1")
        for name in _MOMENTS:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"train.terms.{name} is {getattr(self, name)}; it is a moment of the run, give 0 to 1")
        if 0.0 < self.max_axis_ratio < 1.0:
            raise UsageError(f"train.terms.max_axis_ratio is {self.max_axis_ratio}; give 0 (off), or 1 or more")
        if not 0.0 <= self.near_fraction <= 1.0:
            raise UsageError(f"train.terms.near_fraction is {self.near_fraction}; give a fraction, 0 to 1")
        if not self.binocular_shift >= 0.0:
            raise UsageError(f"train.terms.binocular_shift is {self.binocular_shift}; give 0 or more")
        for name in _PERIODS:
            if getattr(self, name) < 2:
                raise UsageError(
                    f"train.terms.{name} is {getattr(self, name)}; give 2 or more, other steps need photos"
                )
        if not 0.0 < self.depth_final <= 1.0:
            raise UsageError(f"train.terms.depth_final is {self.depth_final}; give a share above 0, 1 at most")
        if self.anchor_neighbours < 1:
            raise UsageError(f"train.terms.anchor_neighbours is {self.anchor_neighbours}; give 1 or more")


# The terms by the field that switches each on, with what people call it.
WEIGHTS = {
    "dropout": "opacity dropout",
    "anchor_dropout": "anchor dropout",
    "sh_dropout": "SH dropout",
    "opacity_decay": "opacity decay",
    "depth": "depth maps",
    "depth_pearson": "relative depth maps",
    "normal": "normals of depth maps",
    "virtual": "virtual photos",
    "binocular": "shifted views",
    "smooth": "depth smoothness",
    "near_opacity": "fading before cameras",
    "ray_variance": "colour variance along rays",
    "outside": "nothing outside masks",
    "rank": "effective rank",
    "feature_smooth": "neighbourhood smoothness",
    "max_axis_ratio": "axis ratio at most",
    "min_scale": "pixels of scale at least",
    "sharpness": "sharpness-aware end",
}
_SHARES = ("dropout", "anchor_dropout", "sh_dropout", "feature_smooth")
_MOMENTS = ("opacity_decay_start", "virtual_start", "virtual_stop", "binocular_start", "sharpness_start")
# At the first step of a run there must be a photo.
_PERIODS = ("virtual_every", "binocular_every")


def active_terms(cfg: TermsConfig) -> dict[str, float]:
    """The weights of the terms that are on, by their names; empty where none is."""
    return {name: getattr(cfg, name) for name in WEIGHTS if getattr(cfg, name) > 0.0}


def describe_terms(cfg: TermsConfig) -> str:
    """`opacity dropout 0.2, opacity decay 5`; empty where no term is on."""
    return ", ".join(f"{WEIGHTS[name]} {weight:g}" for name, weight in active_terms(cfg).items())

# SPDX-License-Identifier: Apache-2.0
"""The settings of training, one dataclass a stage. No torch here: the command line builds its help from this file.

All schedules are fractions of the run's steps, so that a run of 600 steps has the same shape as one of 30,000.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from sparse3d.config import differences, to_dict
from sparse3d.errors import UsageError
from sparse3d.train.splats.removal_config import RemovalConfig
from sparse3d.train.splats.terms.config import TermsConfig, split_gone_terms


@dataclass(frozen=True)
class RatesConfig:
    """Learning rates of Adam (3DGS, Kerbl et al. 2023, unless a comment says otherwise)."""

    means: float = 1.6e-4
    """Of positions at the start, times the scene's extent."""
    means_final: float = 1.6e-6
    """Of positions at the end, times the scene's extent; the decay is exponential."""
    sh0: float = 2.5e-3
    """Of the base colour."""
    shN: float = 1.25e-4
    """Of the view-dependent colour."""
    opacities: float = 0.05
    """Of logit opacities."""
    scales: float = 5e-3
    """Of log scales."""
    quats: float = 1e-3
    """Of rotations."""
    others_final: float = 1.0
    """Every rate but the positions' is multiplied by this at the end of the run, and decays to it exponentially."""


@dataclass(frozen=True)
class ScheduleConfig:
    """What grows during a run."""

    half_size_until: float = 0.3
    """Photos are trained on at half size up to this fraction of the run (0: never)."""
    quarter_size_until: float = 0.0
    """Photos are trained on at quarter size up to this fraction of the run (0: never)."""
    fine_from: float = 1.0
    """From this fraction of the run on, photos that were shrunk are trained on at up to twice that size: each step sees
    another window of one (1: never)."""
    min_side_px: int = 120
    """A photo is never reduced below this many pixels on its shorter side."""
    sh_degree_every: float = 0.1
    """The degree of view-dependent colour rises by one after each such fraction of the run (0: full from the start)."""


@dataclass(frozen=True)
class DensityConfig:
    """How splats are added, moved and removed."""

    policy: str = "adaptive"
    """adaptive (clone, split and prune by gradients), mcmc (relocate dead splats), or fixed (leave the number
    alone)."""
    cap: int = 80_000
    """The number of splats never exceeds this (unless the initial points do)."""
    start: float = 0.05
    """First change, as a fraction of the run."""
    stop: float = 0.6
    """Last addition, as a fraction of the run."""
    every: int = 100
    """Steps between changes; fewer in a short run, so that ten changes fit between start and stop."""
    grad_threshold: float = 2e-3
    """adaptive: mean absolute positional gradient (AbsGS), in units of the normalised image, above which a splat is
    densified."""
    clone_scale: float = 0.01
    """adaptive: splats larger than this times the scene's extent are split, smaller ones cloned."""
    growth: float = 0.2
    """adaptive: one change adds at most this fraction of the splats there are, those of the highest gradient first."""
    prune_opacity: float = 0.005
    """adaptive: splats with less opacity are removed. mcmc: they count as dead and are relocated."""
    prune_scale: float = 0.0
    """adaptive: splats larger than this times the scene's extent are removed (0: none). The extent is that of the
    cameras: few photos taken side by side of something far away need splats larger than it."""
    prune_radius: float = 0.0
    """adaptive: splats whose radius exceeded this times the image's longer side are removed (0: none)."""
    prune_weight: float = 0.0
    """adaptive: splats that were seen but whose largest blending weight stayed below this are removed (0: none)."""
    revised_opacity: bool = True
    """adaptive: a splat and its clone share opacity so that together they look like the one before."""
    opacity_control: Literal["none", "reset", "decay"] = "none"
    """adaptive: what keeps useless splats from staying: reset opacities to 0.01 at times, decay them a little at each
    change, or nothing."""
    opacity_reset_every: float = 0.1
    """adaptive: fraction of the run between two resets."""
    opacity_decay: float = 0.98
    """adaptive: factor on opacities at each change."""
    mcmc_growth: float = 0.05
    """mcmc: growth at each change until the cap."""
    mcmc_noise: float = 5e5
    """mcmc: strength of the noise on positions, times their learning rate (3DGS-MCMC, Kheradmand et al. 2024), in a
    scene of an extent of 4 units; in others it is scaled with them."""
    opacity_reg: float = 0.01
    """mcmc: weight of mean opacity in the loss."""
    scale_reg: float = 0.01
    """mcmc: weight of mean scale in the loss, in a scene of an extent of 4 units."""


@dataclass(frozen=True)
class ExposureConfig:
    """A gain and a bias per photo and colour channel, for photos taken with changing exposure."""

    enabled: bool = False
    """Learn them (held-out photos are compared without)."""
    rate: float = 1e-3
    """Learning rate."""
    pull: float = 1e-2
    """Weight that pulls gains to 1 and biases to 0, so that the scene does not drift as a whole."""


@dataclass(frozen=True)
class CameraOptConfig:
    """Small corrections of the training cameras' poses during training."""

    enabled: Literal["auto", "on", "off"] = "auto"
    """Refine poses (held-out cameras are left as they are). auto: where they come from structure from motion, not where
    they were given."""
    rotation_rate: float = 2e-4
    """Learning rate of rotations, radians."""
    translation_rate: float = 2e-4
    """Learning rate of positions, times the scene's extent."""
    start: float = 0.1
    """Poses are left alone before this fraction of the run, while the scene is still coarse."""


@dataclass(frozen=True)
class TrainConfig:
    """Training of one scene."""

    steps: int = 4000
    """Steps of the run; one photo each."""
    seed: int = 0
    """Seed of everything random in training."""
    backend: Literal["auto", "cpu", "reference"] = "auto"
    """Kernels: auto is cpu; reference is plain torch, slow and exact."""
    threads: int = 0
    """Threads of the kernels (0: one a core). The result does not depend on it."""
    sh_degree: Literal[0, 1, 2, 3] = 3
    """Highest degree of view-dependent colour."""
    antialias: bool = False
    """Compensate opacity for the low-pass filter (recorded in the file)."""
    ssim_weight: float = 0.2
    """Share of 1 - SSIM in the loss; the rest is L1."""
    initial_opacity: float = 0.1
    """Opacity of the initial splats."""
    background: Literal["auto", "black", "white", "random", "mean"] = "auto"
    """Colour behind the splats. auto: the one behind transparent photos, else black. random: another one in each
    step. mean: behind photos without transparency and masks their mean colour, else as auto."""
    masks: Literal["loss", "background", "off"] = "loss"
    """Photos with masks: leave the rest out of the loss, replace it by the background colour, or ignore the masks."""
    checkpoint_every: int = 1000
    """Steps between checkpoints (0: only at the end and when stopped)."""
    eval_every: int = 0
    """Steps between evaluations on the held-out photos (0: only at the end)."""
    report_every: int = 10
    """Steps between reports of progress."""
    snapshot_every: int = 100
    """Steps between copies of the splats for live readers."""
    check_every: int = 50
    """Steps between scans of all parameters for NaN and exploding values; the loss is looked at in every step."""
    rates: RatesConfig = field(default_factory=RatesConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    density: DensityConfig = field(default_factory=DensityConfig)
    exposure: ExposureConfig = field(default_factory=ExposureConfig)
    camera_opt: CameraOptConfig = field(default_factory=CameraOptConfig)
    terms: TermsConfig = field(default_factory=TermsConfig)
    floaters: RemovalConfig = field(default_factory=RemovalConfig)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"train.steps is {self.steps}; give 1 or more")
        if self.report_every < 1:
            raise UsageError(f"train.report_every is {self.report_every}; give 1 or more")
        if not 0.0 <= self.ssim_weight <= 1.0:
            raise UsageError(f"train.ssim_weight is {self.ssim_weight}; it is a share, give 0 to 1")
        if not 0.0 < self.initial_opacity < 1.0:
            raise UsageError(f"train.initial_opacity is {self.initial_opacity}; give a value between 0 and 1")
        if not 0.0 <= self.density.start <= self.density.stop <= 1.0:
            raise UsageError(
                f"train.density.start {self.density.start} and stop {self.density.stop} are fractions of the run: "
                "0 <= start <= stop <= 1"
            )


# Settings that change what is reported and when, but not one bit of the result: a resumed run may have others.
_FREE_ON_RESUME = ("threads", "checkpoint_every", "eval_every", "report_every", "snapshot_every", "check_every")


def binding_values(cfg: TrainConfig) -> dict[str, Any]:
    """The settings that the resulting bits depend on, as nested plain values."""
    return {key: value for key, value in to_dict(cfg).items() if key not in _FREE_ON_RESUME}


def check_resumable(stored: dict[str, Any], cfg: TrainConfig, where: str) -> None:
    """Raises UsageError naming the settings that differ between a stored run and the one asked for."""
    # Terms that are no more and were on stay in the comparison, and are named.
    kept, used = split_gone_terms(stored.get("terms", {}))
    terms = kept | {name: stored["terms"][name] for name in used}
    names = differences({**stored, "terms": terms}, binding_values(cfg))
    if names:
        raise UsageError(
            f"{where}: cannot resume with other settings than the run began with ({', '.join(names[:5])}"
            f"{' and others' if len(names) > 5 else ''}); leave them as they were, or start again with --overwrite"
        )


def reads_depth(cfg: TrainConfig) -> bool:
    """Whether a term, or the removal of floaters, does."""
    terms, floaters = cfg.terms, cfg.floaters
    removal = bool(floaters.at) and floaters.dense_votes > 0
    return removal or max(terms.depth, terms.depth_pearson, terms.normal) > 0.0

# SPDX-License-Identifier: Apache-2.0
"""Pruning in rounds with training between them, and training through the quantiser of a file format.

What is left after pruning has to stand in for what went: a few hundred steps on the run's photos bring back most of
what pruning cost (Mini-Splatting, Fang and Wang 2024; Speedy-Splat, Hanson et al. 2025). No splat is added here.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace

from sparse3d.compress.importance import Importance
from sparse3d.compress.merge import merge_to
from sparse3d.compress.prune import Criterion, prune, visible_rows
from sparse3d.compress.sh_limits import ShLimits
from sparse3d.errors import UsageError
from sparse3d.export.run_photos import RunPhotos
from sparse3d.export.tell import Tell, silent
from sparse3d.splats import Splats
from sparse3d.train.config import CameraOptConfig, DensityConfig, RatesConfig, ScheduleConfig, TrainConfig
from sparse3d.train.events import Stepped
from sparse3d.train.loop import train
from sparse3d.train.splats.removal_config import RemovalConfig
from sparse3d.train.splats.straight_through import Quantiser, StraightThrough
from sparse3d.train.splats.terms.config import TermsConfig
from sparse3d.train.splats.trainee import SplatsFrom

# Fewer steps than these do not come back from where the rates below lead first; theirs are lower.
_ENOUGH_STEPS = 300


@dataclass(frozen=True)
class Shown:
    """What each step of training shows in place of the splats.

    limits: of their harmonics. quantiser: what the file's format makes of them, asked once in `every` steps. None: as
    they are."""

    limits: ShLimits | None = None
    quantiser: Quantiser | None = None
    every: int = 1

    def of(self, splats: Splats) -> Splats:
        """The splats within the limits, through the quantiser."""
        splats = self.within_limits(splats)
        return splats if self.quantiser is None else self.quantiser(splats)

    def within_limits(self, splats: Splats) -> Splats:
        return splats if self.limits is None else self.limits.of(splats)

    def through(self) -> StraightThrough | None:
        """For `train`; None where the splats are shown as they are."""
        if self.quantiser is None and (self.limits is None or self.limits.unlimited):
            return None
        return StraightThrough(self.of, 1 if self.quantiser is None else self.every)


@dataclass(frozen=True)
class RefineRates:
    """Learning rates as multiples of the run's: of its last one for means, of its first ones for the rest.

    As high as this they bring back most in as many steps: fox, 10,200 of 42,164 splats, 2000 steps, photos of neither
    training nor testing between training ones: 31.9 dB with six rounds, where 100 for means, 3 for all others and three
    rounds bring 31.1. Higher shN look better there still, but not beyond the training photos: in views that go on where
    these end, 120 lost 0.3 dB to 10 or 30.
    """

    means: float = 400.0
    sh0: float = 6.0
    shN: float = 20.0
    opacities: float = 1.0
    scales: float = 18.0
    quats: float = 30.0

    def times(self, factor: float) -> RefineRates:
        return RefineRates(**{name: value * factor for name, value in asdict(self).items()})


@dataclass(frozen=True)
class RefineConfig:
    """steps: of the last round; round_steps: of each round before it. rounds: prunings, each by the same factor.

    merge: splats go by merging with their neighbours, which leaves no holes; else the least worth are left out.
    criterion: of worth then; the summed blending weight keeps most at once, for what a single splat changes
    (sensitivity) says nothing of many that stand in for each other. rates: at the beginning, as multiples of those that
    a run ends and begins with; all decay to `final` of that, or to `between` where more training follows.
    dropout: share of the run's weight of dropout.
    through_steps: through a quantiser, after the rest, at through_rates: with high ones values jump from step to step
    of the quantiser, and end worse than plainly rounded ones. threads: 0 for one a core.
    """

    steps: int = 1000
    round_steps: int = 300
    rounds: int = 6
    merge: bool = True
    criterion: Criterion = "contribution"
    rates: RefineRates = field(default_factory=RefineRates)
    final: float = 0.05
    between: float = 0.3
    dropout: float = 0.5
    through_steps: int = 300
    through_rates: RefineRates = field(default_factory=lambda: RefineRates(7.0, 0.2, 2.0, 0.2, 0.2, 0.2))
    threads: int = 0
    seed: int = 0

    def of_steps(self, steps: int) -> RefineConfig:
        """With so many in the last round, and as many more or fewer in all others."""
        share = steps / self.steps
        rounds, through = round(self.round_steps * share), round(self.through_steps * share)
        return replace(self, steps=steps, round_steps=rounds, through_steps=through)

    def unfinished(self) -> RefineConfig:
        """For a training that another follows: rates need not fall so far."""
        return replace(self, final=self.between)

    def __post_init__(self) -> None:
        if min(self.steps, self.round_steps, self.through_steps) < 0 or self.rounds < 1:
            raise UsageError(
                f"refining: {self.steps} steps, {self.round_steps} a round, {self.through_steps} through the quantiser "
                f"and {self.rounds} rounds; give 0 or more steps and 1 or more rounds"
            )


def prune_in_rounds(
    photos: RunPhotos, splats: Splats, count: int, cfg: RefineConfig | None = None, *, progress: Tell | None = None
) -> Splats:
    """At most `count` splats made of `splats`, with training on the run's photos between the rounds of pruning, not
    after the last (`recover`).

    The number falls by the same factor in each of cfg.rounds rounds; what splats are worth is measured anew before each
    of them. Where there are `count` or fewer, nothing is done. The same bits for any number of threads.
    """
    cfg = cfg or RefineConfig()
    tell = progress or silent
    for number, keep in enumerate(stages(splats.num_splats, count, cfg.rounds)):
        tell(f"pruning to {keep}", 0.0)
        found = photos.importance(splats, seed=cfg.seed + number, progress=lambda f, k=keep: tell(f"pruning to {k}", f))
        splats = reduce_to(splats, found, keep, cfg)
        if splats.num_splats == 0:
            raise UsageError(f"pruning to {keep} leaves no splat that any photo shows; give a higher number")
        if keep > count:
            splats = recover(
                photos, splats, cfg.round_steps, cfg.unfinished(), seed=cfg.seed + number, progress=progress
            )
    return splats


def recover_through(
    photos: RunPhotos,
    splats: Splats,
    shown: Shown,
    cfg: RefineConfig | None = None,
    *,
    progress: Tell | None = None,
) -> Splats:
    """`splats` trained cfg.through_steps more through the quantiser of `shown`. The result is still unquantised, as the
    format's writer wants it."""
    cfg = cfg or RefineConfig()
    gentle = replace(cfg, rates=cfg.through_rates)
    return recover(photos, splats, cfg.through_steps, gentle, shown=shown, seed=cfg.seed + 200, progress=progress)


def reduce_to(splats: Splats, found: Importance, count: int, cfg: RefineConfig) -> Splats:
    """At most `count` splats, without training: those that no view shows go first, then cfg.merge says how."""
    if not cfg.merge or count < 1:
        return prune(splats, found, count, cfg.criterion)
    visible = visible_rows(found)
    return merge_to(splats.select(visible), count, found.weight[visible].double().numpy())


def stages(number: int, count: int, rounds: int) -> list[int]:
    """How many splats each round leaves, from `number` down to `count` by one factor; empty where nothing is to go."""
    if count >= number:
        return []
    return [round(number * (count / number) ** ((i + 1) / rounds)) for i in range(rounds)] if count > 0 else [0]


def recover(
    photos: RunPhotos,
    splats: Splats,
    steps: int,
    cfg: RefineConfig | None = None,
    *,
    shown: Shown | None = None,
    seed: int = 0,
    progress: Tell | None = None,
) -> Splats:
    """`splats` after `steps` steps of training on the run's photos: as many, in the same order. shown: what each step
    shows of them; the result keeps its limits."""
    if steps == 0 or splats.num_splats == 0:
        return splats
    shown = shown or Shown()
    settings = refine_settings(photos.train, splats, steps, cfg or RefineConfig(), seed)
    # Held-out photos are no business of training, also not of its last evaluation.
    scene = replace(photos.scene, test=())
    loop = train(scene, SplatsFrom(splats, through=shown.through()), settings, learned=photos.parts)
    while True:
        try:
            event = next(loop)
        except StopIteration as end:
            return shown.within_limits(end.value)
        if isinstance(event, Stepped) and progress is not None:
            progress(f"refining {event.count} splats", event.step / event.steps)


def refine_settings(run: TrainConfig, splats: Splats, steps: int, cfg: RefineConfig, seed: int) -> TrainConfig:
    """The run's settings as they are at its end, for `steps` steps more on a fixed set of splats."""
    before, terms, by = run.rates, run.terms, cfg.rates.times(min(1.0, math.sqrt(steps / _ENOUGH_STEPS)))
    rates = RatesConfig(
        means=before.means_final * by.means,
        means_final=before.means_final * by.means * cfg.final,
        sh0=before.sh0 * by.sh0,
        shN=before.shN * by.shN,
        opacities=before.opacities * by.opacities,
        scales=before.scales * by.scales,
        quats=before.quats * by.quats,
        others_final=cfg.final,
    )
    share = steps / run.steps
    return replace(
        run,
        steps=steps,
        seed=run.seed + 1 + seed,
        threads=cfg.threads,
        antialias=splats.antialias,
        checkpoint_every=0,
        eval_every=0,
        snapshot_every=0,
        rates=rates,
        schedule=ScheduleConfig(half_size_until=0.0, sh_degree_every=0.0),
        # Nothing may add or remove splats: the limits of harmonics and the quantiser go by their rows.
        density=DensityConfig(policy="fixed"),
        floaters=RemovalConfig(at=(), outside_at=()),
        # Poses are taken as the run left them.
        camera_opt=CameraOptConfig(enabled="off"),
        terms=TermsConfig(
            dropout=terms.dropout * cfg.dropout,
            # As much of it as so many steps of the run would have had.
            opacity_decay=terms.opacity_decay * share,
            opacity_decay_start=0.0,
            outside=terms.outside,
        ),
    )

# SPDX-License-Identifier: Apache-2.0
"""Pruning in rounds with training between them, and training through the quantiser of a file format.

What is left after pruning has to stand in for what went: a few hundred steps on the run's photos bring back most of
what pruning cost (Mini-Splatting, Fang and Wang 2024; Speedy-Splat, Hanson et al. 2025). No splat is added here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from sparse3d.compress.importance import Importance
from sparse3d.compress.merge import merge_to
from sparse3d.compress.prune import Criterion, prune, visible_rows
from sparse3d.compress.sh_cut import only_kept
from sparse3d.errors import UsageError
from sparse3d.export.run_photos import RunPhotos
from sparse3d.splats import Splats
from sparse3d.train.config import CameraOptConfig, DensityConfig, RatesConfig, ScheduleConfig, TrainConfig
from sparse3d.train.events import Stepped
from sparse3d.train.straight_through import Quantiser, StraightThrough
from sparse3d.train.terms.config import TermsConfig
from sparse3d.train.trainer import train

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class RefineConfig:
    """steps: of the last round; round_steps: of each round before it. rounds: prunings, each by the same factor.

    merge: splats go by merging with their neighbours, which leaves no holes; else the least worth are left out.
    criterion: of worth then; the summed blending weight keeps most at once, for what a single splat changes
    (sensitivity) says nothing of many that stand in for each other. means, others: the rates at the beginning, as
    multiples of those that a run ends and begins with; all decay to `final` of that. So high they bring back more in as
    many steps: 14,000 of 42,302 splats, 400 steps, three training photos: 34.0 dB, where 30 and 3 bring 33.8, 10 and 1
    bring 33.0. dropout: share of the run's weight of dropout terms.
    through_steps: through a quantiser, after the rest, with the rates times through_rate: at high rates values jump
    from step to step of the quantiser, and end worse than plainly rounded ones. threads: 0 for one a core.
    """

    steps: int = 1000
    round_steps: int = 300
    rounds: int = 3
    merge: bool = True
    criterion: Criterion = "contribution"
    means: float = 100.0
    others: float = 3.0
    final: float = 0.1
    dropout: float = 0.5
    through_steps: int = 300
    through_rate: float = 0.07
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.round_steps, self.through_steps) < 0 or self.rounds < 1:
            raise UsageError(
                f"refining: {self.steps} steps, {self.round_steps} a round, {self.through_steps} through the quantiser "
                f"and {self.rounds} rounds; give 0 or more steps and 1 or more rounds"
            )


def prune_in_rounds(
    photos: RunPhotos, splats: Splats, count: int, cfg: RefineConfig | None = None, *, progress: Progress | None = None
) -> Splats:
    """At most `count` splats made of `splats`, with training on the run's photos between the rounds of pruning, not
    after the last (`recover`).

    The number falls by the same factor in each of cfg.rounds rounds; what splats are worth is measured anew before each
    of them. Where there are `count` or fewer, nothing is done. The same bits for any number of threads.
    """
    cfg = cfg or RefineConfig()
    tell = progress or (lambda what, fraction: None)
    for number, keep in enumerate(stages(splats.num_splats, count, cfg.rounds)):
        tell(f"pruning to {keep}", 0.0)
        found = photos.importance(splats, seed=cfg.seed + number, progress=lambda f, k=keep: tell(f"pruning to {k}", f))
        splats = reduce_to(splats, found, keep, cfg)
        if splats.num_splats == 0:
            raise UsageError(f"pruning to {keep} leaves no splat that any photo shows; give a higher number")
        if keep > count:
            splats = recover(photos, splats, cfg.round_steps, cfg, seed=cfg.seed + number, progress=progress)
    return splats


def recover_through(
    photos: RunPhotos,
    splats: Splats,
    quantiser: Quantiser,
    cfg: RefineConfig | None = None,
    *,
    kept: Tensor | None = None,
    every: int = 1,
    progress: Progress | None = None,
) -> Splats:
    """`splats` trained cfg.through_steps more through `quantiser`, what the file's format makes of splats, asked once
    in `every` steps. The result is still unquantised, as the format's writer wants it. kept: as in `recover`."""
    cfg = cfg or RefineConfig()
    gentle = replace(cfg, means=cfg.means * cfg.through_rate, others=cfg.others * cfg.through_rate)
    return recover(
        photos, splats, cfg.through_steps, gentle, kept=kept, quantiser=quantiser, quantise_every=every,
        seed=cfg.seed + 200, progress=progress,
    )  # fmt: skip


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
    kept: Tensor | None = None,
    quantiser: Quantiser | None = None,
    quantise_every: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Splats:
    """`splats` trained `steps` steps on the run's photos, as many and in the same order.
    kept [N,K] bool: the harmonics that may be other than 0, all by default. With `quantiser`, each step shows what it
    makes of them (`train.straight_through`)."""
    if steps == 0 or splats.num_splats == 0:
        return splats
    settings = refine_settings(photos.train, splats, steps, cfg or RefineConfig(), seed)
    # Held-out photos are no business of training, also not of its last evaluation.
    scene = replace(photos.scene, test=())
    through = None
    if quantiser is not None or kept is not None:
        through = StraightThrough(_shown(kept, quantiser), 1 if quantiser is None else quantise_every)
    loop = train(scene, splats, settings, None, through=through, parts=photos.parts)
    while True:
        try:
            event = next(loop)
        except StopIteration as end:
            return only_kept(end.value, kept)
        if isinstance(event, Stepped) and progress is not None:
            progress(f"refining {event.num_splats} splats", event.step / event.steps)


def _shown(kept: Tensor | None, quantiser: Quantiser | None) -> Quantiser:
    """What a step shows: only the harmonics that are kept, through the quantiser where there is one."""
    return lambda splats: only_kept(splats, kept) if quantiser is None else quantiser(only_kept(splats, kept))


def refine_settings(run: TrainConfig, splats: Splats, steps: int, cfg: RefineConfig, seed: int) -> TrainConfig:
    """The run's settings as they are at its end, for `steps` steps more on a fixed set of splats."""
    before, terms = run.rates, run.terms
    rates = RatesConfig(
        means=before.means_final * cfg.means,
        means_final=before.means_final * cfg.means * cfg.final,
        sh0=before.sh0 * cfg.others,
        shN=before.shN * cfg.others,
        opacities=before.opacities * cfg.others,
        scales=before.scales * cfg.others,
        quats=before.quats * cfg.others,
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
        density=DensityConfig(policy="fixed"),
        # Poses are taken as the run left them.
        camera_opt=CameraOptConfig(enabled="off"),
        terms=TermsConfig(
            dropout=terms.dropout * cfg.dropout,
            anchor_dropout=terms.anchor_dropout * cfg.dropout,
            anchor_neighbours=terms.anchor_neighbours,
            sh_dropout=terms.sh_dropout * cfg.dropout,
            # As much of it as so many steps of the run would have had.
            opacity_decay=terms.opacity_decay * share,
            opacity_decay_start=0.0,
            outside=terms.outside,
            rank=terms.rank,
            max_axis_ratio=terms.max_axis_ratio,
            min_scale=terms.min_scale,
        ),
    )

# SPDX-License-Identifier: Apache-2.0
"""Fewer and plainer splats, by a recipe, trained to stand in for the rest where there are photos.

Reductions go in the order of the damage they do: what no view shows, then coefficients of harmonics that change little,
then splats, merged with their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.compress.merge import merge_to
from sparse3d.compress.prune import visible_rows
from sparse3d.compress.sh_cut import sh_effect
from sparse3d.compress.sh_limits import ShLimits
from sparse3d.compress.sh_shared import share_harmonics
from sparse3d.export.coder import Coder
from sparse3d.export.recipes import Recipe, cut, sets_of_harmonics
from sparse3d.export.refine import RefineConfig, Shown, prune_in_rounds, recover, recover_through
from sparse3d.export.run_photos import RunPhotos
from sparse3d.export.source import Source, spread
from sparse3d.export.targets import Target
from sparse3d.export.tell import Tell
from sparse3d.splats import Splats

# Views that the effect of harmonics is measured in.
_EFFECT_VIEWS = 16
# Training begins where fewer than this share of the splats that a view shows are left.
_NEARLY_ALL = 0.98
# A slow quantiser takes longer than a step of training, the more splats, the longer: it is asked once in as many steps
# as there are thousands.
_SPLATS_A_STEP, _LEAST_OFTEN = 1000, 50


@dataclass(frozen=True)
class Reduced:
    """Splats with the harmonics of a recipe; limits: what further training may not undo of that; steps: of training
    that they had."""

    splats: Splats
    limits: ShLimits
    steps: int

    def select(self, rows: Tensor) -> Reduced:
        """Of those splats alone."""
        return Reduced(self.splats.select(rows), self.limits.select(rows), self.steps)


class Reducer:
    """Makes splats of one source for one output."""

    def __init__(self, source: Source, coder: Coder, target: Target, tell: Tell) -> None:
        self._source, self._coder, self._target, self._tell = source, coder, target, tell
        self._by_degree: dict[int, Splats] = {}

    @cached_property
    def visible(self) -> tuple[Splats, Tensor]:
        """The splats that a view shows (all where none does), and their summed blending weights."""
        found = self._source.weights(self._source.splats, lambda f: self._tell("measuring the splats", f))
        rows = visible_rows(found)
        if not len(rows):
            rows = torch.arange(self._source.splats.num_splats)
        return self._source.splats.select(rows), found.weight[rows]

    @property
    def most(self) -> int:
        """The number of splats that a view shows, as far as the target allows."""
        return self._target.capped(self.visible[0].num_splats)

    def merged(self, count: int, degree: int | None = None) -> Splats:
        """At most `count` of the visible splats, merged; of their own degree of harmonics or of a lower one."""
        splats = self.visible[0] if degree is None else self._of_degree(degree)
        if count >= splats.num_splats:
            return splats
        self._tell(f"merging to {count:,} splats", None)
        return merge_to(splats, count, self.visible[1].double().numpy())

    def cut(self, splats: Splats, recipe: Recipe) -> tuple[Splats, ShLimits]:
        """The splats with the recipe's harmonics, by what the views see of them; and which may be other than 0."""
        if splats.sh_degree == 0 or (recipe.share == 1.0 and recipe.degree == splats.sh_degree):
            return cut(splats, None, recipe)
        effect = sh_effect(splats, self._views, seed=self._target.seed, backend=self._source.backend)
        return cut(splats, effect, recipe)

    def made(self, recipe: Recipe, count: int, steps: int | None = None) -> Reduced:
        """`count` splats with the recipe's harmonics, then trained where it may be: at most `steps` at once, or (None)
        all that the target asks for, in rounds."""
        photos = self._source.photos
        if photos is None or not self._trains(count):
            splats, limits = self.cut(self.merged(count, recipe.degree), recipe)
            return Reduced(*self._shared(splats, limits, recipe), 0)
        cfg = self._config()
        if steps is not None:
            last = before = min(steps, cfg.steps)
            splats = self.merged(count, recipe.degree)
        else:
            # Rounds of pruning with training between them; the last training comes when the harmonics are cut.
            everything = self._of_degree(recipe.degree)
            splats = prune_in_rounds(photos, everything, count, cfg, progress=self._tell)
            last = cfg.steps
            before = last + (cfg.rounds - 1) * cfg.round_steps * (count < everything.num_splats)
        return Reduced(*self._trained(photos, *self.cut(splats, recipe), recipe, last), before)

    def through(self, made: Reduced, recipe: Recipe) -> Reduced:
        """Trained on through the format's rounding, where there was training before."""
        photos, cfg = self._source.photos, self._config()
        if photos is None or made.steps == 0 or not self._coder.format.limits.lossy:
            return made
        quantiser = self._coder.quantiser(self._coder.options(recipe.knobs, recipe.degree))
        every = 1
        if self._coder.format.losses.slow:
            every = max(1, min(_LEAST_OFTEN, made.splats.num_splats // _SPLATS_A_STEP))
        shown = Shown(made.limits, quantiser, every)
        splats = recover_through(photos, made.splats, shown, cfg, progress=self._tell)
        return Reduced(splats, made.limits, made.steps + cfg.through_steps)

    def _trains(self, count: int) -> bool:
        if self._source.photos is None or self._target.refine == "off":
            return False
        return self._target.refine == "on" or count < _NEARLY_ALL * self.visible[0].num_splats

    def _config(self) -> RefineConfig:
        cfg = RefineConfig(threads=self._target.threads, seed=self._target.seed)
        return cfg if self._target.steps is None else cfg.of_steps(self._target.steps)

    def _trained(
        self, photos: RunPhotos, splats: Splats, limits: ShLimits, recipe: Recipe, steps: int
    ) -> tuple[Splats, ShLimits]:
        """The splats trained `steps` steps, within their limits; on the way harmonics are shared where the recipe has a
        palette."""
        cfg = self._config()
        if sets_of_harmonics(self._coder.format, recipe) is not None:
            # Which splats are alike shows after some training; sharing then takes the rest of it to make up for.
            half = steps // 2
            splats = recover(
                photos, splats, half, cfg.unfinished(), shown=Shown(limits), seed=cfg.seed + 50, progress=self._tell
            )
            splats, limits = self._shared(splats, limits, recipe)
            steps -= half
        splats = recover(photos, splats, steps, cfg, shown=Shown(limits), seed=cfg.seed + 100, progress=self._tell)
        return splats, limits

    def _shared(self, splats: Splats, limits: ShLimits, recipe: Recipe) -> tuple[Splats, ShLimits]:
        """The splats with as many different sets of harmonics as the recipe's palette has, where that is few."""
        count = sets_of_harmonics(self._coder.format, recipe)
        if count is None:
            return splats, limits
        return share_harmonics(
            splats, limits.kept, self._views, count, seed=self._target.seed, backend=self._source.backend
        )

    def _of_degree(self, degree: int) -> Splats:
        """The visible splats with harmonics up to `degree`, base colours mended."""
        if degree not in self._by_degree:
            self._by_degree[degree] = self.cut(self.visible[0], Recipe(degree))[0]
        return self._by_degree[degree]

    @cached_property
    def _views(self) -> list[Camera]:
        cameras = self._source.cameras
        return [cameras[i] for i in spread(range(len(cameras)), _EFFECT_VIEWS)]

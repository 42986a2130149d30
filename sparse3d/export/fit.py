# SPDX-License-Identifier: Apache-2.0
"""The best file of a size: how many splats, how much view-dependent colour, which knobs.

Sizes come from the real writer, in memory. Reductions go in the order of the damage they do: what no view shows, then
coefficients of harmonics that change little, then splats, merged with their neighbours; where photos are there, those
left are trained to stand in for the rest, at last through the format's own rounding. What to spend bytes on is chosen
by trying: PSNR on training photos, or to the source's pictures. Held-out photos are never looked at here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.compress.merge import merge_to
from sparse3d.compress.prune import keep_most, visible_rows
from sparse3d.compress.sh_cut import sh_effect
from sparse3d.compress.sh_limits import ShLimits
from sparse3d.compress.sh_shared import share_harmonics
from sparse3d.errors import UsageError
from sparse3d.export.coder import Coder
from sparse3d.export.judge import Judge
from sparse3d.export.recipes import (
    Recipe,
    coarser,
    cut,
    finer,
    finest,
    has_finer,
    recipes_for,
    sets_of_harmonics,
    used_degree,
)
from sparse3d.export.refine import RefineConfig, Shown, prune_in_rounds, recover, recover_through
from sparse3d.export.source import Source, spread
from sparse3d.export.targets import Target
from sparse3d.export.tell import Tell, silent
from sparse3d.formats.format import WriteOptions
from sparse3d.splats import Splats

# A file has at least this share of the bytes it may have.
LEAST_SHARE = 0.98
# Splats are reduced and trained for a little more than the bytes, and the least worth left out at the end: growing
# again would be worse.
_AIM_TRIAL, _AIM_TRAINED, _AIM_THROUGH = 1.0, 1.03, 1.006
_TRIAL_STEPS = 300
# Views that the effect of harmonics is measured in.
_EFFECT_VIEWS = 16
# A slow quantiser takes longer than a step of training, the more splats, the longer: it is asked once in as many steps
# as there are thousands.
_SPLATS_A_STEP, _LEAST_OFTEN = 1000, 50


@dataclass(frozen=True)
class Fitted:
    """splats: to be written with `opts`, of `size` bytes. recipe: in words. whole: nothing finer can be written.
    refined: steps of training."""

    splats: Splats
    opts: WriteOptions
    size: int
    recipe: str
    whole: bool = False
    refined: int = 0


@dataclass(frozen=True)
class _Trial:
    recipe: Recipe
    count: int
    psnr: float


class Fit:
    """Searches for one source and one output format."""

    def __init__(self, source: Source, coder: Coder, target: Target, tell: Tell | None = None) -> None:
        self._source, self._coder, self._target = source, coder, target
        self._tell: Tell = tell or silent
        self._by_degree: dict[int, Splats] = {}
        self._degree = min(used_degree(source.splats), coder.degree(source.splats))
        if target.refine == "on" and source.photos is None:
            raise UsageError(f"--refine on needs photos to train on, but {source.without}")

    def plain(self) -> Fitted:
        """Every splat with the format's usual settings, but at most the target's number of them."""
        recipe = Recipe(self._degree)
        cap = self._cap(self._source.splats.num_splats)
        if cap < self._source.splats.num_splats or self._target.refine == "on":
            splats, limits, steps = self._made(recipe, cap, None)
            splats, steps = self._through(splats, limits, recipe, steps)
            return self._fitted(splats, recipe, refined=steps)
        splats, _ = cut(self._source.splats, None, recipe)
        return self._fitted(splats, recipe, whole=True)

    def to_size(self, size: int) -> Fitted:
        """A file of at most `size` bytes, and at least 98 % of them unless the finest is smaller.

        Raises UsageError where no file is that small, naming the smallest.
        """
        full = self._finest(size)
        if full is not None:
            return full
        self._check_possible(size)
        trial = self._choose(size)
        made = None
        for _ in range(3):
            made = self._landed(trial, size)
            if made.size >= LEAST_SHARE * size or trial.count >= self._cap(self._visible[0].num_splats):
                break
            trial = replace(trial, count=max(trial.count + 1, int(trial.count * _AIM_TRAINED * size / made.size)))
        assert made is not None
        if made.size < LEAST_SHARE * size:
            made = self._filled(made, size)
        if made.size <= size:
            return made
        # One splat of the recipe is too large: without harmonics it is not.
        splats, _ = cut(made.splats, None, Recipe(0))
        return self._fitted(splats.select(self._rows_for(splats, Recipe(0), size)), Recipe(0))

    def finest_file(self) -> Fitted:
        """The most faithful file of all splats (of the target's number of them)."""
        recipe = finest(self._coder.format, self._degree)
        cap = self._cap(self._source.splats.num_splats)
        splats, _ = cut(
            self._source.splats if cap >= self._source.splats.num_splats else self._reduced(cap), None, recipe
        )
        return self._fitted(splats, recipe, whole=True)

    def _filled(self, made: Fitted, size: int) -> Fitted:
        """Where all that a view shows takes too few bytes: everything, as fine as can be, without the least of it."""
        recipe = finest(self._coder.format, self._degree)
        everything = self._source.splats
        if self._cap(everything.num_splats) < everything.num_splats:
            return made
        splats, _ = cut(everything, None, recipe)
        fuller = self._fitted(splats.select(self._rows_for(splats, recipe, size)), recipe)
        return fuller if made.size < fuller.size <= size else made

    # What is possible.

    def _check_possible(self, size: int) -> None:
        visible, weight = self._visible
        best = visible.select(keep_most(weight, 1))
        splats, _ = cut(best, None, Recipe(0))
        least = self._coder.size(splats, self._coder.options({}, 0))
        if size < least:
            raise UsageError(
                f"--max-size {size}: the smallest possible {self._coder.format.name} file has {least} bytes (one splat "
                "without view-dependent colour); give at least that"
            )

    def _finest(self, size: int) -> Fitted | None:
        """The finest file where it has at most `size` bytes."""
        self._tell("measuring the finest file", None)
        plain, _ = cut(self._source.splats, None, Recipe(0))
        cap = self._cap(plain.num_splats)
        # Without harmonics it is smaller, and much quicker to make.
        if cap == plain.num_splats and self._coder.size(plain, self._coder.options({}, 0)) > size:
            return None
        made = self.finest_file()
        return made if made.size <= size else None

    # What is known of the source.

    @cached_property
    def _visible(self) -> tuple[Splats, Tensor]:
        """The splats that a view shows, and their summed blending weights."""
        found = self._source.weights(self._source.splats, lambda f: self._tell("measuring the splats", f))
        rows = visible_rows(found)
        if not len(rows):
            rows = torch.arange(self._source.splats.num_splats)
        return self._source.splats.select(rows), found.weight[rows]

    def _of_degree(self, degree: int) -> Splats:
        """The visible splats with harmonics up to `degree`, base colours mended."""
        if degree not in self._by_degree:
            self._by_degree[degree] = self._cut(self._visible[0], Recipe(degree))[0]
        return self._by_degree[degree]

    @cached_property
    def _judge(self) -> Judge:
        return Judge(self._source)

    def _cap(self, count: int) -> int:
        return count if self._target.max_splats is None else min(count, self._target.max_splats)

    # Choosing.

    def _choose(self, size: int) -> _Trial:
        """The recipe whose file of this size has the best pictures, after a little training where there are photos."""
        visible, _ = self._visible
        most = self._cap(visible.num_splats)
        recipes = recipes_for(self._coder.format, self._source.splats, self._degree)
        plain, _ = cut(visible, None, Recipe(0))
        a_splat = self._coder.size(plain, self._coder.options({}, 0)) / visible.num_splats
        middle = max(1, min(most, int(0.7 * size / a_splat)))
        sample = self._reduced(middle)
        best: _Trial | None = None
        for number, recipe in enumerate(recipes):
            self._tell(f"trying {recipe}", number / len(recipes))
            bytes_each = self._size(sample, recipe) / middle
            count = max(1, min(most, int(_AIM_TRIAL * size / bytes_each)))
            if count == most and recipe is not recipes[-1] and self._is_short(recipe, size):
                # All of the splats, and still bytes to spare: for the next one.
                continue
            trial = self._tried(recipe, count, size)
            # The more a recipe spends on a splat, the fewer there are: one best between the two ends.
            if best is not None and trial.psnr < best.psnr:
                break
            best = trial
        assert best is not None
        if best.count < most:
            best = self._coarser(best, size)
        return best

    def _is_short(self, recipe: Recipe, size: int) -> bool:
        """All visible splats have too few bytes, however finely they are written."""
        most = self._cap(self._visible[0].num_splats)
        return self._size(self._reduced(most), finer(self._coder.format, recipe, 1.0)) < LEAST_SHARE * size

    def _coarser(self, best: _Trial, size: int) -> _Trial:
        """The trial with fewer bits a splat and more splats, where that is better."""
        most = self._cap(self._visible[0].num_splats)
        for recipe in coarser(self._coder.format, best.recipe, self._reduced(best.count)):
            self._tell(f"trying {recipe}", None)
            trial = self._tried(recipe, min(most, int(1.12 * best.count)), size)
            if trial.psnr < best.psnr:
                break
            best = trial
        return best

    def _tried(self, recipe: Recipe, count: int, size: int) -> _Trial:
        splats, _, _ = self._made(recipe, count, _TRIAL_STEPS)
        opts = self._coder.options(recipe.knobs, recipe.degree)
        found = self._coder.size(splats, opts)
        score = self._judge.psnr(self._coder.quantised(splats, opts))
        # Sizes are near enough to each other for a correction: 6 dB a factor of 10 in bytes, as most scenes have it.
        score += 6.0 * float(np.log10(size / found)) if count < self._cap(self._visible[0].num_splats) else 0.0
        return _Trial(recipe, max(1, int(count * size / found)), score)

    def _size(self, splats: Splats, recipe: Recipe) -> int:
        made, _ = self._cut(splats, recipe)
        return self._coder.size(made, self._coder.options(recipe.knobs, recipe.degree))

    # Making.

    def _trains(self, count: int) -> bool:
        if self._source.photos is None or self._target.refine == "off":
            return False
        return self._target.refine == "on" or count < 0.98 * self._visible[0].num_splats

    def _config(self) -> RefineConfig:
        cfg = RefineConfig(threads=self._target.threads, seed=self._target.seed)
        return cfg if self._target.steps is None else cfg.of_steps(self._target.steps)

    def _reduced(self, count: int, degree: int | None = None) -> Splats:
        """At most `count` of the visible splats, merged; of their own degree of harmonics or of a lower one."""
        splats = self._visible[0] if degree is None else self._of_degree(degree)
        if count >= splats.num_splats:
            return splats
        self._tell(f"merging to {count:,} splats", None)
        return merge_to(splats, count, self._visible[1].double().numpy())

    def _made(self, recipe: Recipe, count: int, steps: int | None) -> tuple[Splats, ShLimits, int]:
        """`count` splats with the recipe's harmonics, then trained (`steps`, None: all that the target asks for) where
        it may be; the limits of their harmonics; and the steps."""
        photos = self._source.photos
        if photos is None or not self._trains(count):
            return *self._shared(*self._cut(self._reduced(count, recipe.degree), recipe), recipe), 0
        cfg = self._config()
        if steps is not None:
            steps = before = min(steps, cfg.steps)
            splats = self._reduced(count, recipe.degree)
        else:
            # Rounds of pruning with training between them; the last training comes when the harmonics are cut.
            everything = self._of_degree(recipe.degree)
            splats = prune_in_rounds(photos, everything, count, cfg, progress=self._tell)
            steps = cfg.steps
            before = steps + (cfg.rounds - 1) * cfg.round_steps * (count < everything.num_splats)
        splats, limits = self._cut(splats, recipe)
        if sets_of_harmonics(self._coder.format, recipe) is not None:
            # Which splats are alike shows after some training; sharing then takes the rest of it to make up for.
            half = steps // 2
            splats = recover(
                photos, splats, half, cfg.unfinished(), shown=Shown(limits), seed=cfg.seed + 50, progress=self._tell
            )
            splats, limits = self._shared(splats, limits, recipe)
            steps -= half
        splats = recover(photos, splats, steps, cfg, shown=Shown(limits), seed=cfg.seed + 100, progress=self._tell)
        return splats, limits, before

    def _through(self, splats: Splats, limits: ShLimits, recipe: Recipe, steps: int) -> tuple[Splats, int]:
        """Trained on through the format's rounding, where `steps` of training have been before."""
        photos, cfg = self._source.photos, self._config()
        if photos is None or steps == 0 or not self._coder.format.limits.lossy:
            return splats, steps
        quantiser = self._coder.quantiser(self._coder.options(recipe.knobs, recipe.degree))
        every = 1
        if self._coder.format.losses.slow:
            every = max(1, min(_LEAST_OFTEN, splats.num_splats // _SPLATS_A_STEP))
        shown = Shown(limits, quantiser, every)
        splats = recover_through(photos, splats, shown, cfg, progress=self._tell)
        return splats, steps + cfg.through_steps

    def _cut(self, splats: Splats, recipe: Recipe) -> tuple[Splats, ShLimits]:
        if splats.sh_degree == 0 or (recipe.share == 1.0 and recipe.degree == splats.sh_degree):
            return cut(splats, None, recipe)
        effect = sh_effect(splats, self._views, seed=self._target.seed, backend=self._source.backend)
        return cut(splats, effect, recipe)

    def _shared(self, splats: Splats, limits: ShLimits, recipe: Recipe) -> tuple[Splats, ShLimits]:
        """The splats with as many different sets of harmonics as the recipe's palette has, where that is few."""
        count = sets_of_harmonics(self._coder.format, recipe)
        if count is None:
            return splats, limits
        return share_harmonics(
            splats, limits.kept, self._views, count, seed=self._target.seed, backend=self._source.backend
        )

    @cached_property
    def _views(self) -> list[Camera]:
        cameras = self._source.cameras
        return [cameras[i] for i in spread(range(len(cameras)), _EFFECT_VIEWS)]

    # Landing.

    def _landed(self, trial: _Trial, size: int) -> Fitted:
        """The chosen recipe made in full, of at most `size` bytes."""
        most = self._cap(self._visible[0].num_splats)
        aim = _AIM_TRAINED if trial.count < most else 1.0
        count = min(most, max(1, int(np.ceil(trial.count * aim))))
        splats, limits, steps = self._made(trial.recipe, count, None)
        if steps:
            rows = self._rows_for(splats, trial.recipe, int(_AIM_THROUGH * size))
            splats, steps = self._through(splats.select(rows), limits.select(rows), trial.recipe, steps)
        self._tell("fitting the size", None)
        found = self._coder.size(splats, self._coder.options(trial.recipe.knobs, trial.recipe.degree))
        recipe = trial.recipe
        if found > size:
            splats = splats.select(self._rows_for(splats, recipe, size))
        elif found < LEAST_SHARE * size and has_finer(self._coder.format, recipe):
            recipe = self._spent(splats, recipe, size)
        return self._fitted(splats, recipe, refined=steps)

    def _rows_for(self, splats: Splats, recipe: Recipe, size: int) -> Tensor:
        """Rows of the splats worth most whose file has at most `size` bytes, nearly as many as can be."""
        opts = self._coder.options(recipe.knobs, recipe.degree)
        count = splats.num_splats
        found = self._coder.size(splats, opts)
        if found <= size:
            return torch.arange(count)
        worth = self._source.weights(splats).weight
        fits, too_many = 0, count
        each = found / count
        guess, rows = int(0.996 * size / each), torch.zeros(0, dtype=torch.int64)
        tries = 0
        while too_many - fits > 1:
            # Steps of the mean size of a splat; halves where that does not end.
            guess = (fits + too_many) // 2 if tries >= 6 else min(max(guess, fits + 1), too_many - 1)
            tries += 1
            tried = keep_most(worth, guess)
            found = self._coder.size(splats.select(tried), opts)
            if found <= size:
                fits, rows = guess, tried
                if found >= 0.99 * size:
                    break
            else:
                too_many = guess
            guess += int((0.996 * size - found) / each)
        return rows if len(rows) else keep_most(worth, 1)

    def _spent(self, splats: Splats, recipe: Recipe, size: int) -> Recipe:
        """The recipe with its knobs as fine as `size` bytes allow."""
        chosen, low, high = self._coder.format, 0.0, 1.0
        best = recipe
        for number in range(9):
            middle = high if number == 0 else (low + high) / 2
            tried = finer(chosen, recipe, middle)
            found = self._coder.size(splats, self._coder.options(tried.knobs, tried.degree))
            if found <= size:
                best, low = tried, middle
                if middle == 1.0 or found >= 0.995 * size:
                    break
            else:
                high = middle
        return best

    def _fitted(self, splats: Splats, recipe: Recipe, *, whole: bool = False, refined: int = 0) -> Fitted:
        opts = self._coder.options(recipe.knobs, recipe.degree)
        return Fitted(splats, opts, self._coder.size(splats, opts), str(recipe), whole, refined)

# SPDX-License-Identifier: Apache-2.0
"""The recipe that a number of bytes is best spent on, by trying: PSNR on training photos, or to the source's pictures.

Held-out photos are never looked at here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparse3d.export.coder import Coder
from sparse3d.export.judge import Judge
from sparse3d.export.price import LEAST_SHARE, Prices
from sparse3d.export.recipes import Recipe, coarser, cut, finer, recipes_for
from sparse3d.export.reduce import Reducer
from sparse3d.export.source import Source
from sparse3d.export.tell import Tell
from sparse3d.splats import Splats

_TRIAL_STEPS = 300


@dataclass(frozen=True)
class Trial:
    """count: splats whose file has the size asked for, about. psnr: dB, as if it had exactly that size."""

    recipe: Recipe
    count: int
    psnr: float


class Chooser:
    """Tries recipes for one source and one output."""

    def __init__(self, source: Source, coder: Coder, reducer: Reducer, tell: Tell) -> None:
        self._source, self._coder, self._reducer, self._tell = source, coder, reducer, tell
        self._prices = Prices(source, coder)

    def choose(self, size: int, degree: int) -> Trial:
        """The recipe, of harmonics up to `degree`, whose file of this size has the best pictures, after a little
        training where there are photos."""
        visible, most = self._reducer.visible[0], self._reducer.most
        recipes = recipes_for(self._coder.format, self._source.splats, degree)
        plain, _ = cut(visible, None, Recipe(0))
        a_splat = self._prices.size(plain, Recipe(0)) / visible.num_splats
        middle = max(1, min(most, int(0.7 * size / a_splat)))
        sample = self._reducer.merged(middle)
        best: Trial | None = None
        for number, recipe in enumerate(recipes):
            self._tell(f"trying {recipe}", number / len(recipes))
            bytes_each = self._size(sample, recipe) / middle
            count = max(1, min(most, int(size / bytes_each)))
            if count == most and recipe is not recipes[-1] and self._is_short(recipe, size):
                # All of the splats, and still bytes to spare: for the next one.
                continue
            trial = self._tried(recipe, count, size)
            # The more a recipe spends on a splat, the fewer there are: one best between the two ends.
            if best is not None and trial.psnr < best.psnr:
                break
            best = trial
        assert best is not None
        return self._coarser(best, size) if best.count < most else best

    def _coarser(self, best: Trial, size: int) -> Trial:
        """The trial with fewer bits a splat and more splats, where that is better."""
        most = self._reducer.most
        for recipe in coarser(self._coder.format, best.recipe, self._reducer.merged(best.count)):
            self._tell(f"trying {recipe}", None)
            trial = self._tried(recipe, min(most, int(1.12 * best.count)), size)
            if trial.psnr < best.psnr:
                break
            best = trial
        return best

    def _tried(self, recipe: Recipe, count: int, size: int) -> Trial:
        splats = self._reducer.made(recipe, count, _TRIAL_STEPS).splats
        found = self._prices.size(splats, recipe)
        score = self._judge.psnr(self._coder.quantised(splats, self._prices.options(recipe)))
        # Sizes are near enough to each other for a correction: 6 dB a factor of 10 in bytes, as most scenes have it.
        score += 6.0 * float(np.log10(size / found)) if count < self._reducer.most else 0.0
        return Trial(recipe, max(1, int(count * size / found)), score)

    def _is_short(self, recipe: Recipe, size: int) -> bool:
        """All visible splats have too few bytes, however finely they are written."""
        everything = self._reducer.merged(self._reducer.most)
        return self._size(everything, finer(self._coder.format, recipe, 1.0)) < LEAST_SHARE * size

    def _size(self, splats: Splats, recipe: Recipe) -> int:
        """Bytes of a file of these splats with the recipe's harmonics."""
        return self._prices.size(self._reducer.cut(splats, recipe)[0], recipe)

    @cached_property
    def _judge(self) -> Judge:
        return Judge(self._source)

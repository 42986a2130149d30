# SPDX-License-Identifier: Apache-2.0
"""The best file of a size: how many splats, how much view-dependent colour, which knobs.

What bytes buy is known from the real writer (`price`), what to spend them on is tried (`choose`), and splats are made
fewer and trained for it (`reduce`); here the search begins, and lands on the size.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparse3d.compress.prune import keep_most
from sparse3d.errors import UsageError
from sparse3d.export.choose import Chooser, Trial
from sparse3d.export.coder import Coder
from sparse3d.export.price import LEAST_SHARE, Fitted, Prices
from sparse3d.export.recipes import Recipe, cut, finest, has_finer, used_degree
from sparse3d.export.reduce import Reducer
from sparse3d.export.source import Source
from sparse3d.export.targets import Target
from sparse3d.export.tell import Tell, silent

__all__ = ["LEAST_SHARE", "Fit", "Fitted"]

# Splats are reduced and trained for a little more than the bytes, and the least worth left out at the end: growing
# again would be worse.
_AIM_TRAINED, _AIM_THROUGH = 1.03, 1.006


class Fit:
    """Searches for one source and one output format. Raises UsageError where photos are needed and there are none."""

    def __init__(self, source: Source, coder: Coder, target: Target, tell: Tell | None = None) -> None:
        self._source, self._coder, self._target = source, coder, target
        self._tell: Tell = tell or silent
        self._degree = min(used_degree(source.splats), coder.degree(source.splats))
        if target.refine == "on" and source.photos is None:
            raise UsageError(f"--refine on needs photos to train on, but {source.without}")
        self._prices = Prices(source, coder)
        self._reducer = Reducer(source, coder, target, self._tell)
        self._chooser = Chooser(source, coder, self._reducer, self._tell)

    def plain(self) -> Fitted:
        """Every splat with the format's usual settings, but at most the target's number of them."""
        recipe, everything = Recipe(self._degree), self._source.splats
        cap = self._target.capped(everything.num_splats)
        if cap < everything.num_splats or self._target.refine == "on":
            made = self._reducer.through(self._reducer.made(recipe, cap), recipe)
            return self._prices.fitted(made.splats, recipe, refined=made.steps)
        splats, _ = cut(everything, None, recipe)
        return self._prices.fitted(splats, recipe, whole=True)

    def finest_file(self) -> Fitted:
        """The most faithful file of all splats (of the target's number of them)."""
        recipe, everything = finest(self._coder.format, self._degree), self._source.splats
        cap = self._target.capped(everything.num_splats)
        splats, _ = cut(everything if cap >= everything.num_splats else self._reducer.merged(cap), None, recipe)
        return self._prices.fitted(splats, recipe, whole=True)

    def to_size(self, size: int) -> Fitted:
        """A file of at most `size` bytes, and at least 98 % of them unless the finest is smaller.

        Raises UsageError where no file is that small, naming the smallest.
        """
        full = self._finest_within(size)
        if full is not None:
            return full
        self._check_possible(size)
        trial = self._chooser.choose(size, self._degree)
        made = None
        for _ in range(3):
            made = self._landed(trial, size)
            if made.size >= LEAST_SHARE * size or trial.count >= self._reducer.most:
                break
            trial = replace(trial, count=max(trial.count + 1, int(trial.count * _AIM_TRAINED * size / made.size)))
        assert made is not None
        if made.size < LEAST_SHARE * size:
            made = self._filled(made, size)
        if made.size <= size:
            return made
        # One splat of the recipe is too large: without harmonics it is not.
        splats, _ = cut(made.splats, None, Recipe(0))
        return self._prices.fitted(splats.select(self._prices.rows_for(splats, Recipe(0), size)), Recipe(0))

    def _finest_within(self, size: int) -> Fitted | None:
        """The finest file where it has at most `size` bytes."""
        self._tell("measuring the finest file", None)
        plain, _ = cut(self._source.splats, None, Recipe(0))
        cap = self._target.capped(plain.num_splats)
        # Without harmonics it is smaller, and much quicker to make.
        if cap == plain.num_splats and self._prices.size(plain, Recipe(0)) > size:
            return None
        made = self.finest_file()
        return made if made.size <= size else None

    def _check_possible(self, size: int) -> None:
        visible, weight = self._reducer.visible
        splats, _ = cut(visible.select(keep_most(weight, 1)), None, Recipe(0))
        least = self._prices.size(splats, Recipe(0))
        if size < least:
            raise UsageError(
                f"--max-size {size}: the smallest possible {self._coder.format.name} file has {least} bytes (one splat "
                "without view-dependent colour); give at least that"
            )

    def _landed(self, trial: Trial, size: int) -> Fitted:
        """The chosen recipe made in full, of at most `size` bytes."""
        recipe, most = trial.recipe, self._reducer.most
        aim = _AIM_TRAINED if trial.count < most else 1.0
        made = self._reducer.made(recipe, min(most, max(1, int(np.ceil(trial.count * aim)))))
        if made.steps:
            rows = self._prices.rows_for(made.splats, recipe, int(_AIM_THROUGH * size))
            made = self._reducer.through(made.select(rows), recipe)
        self._tell("fitting the size", None)
        splats = made.splats
        found = self._prices.size(splats, recipe)
        if found > size:
            splats = splats.select(self._prices.rows_for(splats, recipe, size))
        elif found < LEAST_SHARE * size and has_finer(self._coder.format, recipe):
            recipe = self._prices.finest_within(splats, recipe, size)
        return self._prices.fitted(splats, recipe, refined=made.steps)

    def _filled(self, made: Fitted, size: int) -> Fitted:
        """Where all that a view shows takes too few bytes: everything, as fine as can be, without the least of it."""
        recipe, everything = finest(self._coder.format, self._degree), self._source.splats
        if self._target.capped(everything.num_splats) < everything.num_splats:
            return made
        splats, _ = cut(everything, None, recipe)
        fuller = self._prices.fitted(splats.select(self._prices.rows_for(splats, recipe, size)), recipe)
        return fuller if made.size < fuller.size <= size else made

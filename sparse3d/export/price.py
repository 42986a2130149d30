# SPDX-License-Identifier: Apache-2.0
"""What a file of some splats costs in bytes, and what a number of bytes buys: by the real writer, in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparse3d.compress.prune import keep_most
from sparse3d.export.coder import Coder
from sparse3d.export.recipes import Recipe, finer
from sparse3d.export.source import Source
from sparse3d.formats.format import WriteOptions
from sparse3d.splats import Splats

# A file has at least this share of the bytes it may have.
LEAST_SHARE = 0.98


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


class Prices:
    """Of the files that one coder makes. Splats have the harmonics of their recipe already (`recipes.cut`)."""

    def __init__(self, source: Source, coder: Coder) -> None:
        self._source, self._coder = source, coder

    def options(self, recipe: Recipe) -> WriteOptions:
        """What the recipe says to the writer, beside the options given by hand."""
        return self._coder.options(recipe.knobs, recipe.degree)

    def size(self, splats: Splats, recipe: Recipe) -> int:
        """Bytes of the scene in the file."""
        return self._coder.size(splats, self.options(recipe))

    def fitted(self, splats: Splats, recipe: Recipe, *, whole: bool = False, refined: int = 0) -> Fitted:
        return Fitted(splats, self.options(recipe), self.size(splats, recipe), str(recipe), whole, refined)

    def rows_for(self, splats: Splats, recipe: Recipe, size: int) -> Tensor:
        """Rows of the splats worth most whose file has at most `size` bytes, nearly as many as can be; the best one
        alone where even its file is larger."""
        count, opts = splats.num_splats, self.options(recipe)
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

    def finest_within(self, splats: Splats, recipe: Recipe, size: int) -> Recipe:
        """The recipe with its knobs as fine as `size` bytes allow; as it is where they allow nothing finer."""
        low, high = 0.0, 1.0
        best = recipe
        for number in range(9):
            middle = high if number == 0 else (low + high) / 2
            tried = finer(self._coder.format, recipe, middle)
            found = self.size(splats, tried)
            if found <= size:
                best, low = tried, middle
                if middle == 1.0 or found >= 0.995 * size:
                    break
            else:
                high = middle
        return best

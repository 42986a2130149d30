# SPDX-License-Identifier: Apache-2.0
"""What a file's bytes may be spent on: many splats of plain colour, or fewer whose colour changes with the view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sparse3d.compress.sh_cut import ShEffect, cut_sh, kept_degrees, threshold_for, with_degrees
from sparse3d.compress.sh_limits import ShLimits
from sparse3d.formats.format import Format, WriteOptions, knob_number
from sparse3d.splats import Splats, num_sh_rest

# Choosing sets by what the views see takes time with their number; with more than these, the format's own palette is
# near enough.
_FEW_SETS = 1024


@dataclass(frozen=True)
class Recipe:
    """degree: of the file's harmonics. share 0..1: of all their coefficients that are kept, where they show most.
    knobs: of the format. coarse: places, rotations and colours are rounded more than usual."""

    degree: int
    share: float = 1.0
    knobs: Mapping[str, float] = field(default_factory=dict)
    coarse: bool = False

    def __str__(self) -> str:
        text = f"SH degree {self.degree}"
        if self.degree and self.share < 1.0:
            text += f", {self.share:.0%} of it kept"
        return text + (", coarser steps" if self.coarse else "")


def recipes_for(chosen: Format, splats: Splats, degree: int) -> list[Recipe]:
    """Ways to spend bytes in this format on splats like these, of harmonics up to `degree`: cheapest a splat first."""
    choices = chosen.losses.harmonics(splats) if degree else ()
    if not choices:
        return [Recipe(d) for d in range(degree + 1)]
    return [Recipe(0), *(Recipe(degree, choice.share, choice.knobs) for choice in choices)]


def finest(chosen: Format, degree: int) -> Recipe:
    """The most that the format holds of these splats."""
    return Recipe(degree, 1.0, chosen.losses.finest)


def coarser(chosen: Format, recipe: Recipe, splats: Splats) -> list[Recipe]:
    """`recipe` with fewer bits for places, rotations and colours of these splats, least damage first; none where the
    format has no such knobs."""
    sets = chosen.losses.coarser(splats)
    return [replace(recipe, knobs={**recipe.knobs, **knobs}, coarse=True) for knobs in sets]


def finer(chosen: Format, recipe: Recipe, t: float) -> Recipe:
    """`recipe` with its knobs so far (0..1) on the way to the finest; itself where the format has none that matter."""
    losses, knobs = chosen.losses, dict(recipe.knobs)
    by_name = {knob.name: knob for knob in chosen.knobs}
    ends = {name: end for name, end in losses.whole.items() if name in knobs}
    if recipe.degree:
        ends |= losses.finest
    for name, end in ends.items():
        begin = knobs[name] if name in knobs else knob_number(chosen, WriteOptions(), name)
        value = begin + t * (end - begin)
        knobs[name] = float(round(value)) if by_name[name].integer else round(value, 4)
    if recipe.degree and losses.palette in knobs:
        count = knobs[losses.palette]
        knobs[losses.palette] = float(round(count * (by_name[losses.palette].high / count) ** t))
    return replace(recipe, knobs=knobs)


def sets_of_harmonics(chosen: Format, recipe: Recipe) -> int | None:
    """How many different ones the splats may have, where that is few enough to choose them by what the views see."""
    palette = chosen.losses.palette
    count = 0 if palette is None or not recipe.degree else int(recipe.knobs.get(palette, 0))
    return count if 2 <= count <= _FEW_SETS else None


def has_finer(chosen: Format, recipe: Recipe) -> bool:
    """Whether `finer` has a knob to turn."""
    return finer(chosen, recipe, 1.0) != recipe


def used_degree(splats: Splats) -> int:
    """The highest degree of which some coefficient is not 0."""
    return int(kept_degrees(splats).max()) if splats.num_splats else 0


def cut(splats: Splats, effect: ShEffect | None, recipe: Recipe) -> tuple[Splats, ShLimits]:
    """The splats with the harmonics of `recipe`, base colours mended for what went; and which coefficients may be other
    than 0. effect: of these splats' cuts (None: nothing is mended)."""
    rest = num_sh_rest(recipe.degree)
    count = splats.num_splats
    degree = torch.full((count,), recipe.degree, dtype=torch.uint8)
    if effect is not None:
        if recipe.share < 1.0:
            coefficients = int(recipe.share * count * num_sh_rest(splats.sh_degree))
            _, degree = cut_sh(splats, effect, threshold_for(effect, coefficients))
            degree = degree.clamp(max=recipe.degree)
        splats = with_degrees(splats, effect, degree)
    kept = num_of(degree)[:, None] > torch.arange(rest)[None]
    return replace(splats, shN=splats.shN[:, :rest].contiguous()), ShLimits(kept)


def num_of(degree: Tensor) -> Tensor:
    """[N] coefficients above degree 0 of degrees [N]."""
    return (degree.long() + 1) ** 2 - 1

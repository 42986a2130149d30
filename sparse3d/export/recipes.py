# SPDX-License-Identifier: Apache-2.0
"""What a file's bytes may be spent on: many splats of plain colour, or fewer whose colour changes with the view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sparse3d.compress.sh_cut import ShEffect, cut_sh, kept_degrees, threshold_for, with_degrees
from sparse3d.compress.sh_limits import ShLimits
from sparse3d.export.sh_bits import fitted_sh_bits
from sparse3d.formats.format import Format, WriteOptions, knob_number
from sparse3d.formats.spz.spz import fitted_bits
from sparse3d.splats import Splats, num_sh_rest

# Formats whose coefficients of 0 cost next to nothing; in the others a file of degree 3 has its bytes for each splat.
_ENTROPY_CODED = ("spz", "html", "glb-spz", "sog")
_SPZ_FINEST = {"sh1_bits": 8.0, "sh_rest_bits": 8.0, "sh_rounding": 0.0}
# What rounds to less than a scene's own error. Measured on a trained scene of three photos, before training through it:
# 12 % of SPZ's bytes for 0.03 dB, 16 % of SOG's for less than 0.01; rotations of 6 bits in SOG 6 % for 0.07.
_SPZ_COARSE = {"rotation_bits": 6.0, "colour_bits": 6.0, "alpha_bits": 6.0}
_SPZ_WHOLE = {"rotation_bits": 9.0, "colour_bits": 8.0, "alpha_bits": 8.0}
_SOG_COARSE = {"scale_entries": 64.0, "colour_entries": 64.0, "position_bits": 14.0}
_SOG_COARSER = {**_SOG_COARSE, "quat_bits": 6.0, "position_bits": 13.0}
_SOG_WHOLE = {
    "quat_bits": 8.0,
    "scale_entries": 256.0,
    "colour_entries": 256.0,
    "sh_entries": 256.0,
    "position_bits": 16.0,
}
_MOST_PALETTE = 65536
# Time grows with this number; with more, the writer's own palette is near enough.
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
    if chosen.name not in _ENTROPY_CODED:
        return [Recipe(d) for d in range(degree + 1)]
    if degree == 0:
        return [Recipe(0)]
    if chosen.name == "sog":
        return [
            Recipe(0),
            Recipe(degree, 0.05, {"palette": 128, "sh_entries": 64}),
            Recipe(degree, 0.1, {"palette": 256, "sh_entries": 64}),
            Recipe(degree, 0.3, {"palette": 1024, "sh_entries": 128}),
            Recipe(degree, 1.0, {"palette": 8192}),
        ]
    bits = fitted_sh_bits(splats)
    fine = {"sh1_bits": bits, "sh_rest_bits": bits} if bits > _usual(chosen, "sh1_bits") else {}
    return [Recipe(0), *(Recipe(degree, share, fine) for share in (0.1, 0.3, 0.6)), Recipe(degree)]


def finest(chosen: Format, degree: int) -> Recipe:
    """The most that the format holds of these splats."""
    return Recipe(degree, 1.0, _SPZ_FINEST if _is_spz(chosen) else {})


def coarser(chosen: Format, recipe: Recipe, splats: Splats) -> list[Recipe]:
    """`recipe` with fewer bits for places, rotations and colours of these splats, least damage first."""
    if chosen.name == "sog":
        return [replace(recipe, knobs={**recipe.knobs, **knobs}, coarse=True) for knobs in (_SOG_COARSE, _SOG_COARSER)]
    if not _is_spz(chosen):
        return []
    fine = {**recipe.knobs, **_SPZ_COARSE}
    usual = fitted_bits(splats.means.numpy(), splats.log_scales.numpy(), None)
    places = {"position_bits": float(max(usual - 1, 0))}
    return [replace(recipe, knobs=knobs, coarse=True) for knobs in (fine, {**fine, **places})]


def finer(chosen: Format, recipe: Recipe, t: float) -> Recipe:
    """`recipe` with knobs so far (0..1) on the way to the finest; itself where the format has none that matter."""
    knobs = dict(recipe.knobs)
    for name, whole in {**_SPZ_WHOLE, **_SOG_WHOLE}.items():
        if name in knobs and name != "position_bits":
            knobs[name] = float(round(knobs[name] + t * (whole - knobs[name])))
    if recipe.degree and _is_spz(chosen):
        for name, whole in _SPZ_FINEST.items():
            begin = knobs.get(name, _usual(chosen, name))
            knobs[name] = round(begin + t * (whole - begin), 4)
    if recipe.degree and "palette" in knobs:
        knobs["palette"] = float(round(knobs["palette"] * (_MOST_PALETTE / knobs["palette"]) ** t))
    return replace(recipe, knobs=knobs)


def sets_of_harmonics(chosen: Format, recipe: Recipe) -> int | None:
    """How many different ones the splats may have, where that is few enough to choose them by what the views see."""
    count = int(recipe.knobs.get("palette", 0)) if recipe.degree and chosen.name == "sog" else 0
    return count if 2 <= count <= _FEW_SETS else None


def has_finer(chosen: Format, recipe: Recipe) -> bool:
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


def _usual(chosen: Format, name: str) -> float:
    return knob_number(chosen, WriteOptions(), name)


def _is_spz(chosen: Format) -> bool:
    return chosen.name in ("spz", "html", "glb-spz")

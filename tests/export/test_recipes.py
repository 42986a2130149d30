# SPDX-License-Identifier: Apache-2.0
"""What bytes may be spent on, by what a format says of itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sparse3d.export.recipes import Recipe, coarser, finer, finest, has_finer, recipes_for, sets_of_harmonics
from sparse3d.formats import FORMATS, Knob
from sparse3d.formats.losses import Knobs, Losses, ShChoice
from sparse3d.formats.spz.spz import Spz
from sparse3d.splats import Splats
from tests.formats.makers import make_splats


def _coarser(splats: Splats) -> Sequence[Knobs]:
    return {"grain": 3.0}, {"grain": 1.0, "places": float(splats.num_splats)}


class Toy(Spz):
    """A format that no other code knows."""

    name = "toy"
    knobs = (
        Knob("grain", 1, 9, 9, "of everything"),
        Knob("places", 0, 100, None, "of places"),
        Knob("sharpness", 0, 1, 0.5, "of harmonics", integer=False),
        Knob("sets", 1, 4096, None, "of harmonics"),
    )
    losses = Losses(
        harmonics=lambda splats: (ShChoice(0.2, {"sets": 64}), ShChoice(1.0, {"sets": 2048})),
        coarser=_coarser,
        whole={"grain": 9.0},
        finest={"sharpness": 1.0},
        palette="sets",
    )


def test_a_new_format_says_for_itself_what_it_offers() -> None:
    splats, toy = make_splats(30, 2), Toy()
    recipes = recipes_for(toy, splats, 2)
    assert recipes == [Recipe(0), Recipe(2, 0.2, {"sets": 64}), Recipe(2, 1.0, {"sets": 2048})]
    assert recipes_for(toy, splats, 0) == [Recipe(0)]
    assert [sets_of_harmonics(toy, recipe) for recipe in recipes] == [None, 64, None]
    assert finest(toy, 2) == Recipe(2, 1.0, {"sharpness": 1.0})
    rough = coarser(toy, recipes[1], splats)
    assert [recipe.knobs for recipe in rough] == [
        {"sets": 64, "grain": 3.0},
        {"sets": 64, "grain": 1.0, "places": 30.0},
    ]
    assert all(recipe.coarse and recipe.share == 0.2 for recipe in rough)
    assert finer(toy, rough[1], 0.5).knobs == {"sets": 512.0, "grain": 5.0, "places": 30.0, "sharpness": 0.75}
    assert finer(toy, rough[1], 1.0).knobs == {"sets": 4096.0, "grain": 9.0, "places": 30.0, "sharpness": 1.0}
    # Nothing can be turned where there are no harmonics and nothing was made coarser.
    assert not has_finer(toy, Recipe(0))


@pytest.mark.parametrize("name", ["ply", "glb", "compressed.ply", "splat"])
def test_where_zeros_cost_bytes_only_the_degree_saves_some(name: str) -> None:
    chosen, splats = FORMATS[name], make_splats(30, 3)
    recipes = recipes_for(chosen, splats, 3)
    assert recipes == [Recipe(degree) for degree in range(4)]
    assert not any(has_finer(chosen, recipe) for recipe in recipes)
    assert coarser(chosen, recipes[-1], splats) == []
    assert finest(chosen, 3) == Recipe(3)


def test_recipes_in_words() -> None:
    assert str(Recipe(0, 0.5)) == "SH degree 0"
    assert str(Recipe(2, 0.3, coarse=True)) == "SH degree 2, 30% of it kept, coarser steps"

# SPDX-License-Identifier: Apache-2.0
"""What formats offer to a search: only what they can obey, and each choice saves bytes."""

from __future__ import annotations

import io

import pytest
import torch

from sparse3d.formats import FORMATS, WriteOptions, check_options
from sparse3d.formats.html.html import Html, scene_bytes
from sparse3d.formats.page import as_page_format
from tests.formats.makers import make_splats

WRITABLE = [fmt.name for fmt in FORMATS if fmt.limits.writable]
WITH_CHOICES = ["spz", "glb-spz", "html", "sog"]


def size(name: str, knobs: dict[str, float], share: float = 1.0) -> int:
    """Of a file of which a share of the splats has harmonics."""
    splats = make_splats(600, 3)
    splats.shN[torch.arange(600) >= share * 600] = 0.0
    file = io.BytesIO()
    FORMATS[name].write(file, splats, WriteOptions(knobs=knobs))
    return file.tell()


@pytest.mark.parametrize("name", WRITABLE)
def test_the_format_obeys_what_it_offers(name: str) -> None:
    chosen, splats = FORMATS[name], make_splats(50, 3)
    losses = chosen.losses
    offered = [choice.knobs for choice in losses.harmonics(splats)]
    offered += [*losses.coarser(splats), losses.whole, losses.finest]
    for knobs in offered:
        check_options(chosen, WriteOptions(knobs=knobs))
    turned = {knob for knobs in offered for knob in knobs}
    assert turned <= {knob.name for knob in chosen.knobs}
    assert losses.palette is None or losses.palette in turned


@pytest.mark.parametrize("name", WITH_CHOICES)
def test_choices_go_from_cheap_to_dear(name: str) -> None:
    losses = FORMATS[name].losses
    choices = losses.harmonics(make_splats(600, 3))
    sizes = [size(name, dict(choice.knobs), choice.share) for choice in choices]
    assert choices[-1].share == 1.0
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.9 * sizes[-1]


@pytest.mark.parametrize("name", WITH_CHOICES)
def test_coarser_is_smaller(name: str) -> None:
    sets = FORMATS[name].losses.coarser(make_splats(600, 3))
    sizes = [size(name, dict(knobs)) for knobs in ({}, *sets)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


def test_formats_without_choices_offer_nothing() -> None:
    splats = make_splats(20, 1)
    for name in set(FORMATS.names()) - set(WITH_CHOICES):
        losses = FORMATS[name].losses
        offered = [*losses.harmonics(splats), *losses.coarser(splats), *losses.whole, *losses.finest]
        assert offered == [], name
        assert losses.palette is None
        assert not losses.slow


def test_the_scene_of_a_page_is_what_the_page_holds() -> None:
    splats, opts = make_splats(40, 2), WriteOptions(sh_degree=1)
    page, scene = io.BytesIO(), io.BytesIO()
    notes = Html().write(page, splats, opts)
    assert Html().write_scene(scene, splats, opts) == notes
    assert scene_bytes(page.getvalue()) == scene.getvalue()
    assert [fmt.name for fmt in FORMATS if as_page_format(fmt) is not None] == ["html"]

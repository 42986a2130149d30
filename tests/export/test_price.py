# SPDX-License-Identifier: Apache-2.0
"""What bytes buy."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparse3d.export.coder import Coder
from sparse3d.export.price import LEAST_SHARE, Prices
from sparse3d.export.recipes import Recipe, coarser, cut
from sparse3d.export.source import Source
from sparse3d.formats.format import WriteOptions
from tests.export.test_fit import scene, source_of


@pytest.fixture(scope="module")
def source() -> Source:
    return source_of(scene(500))


def test_rows_fill_the_bytes_with_the_splats_worth_most(source: Source) -> None:
    prices, recipe = Prices(source, Coder(Path("a.spz"), WriteOptions())), Recipe(2)
    size = prices.size(source.splats, recipe) // 2
    rows = prices.rows_for(source.splats, recipe, size)
    assert LEAST_SHARE * size <= prices.size(source.splats.select(rows), recipe) <= size
    worth = source.weights(source.splats).weight
    assert float(worth[rows].min()) >= float(worth.sort(descending=True).values[len(rows)])
    assert len(prices.rows_for(source.splats, recipe, 10**6)) == source.splats.num_splats
    # Not even one fits.
    assert prices.rows_for(source.splats, recipe, 1).tolist() == [int(worth.argmax())]


def test_knobs_go_as_fine_as_the_bytes_allow(source: Source) -> None:
    coder = Coder(Path("a.spz"), WriteOptions())
    prices, (splats, _) = Prices(source, coder), cut(source.splats, None, Recipe(1))
    rough = coarser(coder.format, Recipe(1), splats)[0]
    cheap = prices.size(splats, rough)
    size = round(1.1 * cheap)
    finer = prices.finest_within(splats, rough, size)
    assert cheap < prices.size(splats, finer) <= size
    assert prices.finest_within(splats, rough, cheap - 1) == rough
    made = prices.fitted(splats, finer, refined=7)
    assert (made.size, made.refined, made.whole) == (prices.size(splats, finer), 7, False)
    assert made.recipe == "SH degree 1, coarser steps"

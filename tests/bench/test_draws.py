# SPDX-License-Identifier: Apache-2.0
"""Draws for tuning: different, repeatable, and never with a photo that the protocol tests on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse3d.bench.draws import (
    Selection,
    ceiling_selection,
    leave_one_out_draws,
    protocol_selection,
    random_draws,
    tuning_pool,
    tuning_train,
)
from sparse3d.errors import DataError, UsageError
from sparse3d.load.views import DTU_EXCLUDED


def scene(protocol: str, count: int) -> tuple[list[str], list[str | None]]:
    """Names and own splits of a scene that the protocol fits: Blender's has its own, every third photo a test."""
    if protocol != "blender":
        return [f"{k:04d}.png" for k in range(count)], [None] * count
    names = [f"{'test' if k % 3 == 0 else 'train'}/r_{k:03d}.png" for k in range(count)]
    return sorted(names), [name.split("/")[0] for name in sorted(names)]


@given(
    protocol=st.sampled_from(["llff", "every8", "blender", "dtu", "none"]),
    count=st.integers(49, 70),
    views=st.integers(1, 9),
    draws=st.integers(1, 4),
)
def test_a_draw_never_has_a_test_photo_of_the_protocol(protocol: str, count: int, views: int, draws: int) -> None:
    names, splits = scene(protocol, count)
    own = protocol_selection(names, splits, protocol, views)
    pool = tuning_pool(names, splits, protocol, views)
    assert not set(pool) & set(own.test)
    found = random_draws(pool, views, draws, own.train)
    assert len({draw.train for draw in found}) == draws
    for draw in found:
        assert len(draw.train) == views
        assert list(draw.train) == sorted(draw.train)
        assert draw.train != own.train
        assert 1 <= len(draw.test) <= 8
        assert not set(draw.train) & set(draw.test)
        assert not (set(draw.train) | set(draw.test)) & set(own.test)
    assert random_draws(pool, views, draws + 1, own.train)[:draws] == found


def test_a_draw_takes_one_photo_of_each_part() -> None:
    pool = tuple(range(0, 40, 2))
    for draw in random_draws(pool, 4, 6):
        assert [pool.index(i) // 5 for i in draw.train] == [0, 1, 2, 3]
        assert len(draw.test) == 8


def test_dtu_tunes_on_views_that_are_never_tested() -> None:
    names, splits = scene("dtu", 49)
    assert tuning_pool(names, splits, "dtu", 3) == tuple(sorted({22, 25, 28} | DTU_EXCLUDED))
    assert ceiling_selection(names, splits, "dtu").train == (0, 8, 13, 22, 25, 28, 40, 44, 48)
    assert len(ceiling_selection(names, splits, "dtu").test) == 25


def test_the_protocol_and_its_ceiling() -> None:
    names, splits = scene("llff", 20)
    assert protocol_selection(names, splits, "llff", 3) == Selection((1, 10, 19), (0, 8, 16))
    ceiling = ceiling_selection(names, splits, "llff")
    assert (len(ceiling.train), ceiling.test, ceiling.key) == (17, (0, 8, 16), "ceiling")


def test_leave_one_out() -> None:
    found = leave_one_out_draws((1, 10, 19))
    assert [(draw.train, draw.test, draw.key) for draw in found] == [
        ((10, 19), (1,), "l1"),
        ((1, 19), (10,), "l10"),
        ((1, 10), (19,), "l19"),
    ]
    # Five photos, none of them held out by any rule.
    assert tuning_train(*scene("none", 5), "none", 5) == (0, 1, 2, 3, 4)


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(UsageError, match=r"--draw 2: a draw of 3 training photos needs 4 or more .* the scene has 3"):
        random_draws((1, 2, 3), 3, 2)
    # Parts (0, 1) and (2): two choices, one of them the protocol's own.
    assert random_draws((0, 1, 2), 2, 1, avoid=(0, 2))[0].train == (1, 2)
    with pytest.raises(UsageError, match="--draw 2: there are only 1 different draws of 2 photos here"):
        random_draws((0, 1, 2), 2, 2, avoid=(0, 2))
    with pytest.raises(UsageError, match="--leave-one-out needs 2 training photos or more, asked for 1"):
        leave_one_out_draws((4,))
    with pytest.raises(UsageError, match="--views 18: the scene has 17 training photos with protocol llff, give fewer"):
        protocol_selection(*scene("llff", 20), "llff", 18)
    with pytest.raises(DataError, match="protocol none holds out none of these 5 photos"):
        protocol_selection(*scene("none", 5), "none", 3)
    with pytest.raises(DataError, match="there is no ceiling"):
        ceiling_selection(*scene("none", 5), "none")

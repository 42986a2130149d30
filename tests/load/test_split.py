# SPDX-License-Identifier: Apache-2.0
"""Which photos train and which test: the rules of DESIGN.md, one by one, and every error's sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse3d.errors import DataError, UsageError
from sparse3d.load.views import DTU_EXCLUDED, split_views, spread


def names(count: int) -> list[str]:
    return [f"images/{k:04d}.jpg" for k in range(count)]


def split(count: int, own: dict[int, str] | None = None, **settings):
    own = own or {}
    return split_views(names(count), [own.get(k) for k in range(count)], **settings)


def test_every_8th_from_13_photos_on() -> None:
    assert split(13).test == (0, 8)
    assert split(13).train == (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12)
    assert split(12).test == ()
    assert split(12).train == tuple(range(12))


def test_four_photos_train_on_all_and_say_so() -> None:
    chosen = split(4, views="4")
    assert chosen.train == (0, 1, 2, 3)
    assert chosen.note == (
        "4 of 4 photos train, nothing is held out, so there is no PSNR; to measure use --test-every 4 or eval "
        "--leave-one-out"
    )


def test_own_split_wins_over_the_default_and_validation_is_not_used() -> None:
    own = dict.fromkeys(range(20), "train") | {3: "test", 5: "unused"}
    chosen = split(20, own)
    assert chosen.test == (3,)
    assert 5 not in chosen.train
    assert len(chosen.train) == 18
    assert chosen.note.endswith("1 is not used")


def test_explicit_test_every_wins_over_everything() -> None:
    own = {1: "test"}
    assert split(8, own, test_every=4).test == (0, 4)
    assert split(8, own, test_every=4, protocol="llff").test == (0, 4)
    assert split(20, test_every=0).test == ()
    assert split(20, test_every=0).train == tuple(range(20))


def test_explicit_test_photos_and_the_rest_trains() -> None:
    chosen = split(20, test="3, name:0011.jpg")
    assert chosen.test == (3, 11)
    assert chosen.train == tuple(k for k in range(20) if k not in (3, 11))
    assert chosen.note == "18 of 20 photos train, 2 are held out (--test)"
    assert split(5, test="4").test == (4,)
    named = split(20, test="7,2", views="1,10,19")
    assert (named.train, named.test) == ((1, 10, 19), (2, 7))
    # A number is spread over those that are left.
    assert split(6, test="0,1,2", views="2").train == (3, 5)


def test_explicit_test_photos_leave_the_scene_s_own_alone() -> None:
    own = {1: "test", 2: "unused"}
    chosen = split(6, own, test="4")
    assert (chosen.train, chosen.test) == ((0, 3, 5), (4,))
    assert split(6, own, test="1").train == (0, 3, 4, 5)


def test_protocols_every_8th_ignore_the_count() -> None:
    assert split(9, protocol="llff").test == (0, 8)
    assert split(9, {2: "test"}, protocol="every8").test == (0, 8)


def test_llff_three_views_of_fern() -> None:
    # RegNeRF on 20 photos: 17 are left, rounded linspace takes the 1st, 9th and 17th of them.
    chosen = split(20, views="3", protocol="llff")
    assert chosen.test == (0, 8, 16)
    assert chosen.train == (1, 10, 19)


def test_number_of_views_is_a_rounded_linspace_of_the_rest() -> None:
    assert spread(range(43), 4) == (0, 14, 28, 42)
    # Halves are rounded to even, as Python and NumPy do: 0, 0.5, 1 for three of two would be all.
    assert spread((5, 6, 7, 8), 3) == (5, 7, 8)
    assert split(50, views="4").train == (1, 17, 33, 49)
    assert split(5, views="9").train == (0, 1, 2, 3, 4)
    assert split(3, views="1").train == (0,)


def test_positions_and_names() -> None:
    assert split(30, views="22,25,28").train == (22, 25, 28)
    assert split(30, views="25,22").train == (22, 25)
    assert split(5, views="3,").train == (3,)
    assert split(5, views="name:0002.jpg, name:images/0004.jpg").train == (2, 4)
    assert split(5, views="name:0002,1").train == (1, 2)


def test_dtu_protocol() -> None:
    chosen = split(49, views="22,25,28", protocol="dtu")
    assert chosen.train == (22, 25, 28)
    assert chosen.test == tuple(k for k in range(49) if k not in DTU_EXCLUDED | {22, 25, 28})
    assert len(chosen.test) == 31
    assert split(49, views="3", protocol="dtu").train == (22, 25, 28)
    assert split(49, views="6", protocol="dtu").train == (22, 25, 28, 40, 44, 48)
    assert split(49, protocol="dtu").train == (0, 8, 13, 22, 25, 28, 40, 44, 48)


def test_blender_protocol_full_and_adapted() -> None:
    names_all = sorted([f"train/r_{k}.png" for k in range(100)] + [f"test/r_{k}.png" for k in range(200)])
    splits = [name.split("/")[0] for name in names_all]
    chosen = split_views(names_all, splits, views="8", protocol="blender")
    train = sorted(int(names_all[k][8:-4]) for k in chosen.train)
    assert train == [2, 16, 26, 55, 73, 76, 86, 93]
    assert sorted(int(names_all[k][7:-4]) for k in chosen.test) == list(range(0, 200, 8))
    some = [name for name in names_all if int(name.split("_")[1][:-4]) % 4 == 0]
    adapted = split_views(some, [name.split("/")[0] for name in some], views="8", protocol="blender")
    # Rounded linspace over the 25 numbers 0, 4, .. 96, not over the names as text.
    assert sorted(int(some[k][8:-4]) for k in adapted.train) == [0, 12, 28, 40, 56, 68, 84, 96]
    assert len(adapted.test) == 50
    assert "adapted" in adapted.note


@pytest.mark.parametrize(
    ("count", "settings", "error", "message"),
    [
        (5, {"views": "0"}, UsageError, "--views 0: there would be no training photo; give at least 1"),
        (
            5,
            {"views": ","},
            UsageError,
            "--views ',': there would be no training photo; give all, a number, positions or names",
        ),
        (
            5,
            {"views": "1,5"},
            UsageError,
            "--views 1,5: position 5 is out of range; the scene has 5 photos, positions 0 to 4",
        ),
        (5, {"views": "1,1"}, UsageError, "--views 1,1: photo 1 (images/0001.jpg) is named twice"),
        (
            5,
            {"views": "first"},
            UsageError,
            "--views first: 'first' is not understood; give all, a number, positions (22,25,28) or names "
            "(name:IMG_01.jpg)",
        ),
        (
            5,
            {"views": "-3"},
            UsageError,
            "--views -3: '-3' is not understood; give all, a number, positions (22,25,28) or names (name:IMG_01.jpg)",
        ),
        (
            5,
            {"views": "name:0003.png"},
            UsageError,
            "--views name:0003.png: the scene has no photo of this name; did you mean 0003.jpg?",
        ),
        (
            20,
            {"views": "7,8"},
            UsageError,
            "photo 8 (images/0008.jpg) is in --views and also held out for testing (every 8th of 20 photos); choose "
            "other views or set --test-every (0 holds out none)",
        ),
        (
            5,
            {"test_every": 1},
            UsageError,
            "no photo is left to train on: all 5 are held out (--test-every 1); change --test-every",
        ),
        (
            5,
            {"test": ","},
            UsageError,
            "--test ',': it names no photo; give positions or names",
        ),
        (
            5,
            {"test": "all"},
            UsageError,
            "--test all: 'all' is not understood; give positions (22,25,28) or names (name:IMG_01.jpg)",
        ),
        (
            5,
            {"test": "name:0003.png"},
            UsageError,
            "--test name:0003.png: the scene has no photo of this name; did you mean 0003.jpg?",
        ),
        (
            5,
            {"test": "1,2", "views": "2,3"},
            UsageError,
            "photo 2 (images/0002.jpg) is in --views and also held out for testing (--test); choose other views or "
            "other test photos",
        ),
        (
            3,
            {"test": "0,1,2"},
            UsageError,
            "no photo is left to train on: all 3 are held out (--test); change --test",
        ),
        (
            5,
            {"protocol": "dtu"},
            DataError,
            "--protocol dtu needs the 49 photos of a DTU scan, this scene has 5; use another protocol",
        ),
        (
            49,
            {"protocol": "dtu", "views": "10"},
            UsageError,
            "--protocol dtu defines up to 9 training views, asked for 10",
        ),
        (
            5,
            {"protocol": "blender"},
            DataError,
            "--protocol blender needs a scene with its own test photos (transforms_test.json)",
        ),
        (0, {}, DataError, "the scene has no photos"),
    ],
)
def test_error_sentences(count: int, settings: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        split(count, **settings)
    assert str(caught.value) == message


def test_a_name_that_fits_two_photos() -> None:
    with pytest.raises(UsageError, match=r"--views name:1\.png fits 2 photos \(a/1\.png, b/1\.png, \.\.\.\)"):
        split_views(["a/1.png", "b/1.png"], [None, None], views="name:1.png")


@given(count=st.integers(1, 80), views=st.integers(1, 90), every=st.one_of(st.none(), st.integers(0, 9)))
def test_always_sorted_disjoint_and_never_more_than_asked(count: int, views: int, every: int | None) -> None:
    if every == 1 or (count == 1 and every):
        return
    chosen = split(count, views=str(views), test_every=every)
    assert list(chosen.train) == sorted(set(chosen.train))
    assert not set(chosen.train) & set(chosen.test)
    assert len(chosen.train) == min(views, count - len(chosen.test))

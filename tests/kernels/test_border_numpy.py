# SPDX-License-Identifier: Apache-2.0
"""As test_border.py for the kernels that take numpy arrays: each argument in turn is wrong in type, layout, or shape,
or holds indices that point outside."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parity import CPU_LEVELS, CPU_MISSING

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.kernels.cpu import compress, mvs
from sparse3d.kernels.cpu.mvs import DepthRange, MatchCosts, MvsImage

pytestmark = pytest.mark.skipif(not CPU_LEVELS, reason=CPU_MISSING)

# Any type of numbers: the wrong ones are the point.
Arrays = dict[str, Any]
# Vectors, their numbers, entries, bins.
N, DIM, P, BINS = 12, 9, 4, 6
H, W = 24, 32


def _another_type(array: np.ndarray) -> np.ndarray:
    other = {"float32": np.float64, "float64": np.float32, "int32": np.int64, "uint8": np.int8}
    return array.astype(other[array.dtype.name])


DAMAGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "another type": _another_type,
    "strided": lambda a: np.stack([a, a], axis=-1)[..., 0],
    "narrow": lambda a: np.ascontiguousarray(a[..., :-1]),
    "one axis more": lambda a: a[None],
}


def _arrays() -> Arrays:
    rng = np.random.default_rng(0)
    planes = np.zeros((H, W, 4), np.float32)
    planes[..., 0] = 0.25
    return {
        "vectors": compress.padded(rng.random((N, DIM)).astype(np.float32)),
        "entries": compress.padded(rng.random((P, DIM)).astype(np.float32)),
        "weights": np.ones(N, np.float32),
        "labels": np.zeros(N, np.int32),
        "order": np.arange(N, dtype=np.int32),
        "starts": np.linspace(0, N, P + 1).astype(np.int32),
        "sums": np.cumsum(rng.random((BINS + 1, 3)), axis=0),
        "cells": np.arange(N, dtype=np.int32),
        "planes": planes,
        "last": np.ones((H, W), np.uint8),
    }


def _assign(given: Arrays) -> None:
    compress.assign(given["vectors"], given["entries"], DIM)


def _assign_near(given: Arrays) -> None:
    compress.assign_near(given["vectors"], given["entries"], DIM, given["labels"], given["order"], 2)


def _update(given: Arrays) -> None:
    compress.update(given["vectors"], given["entries"], DIM, given["weights"], given["order"], given["starts"])


def _split(given: Arrays) -> None:
    compress.split(given["vectors"], DIM, given["weights"], P, 0)


def _intervals(given: Arrays) -> None:
    compress.intervals(given["sums"], P)


def _grid_sorter(given: Arrays) -> None:
    compress.GridSorter(np.zeros((N, 3), np.float32), 4, 3, given["cells"]).round(1, 1, 0)


def _image(x: float = 0.0) -> MvsImage:
    pose = np.eye(4)
    pose[0, 3] = x
    grey = np.random.default_rng(1).random((H, W)).astype(np.float32)
    return MvsImage(Camera(W, H, 30.0, 30.0, W / 2, H / 2, pose), grey)


def _source_of(given: Arrays) -> None:
    _image(0.1).source_of(_image(), given["planes"])


def _patch_match(given: Arrays) -> None:
    reference = _image()
    sources, span = [_image(0.1).source_of(reference)], DepthRange(0.1, 0.5)
    mvs.patch_match(reference, sources, MatchCosts(1), given["planes"], span, mvs.Rounds(1, 0, given["last"]))


def _check(given: Arrays) -> None:
    reference = _image()
    mvs.check(reference, [_image(0.1).source_of(reference, _arrays()["planes"])], given["planes"], 1.0, 0.01)


Call = Callable[[Arrays], None]
ROWS = ("vectors", "entries")
CALLS: dict[Call, tuple[str, ...]] = {
    _assign: ROWS,
    _assign_near: (*ROWS, "labels", "order"),
    _update: (*ROWS, "weights", "order", "starts"),
    _split: ("vectors", "weights"),
    _intervals: ("sums",),
    _grid_sorter: ("cells",),
    _source_of: ("planes",),
    _patch_match: ("planes", "last"),
    _check: ("planes",),
}
CASES = [(call, name) for call, names in CALLS.items() for name in names]
# The first value beyond those that an index may have.
LIMITS: dict[tuple[Call, str], int] = {
    (_assign_near, "labels"): P,
    (_assign_near, "order"): N,
    (_update, "order"): N,
    (_update, "starts"): N + 1,
    (_grid_sorter, "cells"): N,
}


def _name_of(value: object) -> str:
    return getattr(value, "__name__", str(value)).strip("_")


@pytest.mark.parametrize("call", CALLS, ids=_name_of)
def test_good_arrays_pass(call: Call) -> None:
    call(_arrays())


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(("call", "name"), CASES, ids=_name_of)
def test_a_wrong_array_is_an_error_that_names_it(call: Call, name: str, damage: str) -> None:
    given = _arrays()
    given[name] = DAMAGE[damage](given[name])
    with pytest.raises(DataError, match=f": {re.escape(name)} (must|of shape)"):
        call(given)


@pytest.mark.parametrize(("call", "name"), LIMITS, ids=_name_of)
def test_an_index_that_points_outside_is_an_error_that_names_it(call: Call, name: str) -> None:
    for wrong in (-1, LIMITS[call, name]):
        given = _arrays()
        given[name][-1] = wrong
        with pytest.raises(DataError, match=rf": {name} must lie in 0\.\.{LIMITS[call, name] - 1}"):
            call(given)


def test_starts_that_fall_are_refused() -> None:
    given = _arrays()
    given["starts"][1], given["starts"][2] = given["starts"][2], given["starts"][1]
    with pytest.raises(DataError, match="starts must not fall"):
        _update(given)


def test_a_photo_of_another_size_or_type() -> None:
    """A grey photo of any type and layout is copied; its size must be the camera's."""
    image = _image()
    others: list[Any] = [image.grey.astype(np.float64), np.asfortranarray(image.grey)]
    for other in others:
        assert np.array_equal(MvsImage(image.camera, other).quads, image.quads)
    for wrong in (image.grey[:-1], image.grey[:, :-1], image.grey[None]):
        with pytest.raises(DataError, match="MvsImage: grey"):
            MvsImage(image.camera, wrong)


# In a process of its own: where this is not refused, native code reads at address 0 and takes the tests with it.
WITHOUT_PLANES = """
import numpy as np
from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.kernels.cpu import mvs

image = mvs.MvsImage(Camera(32, 24, 30.0, 30.0, 16.0, 12.0, np.eye(4)), np.zeros((24, 32), np.float32))
planes = np.full((24, 32, 4), 0.25, np.float32)
try:
    mvs.check(image, [image.source_of(image)], planes, 1.0, 0.01)
except DataError as error:
    print(error)
"""


def test_a_source_without_planes_cannot_be_checked_against() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PLANES], capture_output=True, text=True, check=False, timeout=120,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, f"exit code {done.returncode}"
    assert re.search("check: .*planes", done.stdout)


@pytest.mark.parametrize("count", [0, -1])
def test_vectors_cannot_be_split_into_no_cell(count: int) -> None:
    given = _arrays()
    with pytest.raises(DataError, match="split"):
        compress.split(given["vectors"], DIM, None, count, 0)


def test_no_vectors_cannot_be_split() -> None:
    with pytest.raises(DataError, match="0 vectors cannot be split into 4 cells"):
        compress.split(np.empty((0, 3), np.float32), 3, None, 4, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"best_views": 0},
        {"best_views": -1},
        {"best_views": 2, "spacing": 0},
        {"best_views": 2, "census_share": 1.5},
        {"best_views": 2, "census_share": float("nan")},
        {"best_views": 2, "geometric_weight": -0.1},
        {"best_views": 2, "geometric_weight": float("inf")},
    ],
)
def test_costs_that_mean_nothing_are_refused(wrong: dict) -> None:
    with pytest.raises(DataError, match="MatchCosts: best_views and spacing"):
        MatchCosts(**wrong)

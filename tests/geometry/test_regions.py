# SPDX-License-Identifier: Apache-2.0
"""What lies in a sphere or a box."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from sparse3d.errors import UsageError
from sparse3d.geometry.regions import Box, Sphere, region_of

HALF = math.sqrt(0.5)
# A quarter turn about z: the box's x is the world's y.
TURNED = Box((1, 0, 0), (2, 1, 0.5), (2 * HALF, 0, 0, 2 * HALF))


def test_a_sphere_holds_its_surface_and_nothing_beyond():
    points = np.array([[1, 2, 3], [1, 2, 5], [1, 2, 5.001], [3, 4, 3]], np.float32)
    assert Sphere((1, 2, 3), 2).contains(points).tolist() == [True, True, False, False]


def test_a_box_is_turned_about_its_centre():
    points = np.array([[1, 1.9, 0], [2.9, 0, 0], [1.9, 0, 0], [1, 0, 0.6]])
    assert TURNED.contains(points).tolist() == [True, False, True, False]
    assert Box((1, 0, 0), (2, 1, 0.5)).contains(points).tolist() == [False, True, True, False]


def test_no_points_give_no_answers():
    assert TURNED.contains(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize("region", [Sphere((1, 2, 3), 0.5), TURNED])
def test_json_brings_them_back(region: Sphere | Box):
    assert region_of(json.loads(json.dumps(region.to_json()))) == region


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Sphere((0, 0, 0), 0), "radius of a sphere is 0; give more than 0"),
        (lambda: Sphere((0, 0, math.nan), 1), r"the centre of a sphere is \(0, 0, nan\); give 3 finite numbers"),
        (lambda: Sphere((0, 0), 1), r"the centre of a sphere is \(0, 0\); give 3"),  # type: ignore[arg-type]
        (lambda: Box((0, 0, 0), (1, -1, 1)), "half sizes of a box are .* give more than 0 for each"),
        (lambda: Box((0, 0, 0), (1, 1, 1), (0, 0, 0, 0)), "quaternion of length 0"),
        (lambda: region_of({"kind": "cone"}), "a region of kind 'cone' is not known"),
        (lambda: region_of({"kind": "sphere", "side": 2}), "a sphere has not the values side"),
    ],
)
def test_what_is_no_region_is_refused_in_a_sentence(make, said: str):
    with pytest.raises(UsageError, match=said):
        make()

# SPDX-License-Identifier: Apache-2.0
"""The air that the photographer moved through."""

from __future__ import annotations

import numpy as np
import pytest

from sparse3d.camera import Camera
from sparse3d.judge.air import Air


def camera_at(x: float) -> Camera:
    """At (x, 0, 0), looking along z."""
    pose = np.eye(4)
    pose[0, 3] = -x
    return Camera(64, 48, 50.0, 50.0, 32.0, 24.0, pose)


@pytest.fixture
def wall() -> np.ndarray:
    """A wall five units ahead."""
    x, y = np.meshgrid(np.linspace(-4, 4, 40), np.linspace(-3, 3, 30))
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, 5.0)], axis=1)


def test_air_is_around_and_between_cameras_and_not_at_surfaces(wall: np.ndarray) -> None:
    air = Air.around([camera_at(0.0), camera_at(3.0)], wall)
    inside = [(0.0, 0.0, 1.0), (0.0, 0.0, -1.5), (1.5, 1.0, 0.5), (3.0, 0.0, 1.9)]
    outside = [(0.0, 0.0, 2.1), (1.5, 0.0, 4.9), (6.0, 0.0, 0.0)]
    assert air.contains(np.array(inside)).all()
    assert not air.contains(np.array(outside)).any()
    assert not air.contains(wall).any()


def test_between_cameras_that_are_far_apart_nothing_is_known(wall: np.ndarray) -> None:
    shifted = wall + np.array([12.0, 0.0, 0.0])
    air = Air.around([camera_at(0.0), camera_at(12.0)], np.concatenate([wall, shifted]))
    assert air.contains(np.array([[0.0, 0.0, 0.0], [12.0, 0.0, 0.0]])).all()
    assert not air.contains(np.array([[6.0, 0.0, 0.0]])).any()


def test_a_camera_that_sees_no_surface_has_no_air(wall: np.ndarray) -> None:
    air = Air.around([camera_at(0.0)], -wall)
    assert len(air.centres) == len(air.radii) == 0
    assert not air.contains(np.zeros((3, 3))).any()


def test_the_scenes_unit_does_not_matter(wall: np.ndarray) -> None:
    places = np.random.default_rng(0).uniform(-3.0, 6.0, (500, 3))
    plain = Air.around([camera_at(0.0), camera_at(3.0)], wall).contains(places)
    assert 0 < plain.sum() < 500
    small = Air.around([camera_at(0.0), camera_at(0.003)], wall * 1e-3).contains(places * 1e-3)
    np.testing.assert_array_equal(plain, small)

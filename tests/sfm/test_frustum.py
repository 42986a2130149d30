# SPDX-License-Identifier: Apache-2.0
"""What cameras alone say about the room they look at."""

from __future__ import annotations

import numpy as np
import pytest

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.records.points import Points
from sparse3d.sfm.frustum import best_neighbours, focus_distance, frustum_points, near_far, seen_by, view_pairs
from tests.depth.plane_scene import cameras_on_arc, look_at


def _side_by_side(count: int, base: float) -> list[Camera]:
    pose = [np.eye(4) for _ in range(count)]
    for k in range(count):
        pose[k][0, 3] = -base * k
    return [Camera(100, 80, 90.0, 90.0, 50.0, 40.0, p) for p in pose]


def test_focus_of_converging_cameras_is_their_crossing() -> None:
    assert focus_distance(cameras_on_arc(5, step_deg=15.0)) == pytest.approx(4.0, rel=0.1)


def test_focus_of_parallel_cameras_is_ten_bases() -> None:
    assert focus_distance(_side_by_side(4, 0.3)) == pytest.approx(3.0)


def test_one_camera_and_none() -> None:
    assert focus_distance(cameras_on_arc(1)) == 1.0
    with pytest.raises(DataError, match="no training camera"):
        near_far([])


def test_near_and_far_bracket_given_points() -> None:
    cameras = cameras_on_arc(3)
    xyz = np.random.default_rng(1).uniform((-0.5, -0.5, 3), (0.5, 0.5, 6), (500, 3)).astype(np.float32)
    behind = np.tile(np.array([[0.0, 0.0, -50.0]], np.float32), (100, 1))
    points = Points(np.concatenate([xyz, behind]), np.zeros((600, 3), np.float32))
    near, far = near_far(cameras, points)
    assert 2.0 < near < 3.0
    assert 6.0 < far < 8.0


def test_random_points_are_seen_by_at_least_half_of_the_cameras() -> None:
    cameras = cameras_on_arc(6, step_deg=10.0)
    points = frustum_points(cameras, 2000, seed=4)
    assert len(points) == 2000
    assert seen_by(cameras, points.xyz).min() >= 3
    assert np.array_equal(points.xyz, frustum_points(cameras, 2000, seed=4).xyz)
    assert not np.array_equal(points.xyz, frustum_points(cameras, 2000, seed=5).xyz)


def test_random_points_of_one_camera_fill_its_slab() -> None:
    camera = cameras_on_arc(1)[0]
    points = frustum_points([camera], 1000, seed=0, near=2.0, far=5.0)
    xy, z = camera.project(points.xyz)
    assert 1.99 < z.min() < 2.1
    assert 4.5 < z.max() < 5.01
    assert seen_by([camera], points.xyz).all()
    assert xy[:, 0].std() > 0.2 * camera.width


def test_cameras_that_share_nothing_still_get_points() -> None:
    apart = [
        Camera(100, 80, 90.0, 90.0, 50.0, 40.0, look_at((0, 0, 0), (0, 0, 5))),
        Camera(100, 80, 90.0, 90.0, 50.0, 40.0, look_at((0, 0, -1), (0, 0, -9))),
    ]
    points = frustum_points(apart, 300, seed=0)
    assert seen_by(apart, points.xyz).min() >= 1


def test_near_must_lie_before_far() -> None:
    with pytest.raises(DataError, match="0 < near < far"):
        frustum_points(cameras_on_arc(2), 10, seed=0, near=3.0, far=2.0)


def test_pairs_prefer_overlap_and_leave_out_cameras_that_look_away() -> None:
    cameras = cameras_on_arc(6, step_deg=8.0)
    away = Camera(320, 240, 300.0, 300.0, 160.0, 120.0, look_at((0, 0, 0), (0, 0, -4)))
    pairs = view_pairs([*cameras, away], per_camera=2)
    assert (0, 1) in pairs
    assert (0, 5) not in pairs
    assert not any(6 in pair for pair in pairs)
    assert all(a < b for a, b in pairs)
    # A camera at the end of the row is no one's but its neighbours'; each keeps two of its own.
    near = best_neighbours([*cameras, away], per_camera=2)
    assert [len(others) for others in near] == [2, 2, 2, 2, 2, 2, 0]
    assert near[0] == [1, 2]

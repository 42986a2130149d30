# SPDX-License-Identifier: Apache-2.0
"""Ways for a camera: all finite, looking where they should, smooth, through the cameras they were made from."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.geometry.quaternions import rotation_from_unit_quats
from sparse3d.render.camera_file import read_camera_file
from sparse3d.render.camera_path import (
    cameras_around,
    interpolate,
    look_at,
    look_at_point,
    orbit,
    quat_wxyz_from_matrix,
    slerp,
)

UP = np.array([0.2, -0.9, 0.1]) / np.linalg.norm([0.2, -0.9, 0.1])
TARGET = np.array([1.0, 2.0, 3.0])


def ring(degrees: list[float], *, radius: float = 4.0, height: float = 1.0, noise: float = 0.0) -> list[Camera]:
    """Cameras around TARGET, looking at it (with `noise` in world units), on a slanted ring."""
    rng = np.random.default_rng(5)
    right = np.cross(UP, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    ahead = np.cross(right, UP)
    cameras = []
    for i, degree in enumerate(degrees):
        a = math.radians(degree)
        eye = TARGET + radius * (math.sin(a) * right + math.cos(a) * ahead) + height * UP
        pose = look_at(eye, TARGET + rng.normal(size=3) * noise, UP)
        cameras.append(Camera(64, 48, 50.0, 50.0, 32.0, 24.0, pose, name=f"{i}"))
    return cameras


def centre_pixels(cameras: list[Camera], point: np.ndarray) -> np.ndarray:
    """[C,2] where `point` is seen; asserts that it is in front of every camera."""
    projected = [camera.project(point[None]) for camera in cameras]
    assert all(z[0] > 0 for _, z in projected)
    return np.stack([pixel[0] for pixel, _ in projected])


def assert_rigid(cameras: list[Camera]) -> None:
    for camera in cameras:
        rotation = camera.cam_from_world[:3, :3]
        assert np.isfinite(camera.cam_from_world).all()
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) > 0.99


def test_look_at_point_is_where_the_axes_meet() -> None:
    # The pull towards the point ahead is a thousandth of the axes' weight.
    assert np.allclose(look_at_point(ring([0, 50, 100, 200])), TARGET, atol=0.05)
    assert np.linalg.norm(look_at_point(ring(list(range(0, 360, 15)), noise=0.1)) - TARGET) < 0.1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_look_at_point_of_parallel_cameras_is_in_front(count: int) -> None:
    cameras = []
    for i in range(count):
        pose = np.eye(4)
        pose[0, 3] = -0.1 * i
        cameras.append(Camera(64, 48, 50.0, 50.0, 32.0, 24.0, pose))
    point = look_at_point(cameras)
    assert np.isfinite(point).all()
    assert point[2] > 0


def test_orbit_goes_all_around_where_photos_do() -> None:
    cameras = ring(list(range(0, 360, 30)))
    path = orbit(cameras, 36)
    assert_rigid(path)
    assert np.abs(centre_pixels(path, look_at_point(cameras)) - [32.0, 24.0]).max() < 1e-6
    steps = np.linalg.norm(np.diff([c.position for c in [*path, path[0]]], axis=0), axis=1)
    assert np.allclose(steps, steps[0]), "an even pace, closed"
    assert abs(np.median([np.linalg.norm(c.position - TARGET) for c in path]) - math.hypot(4.0, 1.0)) < 0.05
    assert all(-c.cam_from_world[1, :3] @ UP > 0.9 for c in path), "the right side up"


def test_orbit_stays_on_the_photographed_arc_and_returns() -> None:
    cameras = ring([0, 10, 25, 40])
    path = orbit(cameras, 41)
    assert_rigid(path)
    positions = np.stack([c.position for c in path])
    known = np.stack([c.position for c in ring(list(range(-1, 42)))])
    distances = np.linalg.norm(positions[:, None] - known[None], axis=2).min(axis=1)
    assert distances.max() < 0.1, "never where nobody was"
    assert np.linalg.norm(positions[0] - cameras[0].position) < 0.05
    assert np.linalg.norm(positions[20] - cameras[3].position) < 0.1, "half of the way is at the other end"
    assert np.abs(centre_pixels(path, look_at_point(cameras)) - [32.0, 24.0]).max() < 1e-6


def test_orbit_follows_the_distance_of_the_photos_smoothly() -> None:
    near, far = ring([0, 10, 20, 30], radius=3.0), ring([60, 70, 80, 90], radius=6.0)
    path = orbit(near + far, 80)
    assert_rigid(path)
    centre = look_at_point(near + far)
    distances = np.array([np.linalg.norm(c.position - centre) for c in path])
    assert abs(distances[0] - np.linalg.norm(near[0].position - centre)) < 0.3
    assert abs(distances[40] - np.linalg.norm(far[-1].position - centre)) < 0.3
    assert np.abs(np.diff(distances)).max() < 0.3, "a tenth of the difference a frame at most"


@pytest.mark.parametrize("degrees", [[0.0], [0.0, 0.0], [90.0, 90.0, 90.0]])
def test_orbit_of_one_place_swings_a_little(degrees: list[float]) -> None:
    path = orbit(ring(degrees), 10)
    assert_rigid(path)
    assert 0 < np.ptp([c.position for c in path], axis=0).max() < 1.0


def test_interpolate_passes_every_camera_smoothly() -> None:
    cameras = ring([0, 20, 50, 60, 100, 103], noise=0.1)
    path = interpolate(cameras, 400)
    assert_rigid(path)
    positions = np.stack([c.position for c in path])
    assert np.allclose(positions[0], cameras[0].position, atol=1e-6)
    assert np.allclose(positions[-1], cameras[-1].position, atol=1e-6)
    for camera in cameras:
        near = int(np.linalg.norm(positions - camera.position, axis=1).argmin())
        assert np.linalg.norm(positions[near] - camera.position) < 0.03
        assert np.trace(path[near].cam_from_world[:3, :3] @ camera.cam_from_world[:3, :3].T) > 3 - 1e-3
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    assert steps.max() < 5 * np.median(steps), "no jumps"


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_interpolate_of_one_and_of_equal_cameras(frames: int) -> None:
    for cameras in (ring([5.0]), ring([5.0, 5.0]), ring([5.0, 5.0, 30.0])):
        path = interpolate(cameras, frames)
        assert len(path) == frames
        assert_rigid(path)


def test_no_cameras_and_no_frames() -> None:
    for make in (orbit, interpolate):
        with pytest.raises(DataError, match="at least one camera"):
            make([], 3)
        with pytest.raises(DataError, match="at least 1 frame, asked for 0"):
            make(ring([0.0]), 0)


def test_quaternions_there_and_back() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        quat = rng.normal(size=4)
        quat /= np.linalg.norm(quat)
        again = quat_wxyz_from_matrix(rotation_from_unit_quats(quat))
        assert min(np.abs(again - quat).max(), np.abs(again + quat).max()) < 1e-9
    half_turn = np.array([0.0, 0.6, 0.8, 0.0])
    assert np.allclose(np.abs(quat_wxyz_from_matrix(rotation_from_unit_quats(half_turn))), np.abs(half_turn), atol=1e-9)


def test_slerp_takes_the_shorter_arc_at_an_even_pace() -> None:
    a = np.array([1.0, 0.0, 0.0, 0.0])
    b = -np.array([math.cos(0.3), math.sin(0.3), 0.0, 0.0])
    for u in (0.0, 0.25, 0.5, 1.0):
        assert np.allclose(slerp(a, b, u), [math.cos(0.3 * u), math.sin(0.3 * u), 0.0, 0.0])
    assert np.allclose(slerp(a, a, 0.5), a)


def test_look_straight_up_is_defined() -> None:
    pose = look_at(np.zeros(3), UP, UP)
    assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3))


def test_cameras_around_a_cloud_see_it_whole() -> None:
    rng = np.random.default_rng(4)
    points = rng.normal(size=(500, 3)) * 0.3 + [5.0, -2.0, 8.0]
    stray = np.concatenate([points, [[1e6, 0, 0], [np.inf, 0, 0]]])
    cameras = cameras_around(stray)
    assert_rigid(cameras)
    for camera in cameras:
        pixels, z = camera.project(points)
        inside = (pixels > 0).all(axis=1) & (pixels < [camera.width, camera.height]).all(axis=1) & (z > 0)
        assert inside.mean() > 0.95
        assert np.linalg.norm(camera.project(np.median(points, axis=0)[None])[0] - [480, 360]) < 5
    with pytest.raises(DataError, match="at least one splat"):
        cameras_around(np.full((3, 3), np.nan))


def test_paths_of_the_fox(shared_scene: Callable[[str], Path]) -> None:
    from sparse3d.load import SceneConfig, load_scene

    scene = load_scene(shared_scene("fox"), SceneConfig(max_side=240))
    cameras = [scene.cameras[i] for i in scene.train]
    target = look_at_point(cameras)
    path = orbit(cameras, 60)
    assert_rigid(path)
    pixels = centre_pixels(path, target)
    assert np.abs(pixels - [path[0].cx, path[0].cy]).max() < 1e-6
    # The fox was photographed from one side: the orbit must not go behind it.
    nearest = [min(np.linalg.norm(c.position - other.position) for other in cameras) for c in path]
    assert max(nearest) < scene.extent
    assert_rigid(interpolate(cameras, 60))


GOOD = {"width": 8, "height": 6, "fx": 5, "fy": 5, "cx": 4, "cy": 3, "cam_from_world": np.eye(4).tolist()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "camera 1: Camera 'camera 1': image size 0x6 is empty"),
        ({"fx": "wide"}, "camera 1: could not convert"),
        ({"cam_from_world": [[1, 0], [0, 1]]}, "camera 1: cam_from_world must be a finite 4x4"),
        ({"cam_from_world": (2 * np.eye(4)).tolist()}, "camera 1: cam_from_world must be"),
        ({"cam_from_world": np.diag([2.0, 1, 1, 1]).tolist()}, "camera 1: the upper left 3x3 .* is no rotation"),
        ({"cam_from_world": np.diag([-1.0, 1, 1, 1]).tolist()}, "camera 1: the upper left 3x3 .* is no rotation"),
    ],
)
def test_camera_files_that_cannot_be_used(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps({"cameras": [GOOD, GOOD]}))
    assert len(read_camera_file(path)) == 2
    path.write_text(json.dumps({"cameras": [GOOD, {**GOOD, **change}]}))
    with pytest.raises(DataError, match=message):
        read_camera_file(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cameras": []}', '{"cameras": [3]}', "\xff"])
def test_camera_files_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cameras.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"cameras\.json"):
        read_camera_file(path)

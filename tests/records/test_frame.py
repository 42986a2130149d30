# SPDX-License-Identifier: Apache-2.0
"""Frames: chosen by cameras or splats, the way in and the way back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.geometry.places import local_origin, near_origin
from sparse3d.records.frame import Frame, frame_of_cameras, frame_of_splats
from sparse3d.render.camera_file import read_camera_file
from sparse3d.splats import Splats


def ring(radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0), count: int = 8) -> list[Camera]:
    """Cameras on a circle that look at its centre."""
    cameras = []
    for angle in np.linspace(0.0, 2 * np.pi, count, endpoint=False):
        forward = -np.array([np.cos(angle), 0.2, np.sin(angle)])
        forward /= np.linalg.norm(forward)
        right = np.cross((0.0, 1.0, 0.0), forward)
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3] = right, np.cross(forward, right), forward
        pose[:3, 3] = -pose[:3, :3] @ (np.array(centre) - radius * forward)
        cameras.append(Camera(32, 24, 30.0, 30.0, 16.0, 12.0, pose))
    return cameras


def some_splats(scale: float = 1.0, shift: float = 0.0, count: int = 200) -> Splats:
    rng = np.random.default_rng(3)
    means = torch.from_numpy((rng.normal(size=(count, 3)) * scale + shift).astype(np.float32))
    log_scales = torch.full((count, 3), float(np.log(0.05 * scale)))
    return Splats(
        means, torch.full((count, 4), 0.5), log_scales, torch.zeros(count), torch.zeros(count, 1, 3),
        torch.zeros(count, 0, 3),
    )  # fmt: skip


@pytest.mark.parametrize("radius", [0.3, 1.0, 40.0, 700.0])
def test_ordinary_cameras_have_the_world_as_their_frame(radius: float) -> None:
    frame = frame_of_cameras(ring(radius, (3.0, -40.0, 100.0)))
    assert frame == Frame()
    assert frame.is_world
    camera = ring(radius)[0]
    assert frame.camera_in(camera) is camera
    assert frame.camera_out(camera) is camera
    splats = some_splats()
    assert torch.equal(frame.splats_in(splats).means, splats.means)
    assert torch.equal(frame.splats_out(splats).log_scales, splats.log_scales)


@pytest.mark.parametrize("radius", [1e-6, 1e-3, 0.1, 3e3, 1e7])
def test_a_scene_of_another_size_becomes_about_one_large(radius: float) -> None:
    frame = frame_of_cameras(ring(radius))
    assert np.log2(frame.scale) == round(np.log2(frame.scale))
    assert 0.9 < radius * frame.scale < 2.1


def test_cameras_side_by_side_go_by_how_far_they_are_apart() -> None:
    cameras = [replace(ring(1.0)[0], cam_from_world=np.eye(4)) for _ in range(3)]
    for k, camera in enumerate(cameras):
        camera.cam_from_world[0, 3] = 1e-3 * k
    assert 0.9 < 1e-3 * frame_of_cameras(cameras).scale < 2.1


def test_one_camera_is_not_scaled() -> None:
    assert frame_of_cameras(ring(1e-3)[:1]) == Frame()
    assert frame_of_cameras([]) == Frame()


@pytest.mark.parametrize(
    ("size", "middle", "expected"),
    [
        (1.0, (999.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        (1.0, (543210.26, 5432100.5, 87.4), (543210.0, 5432100.0, 87.0)),
        (1e-3, (2.12345, 0.0, -0.0001), (2.123, 0.0, 0.0)),
        (700.0, (4e5, 5e5, 0.0), (0.0, 0.0, 0.0)),
        (0.0, (5000.2, 0.0, 0.0), (5000.0, 0.0, 0.0)),
    ],
)
def test_far_scenes_have_a_local_origin_in_round_numbers(
    size: float, middle: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    found = local_origin(np.array(middle), size)
    assert found == expected
    assert not any(np.signbit(v) for v in found if v == 0.0)


def test_the_way_in_and_back_keeps_what_a_camera_sees() -> None:
    world = (543210.0, 5432100.0, 87.0)
    cameras = ring(2e-3, world)
    frame = frame_of_cameras(cameras)
    # Written as a file would have it, in the text's own digits.
    point = np.array([world[0] + 1e-4, world[1] - 2e-4, world[2] + 3e-4])
    for camera in cameras:
        inside = frame.camera_in(camera)
        seen, _ = inside.project(frame.points_in(point[None]).astype(np.float64))
        expected, _ = camera.project(point[None])
        np.testing.assert_allclose(seen, expected, atol=0.05)
        back = frame.camera_out(inside, (0.0, 0.0, 0.0))
        np.testing.assert_allclose(back.cam_from_world, camera.cam_from_world, atol=1e-8)
        about = frame.camera_out(inside)
        np.testing.assert_allclose(about.position + frame.origin, camera.position, atol=1e-8)


def test_splats_of_another_origin_come_to_the_same_place() -> None:
    frame = Frame((500_000.0, 10.0, 0.0), 1024.0)
    splats = replace(some_splats(1e-3), origin=(500_001.0, 10.0, 0.0))
    inside = frame.splats_in(splats)
    assert inside.origin == (0.0, 0.0, 0.0)
    np.testing.assert_allclose(inside.means.numpy(), (splats.means.double().numpy() + np.eye(3)[0]) * 1024, rtol=1e-6)
    np.testing.assert_allclose(inside.scales.numpy(), splats.scales.numpy() * 1024, rtol=1e-5)
    back = frame.splats_out(inside, splats.origin)
    assert back.origin == splats.origin
    np.testing.assert_allclose(back.means.numpy(), splats.means.numpy(), atol=2e-7)
    assert frame.splats_out(inside).origin == frame.origin


def test_the_frame_of_splats_brings_small_and_far_ones_near() -> None:
    assert frame_of_splats(some_splats()) == Frame()
    assert 0.25 < 1e-3 * frame_of_splats(some_splats(1e-3)).scale < 4.0
    far = some_splats(1.0, 1e5)
    frame = frame_of_splats(far)
    assert np.abs(np.subtract(frame.origin, 1e5)).max() < 1.0
    assert frame.splats_in(far).means.abs().max() < 6.0
    # Splats about an origin of their own are there already.
    near = replace(some_splats(), origin=(1e6, 0.0, 0.0))
    assert frame_of_splats(near) == Frame((1e6, 0.0, 0.0))


def test_double_positions_far_away_keep_their_places() -> None:
    exact = np.random.default_rng(1).normal(size=(50, 3)) + np.array([543210.25, 5432100.5, 87.0])
    means, origin = near_origin(exact)
    np.testing.assert_allclose(means.astype(np.float64) + origin, exact, atol=1e-6)
    assert near_origin(exact[:0])[1] == (0.0, 0.0, 0.0)


def test_a_camera_file_says_what_its_cameras_are_counted_from(tmp_path: Path) -> None:
    path = tmp_path / "cameras.json"
    entry = {"width": 8, "height": 6, "fx": 5, "fy": 5, "cx": 4, "cy": 3, "cam_from_world": np.eye(4).tolist()}
    path.write_text(json.dumps({"cameras": [entry]}), encoding="utf-8")
    assert read_camera_file(path)[0].origin == (0.0, 0.0, 0.0)
    path.write_text(json.dumps({"origin": [1, 2.5, 3], "cameras": [entry]}), encoding="utf-8")
    assert read_camera_file(path)[0].origin == (1.0, 2.5, 3.0)
    for wrong in ([1, 2], "here", [1, 2, None], [1, 2, 1e999]):
        path.write_text(json.dumps({"origin": wrong, "cameras": [entry]}), encoding="utf-8")
        with pytest.raises(DataError, match="origin"):
            read_camera_file(path)

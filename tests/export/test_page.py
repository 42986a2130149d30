# SPDX-License-Identifier: Apache-2.0
"""The first view, its reach and the poster of an exported page."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.export.first_view import best_photo, first_view, reach_of
from sparse3d.export.page import page_options, view_of_start
from sparse3d.formats.html.options import StartCamera
from sparse3d.render import render
from sparse3d.render.camera_path import look_at
from sparse3d.splats import Splats
from tests.formats.makers import make_splats

UP = np.array([0.0, -1.0, 0.0])


def ball(radius: float = 0.5, count: int = 3000) -> Splats:
    """Solid splats on a sphere around the origin."""
    points = np.random.default_rng(3).normal(size=(count, 3))
    points *= radius / np.linalg.norm(points, axis=1, keepdims=True)
    splats = make_splats(count, degree=0)
    return Splats(
        means=torch.from_numpy(points.astype(np.float32)),
        quats_wxyz=splats.quats_wxyz,
        log_scales=torch.full((count, 3), math.log(0.03)),
        logit_opacities=torch.full((count,), 4.0),
        sh0=splats.sh0,
        shN=splats.shN,
    )


def on_ring(azimuth: float, *, distance: float = 3.0, height: float = 0.0, at: tuple[float, ...] = (0, 0, 0)) -> Camera:
    """A camera around the vertical axis, `azimuth` degrees to the right of -z; y is down."""
    angle = math.radians(azimuth)
    eye = np.array([distance * math.sin(angle), -height, -distance * math.cos(angle)])
    pose = look_at(eye, np.array(at, dtype=np.float64), UP)
    return Camera(320, 240, 300.0, 300.0, 160.0, 120.0, pose, name=f"{azimuth:g}")


def test_the_best_photo_has_in_its_middle_what_all_photos_show() -> None:
    aside = [on_ring(-20, at=(1.0, 0.6, 0)), on_ring(0, at=(0.1, 0, 0)), on_ring(20, at=(-0.9, 0, 0))]
    assert best_photo(ball(), aside) == 1
    close_up = on_ring(5, distance=0.9, at=(0.0, -0.4, 0))
    assert best_photo(ball(), [close_up, on_ring(30), close_up]) == 1
    row = [on_ring(azimuth, distance=3.0 + 0.01 * azimuth) for azimuth in (-20, -10, 0, 10, 20)]
    assert best_photo(ball(), row) == 2, "about as good as the others, and in their middle"
    assert best_photo(ball(), [on_ring(10), on_ring(10)]) == 0


def test_the_view_turns_about_what_the_photos_look_at() -> None:
    cameras = [on_ring(azimuth, at=(0.15, 0.1, 0)) for azimuth in (-25, 0, 25)]
    view = first_view(ball(), cameras)
    assert view.camera.position == pytest.approx(tuple(cameras[view.photo].position))
    # On the ray to the point where the axes meet, at the depth of the ball's near side.
    towards = np.array(view.camera.target) - view.camera.position
    wanted = np.array((0.15, 0.1, 0.0)) - view.camera.position
    assert np.dot(towards, wanted) / np.linalg.norm(towards) / np.linalg.norm(wanted) == pytest.approx(1, abs=1e-5)
    assert 0.3 < np.linalg.norm(wanted) - np.linalg.norm(towards) < 0.6
    single = first_view(ball(), cameras[:1])
    assert np.linalg.norm(np.array(single.camera.target)) < 0.6


def test_reach_goes_as_far_as_the_photos_and_a_little_more() -> None:
    start = StartCamera((0.0, 0.0, -3.0), (0.0, 0.0, 0.0), (0.0, -1.0, 0.0), 50.0)
    cameras = [on_ring(0), on_ring(30, distance=2.0), on_ring(-10, height=1.0)]
    reach = reach_of(start, cameras)
    assert reach is not None
    assert reach.yaw is not None
    # A camera that stands to the right has turned to the left.
    assert reach.yaw[0] == pytest.approx(-30 - 8)
    assert reach.yaw[1] == pytest.approx(10 + 8)
    assert reach.pitch[0] < -math.degrees(math.atan(1 / 3))
    assert 0 < reach.pitch[1] < 15
    assert reach.distance[0] < 2.0
    assert reach.distance[1] > math.sqrt(10)


def test_reach_all_around_and_of_a_side() -> None:
    start = StartCamera((0.0, 0.0, -3.0), (0.0, 0.0, 0.0), (0.0, -1.0, 0.0), 50.0)
    around = reach_of(start, [on_ring(azimuth) for azimuth in range(0, 360, 45)])
    assert around is not None
    assert around.yaw is None
    # From 0 over the right and the back to 200 degrees.
    far = reach_of(start, [on_ring(azimuth) for azimuth in (0, 50, 100, 150, 200)])
    assert far is not None
    assert far.yaw == pytest.approx((-210, 10))


def test_no_reach_where_photos_look_elsewhere_or_the_view_is_upright() -> None:
    start = StartCamera((0.0, 0.0, -3.0), (0.0, 0.0, 0.0), (0.0, -1.0, 0.0), 50.0)
    outwards = [on_ring(azimuth, at=tuple(2 * on_ring(azimuth).position)) for azimuth in range(0, 360, 60)]
    assert reach_of(start, [on_ring(0), *outwards]) is None
    down = StartCamera((0.0, -3.0, 0.0), (0.0, 0.0, 0.0), (0.0, -1.0, 0.0), 50.0)
    assert reach_of(down, [on_ring(0)]) is None


def camera_at(x: float, roll: float) -> Camera:
    pose = np.eye(4)
    c, s = np.cos(roll), np.sin(roll)
    pose[:2, :2] = (c, -s), (s, c)
    pose[:3, 3] = (x, 0.7, 3.0)
    return Camera(300, 300, 350.0, 350.0, 150.0, 150.0, pose)


def test_the_square_view_is_upright() -> None:
    up = view_of_start(StartCamera((0.0, 0.0, 0.0), (0.0, -2.0, 0.0), (0.0, -1.0, 0.0)), 64)
    rotation = up.cam_from_world[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    level = view_of_start(StartCamera((1.0, 0.0, -2.0), (1.0, 0.0, 3.0), (0.0, -1.0, 0.0), 90.0), 64)
    np.testing.assert_allclose(level.cam_from_world[:3, :3], np.eye(3), atol=1e-12)
    assert level.fx == pytest.approx(32)


def test_a_page_of_a_run_opens_at_a_photo_upright() -> None:
    splats = make_splats(60)
    cameras = [camera_at(-0.3, 0.2), camera_at(0.1, -0.2)]
    page = page_options("Fox", splats, cameras)
    assert page.title == "Fox"
    assert page.camera is not None
    assert page.reach is not None
    assert page.camera.position in [pytest.approx(tuple(camera.position)) for camera in cameras]
    assert page.camera.up == pytest.approx((0.0, -np.cos(0.2), 0.0))
    assert page.poster is not None
    shown = np.asarray(Image.open(io.BytesIO(page.poster))) / 255.0
    expected = render(splats, view_of_start(page.camera, 640)).image.clamp(0, 1).numpy()
    assert shown.std() > 0.02
    assert np.abs(shown - expected).max() < 0.003


def test_cameras_that_do_not_agree_on_up_and_no_cameras() -> None:
    splats = make_splats(60)
    both = [camera_at(0.0, 0.0), camera_at(0.0, np.pi)]
    own = page_options("x", splats, both).camera
    assert own is not None
    assert own.up == pytest.approx((0.0, -1.0, 0.0))
    around = page_options("x", splats).camera
    assert around is not None
    assert around.up == (0.0, -1.0, 0.0)

# SPDX-License-Identifier: Apache-2.0
"""The first view and the poster of an exported page."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.export.page import page_options, view_of_start
from sparse3d.formats.html.options import StartCamera, start_of_camera
from sparse3d.render import render
from tests.formats.makers import make_splats


def camera_at(x: float, roll: float) -> Camera:
    pose = np.eye(4)
    c, s = np.cos(roll), np.sin(roll)
    pose[:2, :2] = (c, -s), (s, c)
    pose[:3, 3] = (x, 0.7, 3.0)
    return Camera(300, 300, 350.0, 350.0, 150.0, 150.0, pose)


def test_the_square_view_of_a_photo_is_the_photo_s() -> None:
    camera = camera_at(-0.3, 0.2)
    again = view_of_start(start_of_camera(camera, make_splats(50)), 300)
    np.testing.assert_allclose(again.cam_from_world, camera.cam_from_world, atol=1e-12)
    assert again.fx == pytest.approx(350)
    up = view_of_start(StartCamera((0.0, 0.0, 0.0), (0.0, -2.0, 0.0), (0.0, -1.0, 0.0)), 64)
    rotation = up.cam_from_world[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def test_a_page_of_a_run_opens_at_its_first_photo_upright() -> None:
    splats = make_splats(60)
    cameras = [camera_at(-0.3, 0.2), camera_at(0.1, -0.2)]
    page = page_options("Fox", splats, cameras)
    assert page.title == "Fox"
    assert page.camera is not None
    assert page.camera.position == pytest.approx(tuple(cameras[0].position))
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

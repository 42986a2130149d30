# SPDX-License-Identifier: Apache-2.0
"""Undistortion: agrees with OpenCV, leaves no border, and puts points where the pinhole camera says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sparse3d.camera import Camera
from sparse3d.photos.lenses import LENSES as ALL_LENSES
from sparse3d.photos.undistort import MAX_HALF_ANGLE_RAD, distort, is_distorted, pinhole_camera, remap, undistort_maps

LENSES = {
    "pincushion": (0.08, 0.02, 0.001, -0.002),
    "barrel": (-0.25, 0.06, 0.0005, 0.001),
    "rational": (0.1, -0.02, 0.001, 0.0, 0.01, 0.12, -0.01, 0.001),
    "fox": (0.0578421, -0.0805099, -0.000980296, 0.00015575),
}


def camera(distortion: tuple[float, ...], lens: str = "opencv", focal: float = 150.0) -> Camera:
    return Camera(200, 130, focal, focal * 1.02, 103.0, 61.5, np.eye(4), distortion=distortion, lens=lens)


@pytest.mark.parametrize("lens", LENSES)
def test_distort_agrees_with_opencv(lens: str) -> None:
    cam = camera(LENSES[lens])
    directions = np.random.default_rng(1).uniform(-0.5, 0.5, (50, 2))
    points = np.column_stack([directions, np.ones(50)])
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), cam.K, np.array(cam.distortion))
    np.testing.assert_allclose(distort(cam, directions), expected[:, 0], atol=1e-9)


def test_distort_agrees_with_opencv_fisheye() -> None:
    cam = camera((0.05, -0.01, 0.002, -0.0005), "fisheye")
    directions = np.random.default_rng(1).uniform(-1.5, 1.5, (50, 2))
    points = np.column_stack([directions, np.ones(50)])[None]
    expected, _ = cv2.fisheye.projectPoints(points, np.zeros(3), np.zeros(3), cam.K, np.array(cam.distortion))
    np.testing.assert_allclose(distort(cam, directions), expected[0], atol=1e-6)


@pytest.mark.parametrize("lens", LENSES)
def test_no_border_and_as_much_as_possible(lens: str) -> None:
    cam = camera(LENSES[lens])
    map_x, map_y, valid = undistort_maps(cam)
    assert valid is None
    pinhole = pinhole_camera(cam)
    assert (pinhole.width, pinhole.height, pinhole.cx, pinhole.cy) == (cam.width, cam.height, cam.cx, cam.cy)
    assert pinhole.fx / cam.fx == pytest.approx(pinhole.fy / cam.fy)
    assert not is_distorted(pinhole)
    # Some pixel's outer edge touches the photo's edge: a smaller focal length would show what is not there.
    left, right = map_x.min(), map_x.max() + 1 - cam.width
    top, bottom = map_y.min(), map_y.max() + 1 - cam.height
    assert min(left, top) > -0.7
    assert max(right, bottom) < 0.7
    assert min(abs(left), abs(right), abs(top), abs(bottom)) < 0.7


def dots(cam: Camera, rays: np.ndarray, width: float) -> np.ndarray:
    """A photo as the distorted camera takes it: white blobs around the images of rays, rendered pixel by pixel."""
    centres = distort(cam, rays)
    y, x = np.mgrid[0 : cam.height, 0 : cam.width] + 0.5
    image = np.zeros((cam.height, cam.width))
    for cx, cy in centres:
        image += 250 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2))
    return np.clip(image, 0, 255).astype(np.uint8)


# One of each other model, bent by several pixels within the picture.
OTHERS = {
    "radial4": (-0.12, 0.05, -0.01, 0.08, 0.001, -0.0005),
    "fisheye": (0.05, -0.01, 0.002, -0.0005),
    "fov": (0.9,),
    "thin_prism": (0.05, 0.01, 0.001, 0.002, 0.003, 0.001, 0.004, -0.003),
    "rad_tan_thin_prism": (0.05, 0.01, 0.002, 0.001, 0.0005, 0.0002, 0.001, 0.002, 0.004, 0.001, -0.003, 0.001),
    "division": (-0.2,),
    "eucm": (0.6, 1.1),
}


def test_every_lens_is_tried() -> None:
    assert set(OTHERS) | {"opencv"} == set(ALL_LENSES)


@pytest.mark.parametrize(
    "cam", [*(camera(k) for k in LENSES.values()), *(camera(k, lens) for lens, k in OTHERS.items())]
)
def test_points_land_where_the_pinhole_camera_says(cam: Camera) -> None:
    rays = np.array([[-0.4, -0.25], [0.45, 0.3], [0.0, 0.0], [0.4, -0.2], [-0.3, 0.3]])
    photo = dots(cam, rays, 2.0)
    map_x, map_y, _ = undistort_maps(cam)
    straight = remap(photo, map_x, map_y).astype(np.float64)
    pinhole = pinhole_camera(cam)
    expected = rays * [pinhole.fx, pinhole.fy] + [pinhole.cx, pinhole.cy]
    y, x = np.mgrid[0 : cam.height, 0 : cam.width] + 0.5
    for ex, ey in expected:
        near = straight * ((np.abs(x - ex) < 8) & (np.abs(y - ey) < 8))
        assert near.sum() > 1000
        found = (near * x).sum() / near.sum(), (near * y).sum() / near.sum()
        np.testing.assert_allclose(found, (ex, ey), atol=0.1)


def test_fisheye_is_cut_to_a_pinhole_field_of_view() -> None:
    # 180 degrees across: a pinhole picture of all of it would be infinitely wide.
    cam = Camera(200, 200, 64.0, 64.0, 100.0, 100.0, np.eye(4), lens="fisheye")
    pinhole = pinhole_camera(cam)
    assert pinhole.width / (2 * pinhole.fx) <= np.tan(MAX_HALF_ANGLE_RAD) + 1e-6
    _, _, valid = undistort_maps(cam)
    assert valid is None


def test_what_cannot_be_covered_is_masked() -> None:
    # A principal point outside of the photo: distortion moves the near edge off the photo at every focal length.
    cam = Camera(100, 80, 60.0, 60.0, -20.0, 40.0, np.eye(4), distortion=(-0.2,))
    _, _, valid = undistort_maps(cam)
    assert valid is not None
    assert 0.5 < valid.mean() < 0.999
    assert valid[:, 0].mean() < 0.5


def test_no_distortion_changes_nothing() -> None:
    cam = camera((0.0, 0.0))
    assert not is_distorted(cam)
    assert pinhole_camera(cam).fx == cam.fx

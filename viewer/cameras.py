# SPDX-License-Identifier: Apache-2.0
"""Between viser's cameras and ours. Both look along +z with y down; viser's page is drawn at a scale of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.formats.html.options import StartCamera
from sparse3d.render.camera_path import look_at, quat_wxyz_from_matrix

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """Where a browser looks from: `world_from_cam` [4,4] in the splats' world, vertical field of view in radians, and
    the size of its window in pixels."""

    world_from_cam: Vector
    fov: float
    width: int
    height: int


def seen_by(camera: Any, scale: float) -> Seen:
    """What a `viser.CameraHandle` sees; `scale`: units of the page in one unit of the splats' world."""
    pose = np.eye(4)
    pose[:3, :3] = matrix_of(np.asarray(camera.wxyz, dtype=np.float64))
    pose[:3, 3] = np.asarray(camera.position, dtype=np.float64) / scale
    return Seen(pose, float(camera.fov), max(1, int(camera.image_width)), max(1, int(camera.image_height)))


def camera_of(seen: Seen, pixels: int) -> Camera:
    """The camera of a picture of about `pixels` pixels, never more than the window has, in the window's shape."""
    share = min(1.0, math.sqrt(pixels / (seen.width * seen.height)))
    width, height = max(1, round(seen.width * share)), max(1, round(seen.height * share))
    focal = height / (2.0 * math.tan(seen.fov / 2.0))
    across = focal * (width * seen.height) / (height * seen.width)
    return Camera(width, height, across, focal, width / 2, height / 2, _inverse(seen.world_from_cam))


def fov_of(camera: Camera) -> float:
    """Its vertical field of view, radians."""
    return 2.0 * math.atan(camera.height / (2.0 * camera.fy))


def wxyz_of(camera: Camera) -> Vector:
    """[4] the rotation from the camera to the world, as viser takes it."""
    return quat_wxyz_from_matrix(camera.cam_from_world[:3, :3].T)


def matrix_of(wxyz: Vector) -> Vector:
    """[3,3] rotation of a quaternion of any non-zero length."""
    w, x, y, z = wxyz / np.linalg.norm(wxyz)
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def seen_at(start: StartCamera, width: int, height: int) -> Seen:
    """The first view of a page, in a window of that size."""
    position, target, up = (np.array(vector) for vector in (start.position, start.target, start.up))
    pose = _inverse(look_at(position, target, up))
    return Seen(pose, math.radians(start.fov), width, height)


def _inverse(pose: Vector) -> Vector:
    return np.linalg.inv(pose).astype(np.float64)

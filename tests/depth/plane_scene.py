# SPDX-License-Identifier: Apache-2.0
"""Photos of a textured plane whose every pixel is known: the truth for matching, triangulation and structure from
motion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.photos.photo import Photo
from sparse3d.photos.store import ImageStore
from sparse3d.records.scene import Scene

# The plane in the world: normal . x = offset. Tilted, so that it has depth in every view.
NORMAL = np.array([0.35, -0.2, 1.0]) / np.linalg.norm([0.35, -0.2, 1.0])
OFFSET = 4.0
WIDTH, HEIGHT, FOCAL = 320, 240, 300.0


def look_at(position: Sequence[float], target: Sequence[float] = (0.0, 0.0, 4.0)) -> NDArray[np.float64]:
    """cam_from_world of a camera at `position` that looks at `target`, y of the world down."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = -rotation @ np.asarray(position, np.float64)
    return out


def cameras_on_arc(count: int, step_deg: float = 6.0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[Camera]:
    angles = np.deg2rad(step_deg) * (np.arange(count) - (count - 1) / 2)
    width, height = size
    focal = FOCAL * width / WIDTH
    return [
        Camera(
            width,
            height,
            focal,
            focal,
            width / 2,
            height / 2,
            look_at((4 * np.sin(a), 0.2 * k % 0.5, 4 - 4 * np.cos(a))),
        )
        for k, a in enumerate(angles)
    ]


def texture(seed: int = 5, side: int = 1024) -> NDArray[np.uint8]:
    """Noise of several sizes, so that features exist at every scale."""
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side, 3), np.float32)
    for cells, weight in ((16, 0.5), (64, 0.8), (160, 1.0), (400, 0.7)):
        noise = rng.random((cells, cells, 3), dtype=np.float32)
        total += weight * cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    total -= total.min()
    return (255 * total / total.max()).astype(np.uint8)


def plane_axes() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Origin and the two directions that the texture's x and y run along."""
    across = np.cross([0.0, 1.0, 0.0], NORMAL)
    across /= np.linalg.norm(across)
    return OFFSET * NORMAL, across, np.cross(NORMAL, across)


def photograph(camera: Camera, picture: NDArray[np.uint8], extent: float = 4.0) -> NDArray[np.uint8]:
    """What the camera sees of the plane, whose texture spans -extent to extent in both directions."""
    origin, across, down = plane_axes()
    side = picture.shape[0]
    plane_from_texel = np.array([[2 * extent / side, 0, -extent], [0, 2 * extent / side, -extent], [0, 0, 1.0]])
    world = np.stack([across, down, origin], axis=1)
    pose = camera.cam_from_world
    image_from_plane = camera.K @ (pose[:3, :3] @ world + np.outer(pose[:3, 3], [0, 0, 1.0]))
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    H = np.linalg.inv(half) @ image_from_plane @ plane_from_texel @ half
    size = (camera.width, camera.height)
    seen = cv2.warpPerspective(picture, H, size, flags=cv2.INTER_AREA, borderValue=(90, 90, 90))
    return seen.astype(np.uint8, copy=False)


def write_scene(
    folder: Path, cameras: Sequence[Camera], train: Sequence[int], picture: NDArray[np.uint8] | None = None
) -> Scene:
    """PNG photos of the plane in `folder` and the scene of them with known cameras; the others test."""
    picture = texture() if picture is None else picture
    photos = []
    for k, camera in enumerate(cameras):
        path = folder / f"view_{k:02d}.png"
        cv2.imwrite(str(path), photograph(camera, picture)[:, :, ::-1])
        photos.append(Photo(path.name, path, camera, upright=True))
    test = tuple(i for i in range(len(cameras)) if i not in set(train))
    store = ImageStore(photos, cameras)
    names = tuple(p.name for p in photos)
    return Scene("plane", folder, names, tuple(cameras), store, tuple(train), test)


def distance_to_plane(points: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.abs(points @ NORMAL - OFFSET)

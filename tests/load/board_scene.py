# SPDX-License-Identifier: Apache-2.0
"""Photos of a board before the tilted plane of plane_scene, by casting a ray through every pixel: the truth for depth
where surfaces hide each other. The plane's texture has a blank piece, where nothing can be matched."""

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
from tests.depth import plane_scene

# The board stands square to z of the world.
BOARD_Z, BOARD_X, BOARD_Y = 2.8, (-0.55, 0.25), (-0.4, 0.35)
# The blank piece, in coordinates on the plane (`plane_scene.plane_axes`).
BLANK_X, BLANK_Y = (0.5, 1.0), (-0.35, 0.25)
_EXTENT = 6.0


def photograph(camera: Camera, seed: int = 5, scale: float = 1.0) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """rgb [H,W,3] and depth [H,W] of what the camera sees; scale: size of the world."""
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)
    ways = rays @ camera.world_from_cam[:3, :3].T
    position = camera.position / scale
    origin, across, down = plane_scene.plane_axes()
    far = (plane_scene.OFFSET - position @ plane_scene.NORMAL) / (ways @ plane_scene.NORMAL)
    at = position + far[..., None] * ways - origin
    x, y = at @ across, at @ down
    seen = _sampled(plane_scene.texture(seed, side=768), x, y)
    seen[(x > BLANK_X[0]) & (x < BLANK_X[1]) & (y > BLANK_Y[0]) & (y < BLANK_Y[1])] = (120, 130, 110)
    with np.errstate(divide="ignore"):
        near = (BOARD_Z - position[2]) / ways[..., 2]
    at = position + near[..., None] * ways
    x, y = at[..., 0], at[..., 1]
    board = (near > 0) & (x > BOARD_X[0]) & (x < BOARD_X[1]) & (y > BOARD_Y[0]) & (y < BOARD_Y[1])
    seen[board] = _sampled(255 - plane_scene.texture(seed + 1, side=768), x, y)[board]
    return seen, scale * np.where(board, near, far)


def _sampled(picture: NDArray[np.uint8], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The texture, which spans -6 to 6, at places [H,W]."""
    side = picture.shape[0]
    column, row = (((value + _EXTENT) * side / (2 * _EXTENT) - 0.5).astype(np.float32) for value in (x, y))
    pixels = cv2.remap(picture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return pixels.astype(np.uint8, copy=False)


def cameras(count: int, *, size: tuple[int, int] = (240, 180), scale: float = 1.0) -> list[Camera]:
    out = []
    for camera in plane_scene.cameras_on_arc(count, step_deg=6.0, size=size):
        pose = camera.cam_from_world.copy()
        pose[:3, 3] *= scale
        out.append(Camera(*size, camera.fx, camera.fy, camera.cx, camera.cy, pose))
    return out


def write_scene(
    folder: Path, views: Sequence[Camera], *, seeds: Sequence[int] | None = None, scale: float = 1.0
) -> Scene:
    """PNG photos in `folder` and their scene; all train. seeds: a world of its own for each photo."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = []
    for k, camera in enumerate(views):
        path = folder / f"view_{k:02d}.png"
        rgb, _ = photograph(camera, 5 if seeds is None else seeds[k], scale)
        cv2.imwrite(str(path), rgb[:, :, ::-1])
        photos.append(Photo(path.name, path, camera, upright=True))
    names = tuple(p.name for p in photos)
    store = ImageStore(photos, list(views))
    return Scene("board", folder, names, tuple(views), store, tuple(range(len(views))), ())


def distance_to_surfaces(points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance [N] of points [N,3] to the nearer of plane and board, and that surface's normal [N,3]."""
    points = points.astype(np.float64)
    plane = plane_scene.distance_to_plane(points)
    aside = np.stack(
        [
            np.maximum(np.maximum(low - points[:, axis], points[:, axis] - high), 0.0)
            for axis, (low, high) in enumerate((BOARD_X, BOARD_Y))
        ]
    )
    board = np.sqrt((points[:, 2] - BOARD_Z) ** 2 + (aside**2).sum(axis=0))
    normal = np.where((board < plane)[:, None], np.array([0.0, 0.0, 1.0]), plane_scene.NORMAL)
    return np.minimum(plane, board), normal

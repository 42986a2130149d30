# SPDX-License-Identifier: Apache-2.0
"""Points at random depths behind the parts of the photos that no other point explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.depth.hull import Hull
from sparse3d.errors import DataError
from sparse3d.records.points import Points
from sparse3d.sfm.frustum import near_far

# A guess whose depth is random: it makes the faintest of the first splats.
RANDOM_CONFIDENCE = 0.0
# Depths tried for a point that must lie inside the hull.
_TRIES = 16


@dataclass(frozen=True)
class FrustumGridConfig:
    """How finely the photos are looked through."""

    cell: float = 0.03
    """Side of a cell as a share of the photo's longer side; a cell without a point gets some."""
    per_cell: int = 3
    """Points that such a cell gets."""
    seed: int = 0


def frustum_grid(
    cameras: Sequence[Camera],
    photos: Sequence[NDArray[np.uint8]],
    points: Points,
    cfg: FrustumGridConfig | None = None,
    *,
    masks: Sequence[NDArray[np.bool_] | None] | None = None,
    hull: Hull | None = None,
) -> Points:
    """Points for each photo's cells that none of `points` falls in: random in the cell and in inverse depth, with the
    photo's colour there.

    photos: [H,W,3] bytes at the cameras' sizes. masks: [H,W]; a cell of which less than half is true gets no points.
    With a hull, only points inside it. near and far are those of `points`, else of the cameras (`near_far`), so
    everything comes from the photos given. The same input gives the same points. Raises DataError without a camera.
    """
    cfg = cfg or FrustumGridConfig()
    near, far = near_far(cameras, points)
    if not 0 < near < far:
        raise DataError(f"Points at random depths need 0 < near < far, found near {near:g} and far {far:g}")
    space = _Space(points.xyz, near, far, hull)
    rng = np.random.default_rng(cfg.seed)
    parts = [
        _behind(camera, photo, mask, space, cfg, rng)
        for camera, photo, mask in zip(cameras, photos, masks or [None] * len(cameras), strict=True)
    ]
    xyz, rgb, normal, radius = (np.concatenate(column).astype(np.float32) for column in zip(*parts))
    return Points(xyz, rgb, normal=normal, radius=radius, confidence=np.full(len(xyz), RANDOM_CONFIDENCE, np.float32))


@dataclass(frozen=True)
class _Space:
    """Where points may stand: between two depths and inside the hull, where there is one; known [N,3]: the points that
    are there already."""

    known: NDArray[np.float32]
    near: float
    far: float
    hull: Hull | None


def _behind(
    camera: Camera,
    rgb: NDArray[np.uint8],
    mask: NDArray[np.bool_] | None,
    space: _Space,
    cfg: FrustumGridConfig,
    rng: np.random.Generator,
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """xyz, rgb, normal, radius of one photo's points."""
    side = max(1.0, cfg.cell * max(camera.width, camera.height))
    empty = _empty_cells(camera, side, mask, space.known)
    down, across = empty.shape
    row, column = (np.repeat(index, cfg.per_cell) for index in np.nonzero(empty))
    x = (column + rng.random(len(column))) * camera.width / across
    y = (row + rng.random(len(row))) * camera.height / down
    tries = rng.random((1 if space.hull is None else _TRIES, len(x)))
    ray = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones_like(x)], axis=1)
    xyz, z, use = _first_inside(camera, ray, tries, space)
    size = max(1, round(0.5 * side))
    even = cv2.blur(rgb, (size, size))
    colour = even[y.astype(np.int64), x.astype(np.int64)] / 255.0
    normal = -(ray / np.linalg.norm(ray, axis=1, keepdims=True)) @ camera.world_from_cam[:3, :3].T
    radius = 0.5 * side / np.sqrt(cfg.per_cell) * z / camera.fx
    return xyz[use], colour[use], normal[use], radius[use]


def _empty_cells(
    camera: Camera, side: float, mask: NDArray[np.bool_] | None, known: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Cells [down, across] of about `side` pixels that no known point falls in and the mask does not leave out."""
    across, down = max(1, round(camera.width / side)), max(1, round(camera.height / side))
    xy, z = camera.project(known)
    inside = (z > 0) & (xy >= 0).all(axis=1) & (xy[:, 0] < camera.width) & (xy[:, 1] < camera.height)
    taken = np.zeros((down, across), bool)
    cells = np.floor(xy[inside] / (camera.width, camera.height) * (across, down)).astype(np.int64)
    taken[cells[:, 1], cells[:, 0]] = True
    if mask is not None:
        taken |= cv2.resize(mask.astype(np.float32), (across, down), interpolation=cv2.INTER_AREA) < 0.5
    return ~taken


def _first_inside(
    camera: Camera, ray: NDArray[np.float64], tries: NDArray[np.float64], space: _Space
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Positions [N,3] and depths [N] on the rays [N,3] (z = 1, in the camera's frame), and which [N] may stand: each
    ray's first try that lies in the hull. tries [T,N] in 0..1: even in inverse depth, 0 is far."""
    depth = 1.0 / (1.0 / space.far + tries * (1.0 / space.near - 1.0 / space.far))
    world = camera.position + (ray @ camera.world_from_cam[:3, :3].T) * depth[..., None]
    if space.hull is None:
        return world[0], depth[0], np.ones(len(ray), bool)
    held = space.hull.contains(world.reshape(-1, 3)).reshape(depth.shape)
    first, at = np.argmax(held, axis=0), np.arange(len(ray))
    return world[first, at], depth[first, at], np.asarray(held.any(axis=0))

# SPDX-License-Identifier: Apache-2.0
"""What the cameras alone say about the space they look at: near and far, who shares it, random points in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.records.points import Points

# Where two optical axes cross at less than this angle, the place of the crossing says nothing about a distance.
_CROSSING_MIN_DEG = 4.0
# Cameras side by side: the usual advice for such sets is a baseline of a tenth of the distance.
_DISTANCE_PER_BASE = 10.0
_NEAR_OF_FOCUS, _FAR_OF_FOCUS = 0.25, 4.0


def focus_distance(cameras: Sequence[Camera]) -> float:
    """Typical distance, in world units, from a camera to what it looks at.

    Where optical axes of two cameras converge, the depth of their closest approach; the median over pairs. Where none
    does, ten times the median distance to the nearest other camera. 1.0 for one camera or cameras at one place, where
    geometry says nothing. Raises DataError without a camera.
    """
    if not cameras:
        raise DataError("Cannot place near and far: the scene has no training camera")
    position = np.stack([c.position for c in cameras])
    axis = np.stack([c.cam_from_world[2, :3] for c in cameras])
    base = position[None, :, :] - position[:, None, :]
    cosine = np.clip(np.einsum("ik,jk->ij", axis, axis), -1.0, 1.0)
    along_i = np.einsum("ijk,ik->ij", base, axis)
    along_j = np.einsum("ijk,jk->ij", base, axis)
    sine2 = 1.0 - cosine**2
    steep = sine2 > np.sin(np.deg2rad(_CROSSING_MIN_DEG)) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        reach_i = (along_i - cosine * along_j) / sine2
        reach_j = (cosine * along_i - along_j) / sine2
    ahead = steep & (reach_i > 0) & (reach_j > 0)
    if ahead.sum() >= max(2, len(cameras) // 2):
        return float(np.median(reach_i[ahead]))
    distance = np.linalg.norm(base, axis=2)
    distance[distance < 1e-9] = np.inf
    nearest = distance.min(axis=1)
    nearest = nearest[np.isfinite(nearest)]
    return float(np.median(nearest)) * _DISTANCE_PER_BASE if len(nearest) else 1.0


def near_far(cameras: Sequence[Camera], points: Points | None = None) -> tuple[float, float]:
    """Depths between which the scene lies, in world units, from training cameras and their points only.

    With at least 20 points in view: the 1st and 99th percentile of their depths, widened to 0.8 and 1.25 times.
    Without: a quarter and four times the focus distance.
    """
    if points is not None and len(points):
        depths = [z[_inside(camera, xy, z)] for camera in cameras for xy, z in [camera.project(points.xyz)]]
        all_depths = np.concatenate(depths)
        if len(all_depths) >= 20:
            low, high = np.quantile(all_depths, [0.01, 0.99])
            return float(0.8 * low), float(1.25 * high)
    focus = focus_distance(cameras)
    return _NEAR_OF_FOCUS * focus, _FAR_OF_FOCUS * focus


def frustum_points(
    cameras: Sequence[Camera], count: int, seed: int, *, near: float | None = None, far: float | None = None
) -> Points:
    """`count` random grey points in the space that the training cameras share, uniform in inverse depth.

    At least half of the cameras, and at least two, must see a point. Where the cameras share too little space for that,
    two must see it, or in the end one: then the points fill a slab of each frustum. Raises DataError without a camera.
    """
    low, high = near_far(cameras)
    low, high = near if near is not None else low, far if far is not None else high
    if not 0 < low < high:
        raise DataError(f"Random points need 0 < near < far, found near {low:g} and far {high:g}")
    demands = sorted({max(2, (len(cameras) + 1) // 2), 2, 1}, reverse=True) if len(cameras) > 1 else [1]
    rng = np.random.default_rng(seed)
    for demand in demands:
        kept: list[NDArray[np.float64]] = []
        have, tried = 0, 0
        while have < count and tried < 40 * max(count, 256):
            draw = max(1024, 2 * (count - have))
            tried += draw
            which = rng.integers(len(cameras), size=draw)
            u, v, w = rng.random((3, draw))
            depth = 1.0 / ((1.0 - w) / low + w / high)
            points = np.empty((draw, 3))
            for index, camera in enumerate(cameras):
                mine = which == index
                z = depth[mine]
                x = (u[mine] * camera.width - camera.cx) / camera.fx * z
                y = (v[mine] * camera.height - camera.cy) / camera.fy * z
                back = camera.world_from_cam
                points[mine] = np.stack([x, y, z], axis=1) @ back[:3, :3].T + back[:3, 3]
            good = points[seen_by(cameras, points) >= demand]
            kept.append(good)
            have += len(good)
        if have >= count:
            xyz = np.concatenate(kept)[:count].astype(np.float32) if kept else np.zeros((0, 3), np.float32)
            return Points(xyz, np.full_like(xyz, 0.5))
    raise DataError(f"No room to place {count} random points in front of {len(cameras)} cameras")


def seen_by(cameras: Sequence[Camera], points: NDArray[np.floating]) -> NDArray[np.int64]:
    """Number of cameras [N] in whose image each world point [N,3] falls."""
    count = np.zeros(len(points), np.int64)
    for camera in cameras:
        xy, z = camera.project(points)
        count += _inside(camera, xy, z)
    return count


def _inside(camera: Camera, xy: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (z > 0) & (xy[:, 0] >= 0) & (xy[:, 0] <= camera.width) & (xy[:, 1] >= 0) & (xy[:, 1] <= camera.height)


def view_pairs(cameras: Sequence[Camera], per_camera: int) -> list[tuple[int, int]]:
    """Pairs (i < j) of cameras that probably see the same things: each camera with its `best_neighbours`. Sorted."""
    near = enumerate(best_neighbours(cameras, per_camera))
    return sorted({(min(i, j), max(i, j)) for i, others in near for j in others})


def best_neighbours(cameras: Sequence[Camera], per_camera: int) -> list[list[int]]:
    """For each camera the others that probably see the same things, the best first, at most `per_camera` of them.

    A pair's score is the share of one frustum (sampled at half, once and twice the focus distance) that the other
    sees, times a preference for rays that cross at about 10 degrees: smaller angles place points badly, at larger ones
    descriptors do not match.
    """
    focus = focus_distance(cameras)
    grid = (np.arange(6) + 0.5) / 6
    u, v, d = (g.ravel() for g in np.meshgrid(grid, grid, focus * np.array([0.5, 1.0, 2.0]), indexing="ij"))
    count = len(cameras)
    score = np.zeros((count, count))
    for i, camera in enumerate(cameras):
        x = (u * camera.width - camera.cx) / camera.fx * d
        y = (v * camera.height - camera.cy) / camera.fy * d
        back = camera.world_from_cam
        world = np.stack([x, y, d], axis=1) @ back[:3, :3].T + back[:3, 3]
        ray_i = world - camera.position
        ray_i /= np.linalg.norm(ray_i, axis=1, keepdims=True)
        for j, other in enumerate(cameras):
            if i == j:
                continue
            xy, z = other.project(world)
            ray_j = world - other.position
            ray_j /= np.maximum(np.linalg.norm(ray_j, axis=1, keepdims=True), 1e-300)
            angle = np.degrees(np.arccos(np.clip((ray_i * ray_j).sum(axis=1), -1.0, 1.0)))
            preference = np.exp(-0.5 * (np.log(np.maximum(angle, 1e-3) / 10.0) / 0.9) ** 2)
            score[i, j] = np.where(_inside(other, xy, z), preference, 0.0).mean()
    score = score + score.T
    best = [np.argsort(-row, kind="stable")[:per_camera] for row in score]
    return [[int(j) for j in near if score[i, j] > 1e-3] for i, near in enumerate(best)]

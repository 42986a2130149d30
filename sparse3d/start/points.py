# SPDX-License-Identifier: Apache-2.0
"""The points that training begins with where there is no dense depth: given, triangulated, or random ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.records.points import Points
from sparse3d.records.scene import Scene
from sparse3d.sfm.frustum import frustum_points, near_far
from sparse3d.sfm.triangulate import TriangulateConfig, triangulate_points

# Fewer triangulated points than this do not carry a scene: as many random ones are added as there would be without any.
_POINTS_MIN = 200
_RANDOM_COUNT = 10_000


def initial_points(
    scene: Scene,
    cfg: TriangulateConfig | None = None,
    workdir: Path | None = None,
    progress: Callable[[str, float], None] | None = None,
    *,
    seed: int = 0,
) -> tuple[Points, str]:
    """The points, and a sentence for the user that says where they come from.

    Given points if the scene has them and its cameras are given too; else points triangulated from the training photos
    with the known poses, together with those of structure from motion. If those are fewer than 200, random points in
    the space that the training cameras share are added. Raises DataError without a training photo.
    """
    if not scene.train:
        raise DataError("Cannot place initial points: the scene has no training photo")
    if scene.points is not None and len(scene.points) and scene.camera_source == "given":
        return scene.points, f"{len(scene.points):,} given points"
    found = sparse_points(scene, cfg, workdir, progress)
    photos = f"{len(scene.train)} training photo{'s' if len(scene.train) != 1 else ''}"
    sentence = f"points triangulated from {photos}"
    if scene.points is not None and len(scene.points):
        sentence = f"points from structure from motion and triangulation of {photos}"
    have = 0 if found is None else len(found)
    if found is not None and have >= _POINTS_MIN:
        return found, f"{have:,} {sentence}"
    random = _random_points(scene, found, seed)
    if found is None or have == 0:
        why = "one photo alone" if len(scene.train) == 1 else f"no feature of {photos} could be placed in space"
        return random, f"{len(random):,} random points in the common frustum of the training cameras ({why})"
    both = _joined(found, random)
    return both, f"{have:,} {sentence}, too few alone: {len(random):,} random points in the common frustum added"


def sparse_points(
    scene: Scene,
    cfg: TriangulateConfig | None = None,
    workdir: Path | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Points | None:
    """Points triangulated from the training photos; if the cameras come from structure from motion, together with its
    points, as few can be triangulated from photos far apart. None if there are neither."""
    found = triangulate_points(scene, cfg, workdir, progress)
    if scene.points is None or len(scene.points) == 0 or scene.camera_source == "given":
        return found
    return scene.points if found is None else _joined(found, scene.points)


def _joined(a: Points, b: Points) -> Points:
    return Points(np.concatenate([a.xyz, b.xyz]), np.concatenate([a.rgb, b.rgb]))


def _random_points(scene: Scene, found: Points | None, seed: int) -> Points:
    """Random points with the mean colour of the training photos that see them."""
    cameras = [scene.cameras[i] for i in scene.train]
    near, far = near_far(cameras, found)
    points = frustum_points(cameras, _RANDOM_COUNT, seed, near=near, far=far)
    total = np.zeros((len(points), 3))
    seen = np.zeros(len(points))
    for i, camera in zip(scene.train, cameras, strict=True):
        rgb = scene.images.rgb8(i)
        xy, z = camera.project(points.xyz)
        column, row = np.floor(xy[:, 0]).astype(np.int64), np.floor(xy[:, 1]).astype(np.int64)
        inside = (z > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
        total[inside] += rgb[row[inside], column[inside]] / 255.0
        seen += inside
    colour: NDArray[np.float64] = np.where(seen[:, None] > 0, total / np.maximum(seen, 1.0)[:, None], 0.5)
    return Points(points.xyz, colour.astype(np.float32))

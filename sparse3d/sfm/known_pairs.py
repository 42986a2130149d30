# SPDX-License-Identifier: Apache-2.0
"""The user's own matches between training photos with known poses: those that the epipolar geometry confirms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.photos.undistort import undistort
from sparse3d.records.scene import Scene
from sparse3d.sfm.two_view import GuidedOptions, explained

# Sightings in the same cell of this many to a pixel are one: a corner that several pairs matched then has one place.
_CELLS_PER_PX = 4.0


@dataclass(frozen=True)
class KnownPairs:
    """xy: sightings [N,2] in each training photo, in pixels of the working cameras. pairs: (i, j), positions in
    scene.train. matched: for each pair the index pairs [M,2] into xy[i] and xy[j], and their points [M,3] in the
    world."""

    xy: tuple[NDArray[np.float64], ...]
    pairs: tuple[tuple[int, int], ...]
    matched: tuple[tuple[NDArray[np.int32], NDArray[np.float64]], ...]


def known_pairs(scene: Scene, cameras: Sequence[Camera], options: GuidedOptions) -> KnownPairs:
    """`scene.matches` between training photos, seen by `cameras` (pinhole, one a training photo, any size): a match
    stays if one point in front of both photos explains it within the band. Empty if the scene has none."""
    position = {scene.names[index]: k for k, index in enumerate(scene.train)}
    xy: list[list[NDArray[np.float64]]] = [[] for _ in cameras]
    total = [0] * len(cameras)
    pairs, matched = [], []
    for pair in scene.matches.pairs if scene.matches is not None else ():
        i, j = position.get(pair.a, -1), position.get(pair.b, -1)
        if i < 0 or j < 0:
            continue
        own = [scene.images.source_size(scene.train[k]) for k in (i, j)]
        seen = [
            _through(scene, k, cameras[k], pixels) for k, pixels in zip((i, j), pair.pixels(*own, *own), strict=True)
        ]
        points, ok = explained(seen[0], seen[1], cameras[i], cameras[j], options)
        rows = np.flatnonzero(ok)
        index = np.stack([total[i] + np.arange(len(rows)), total[j] + np.arange(len(rows))], axis=1)
        for k, found in zip((i, j), seen, strict=True):
            xy[k].append(found[rows])
            total[k] += len(rows)
        pairs.append((i, j))
        matched.append((index.astype(np.int32), points[rows]))
    joined = tuple(_gathered(np.concatenate(parts)) if parts else np.zeros((0, 2)) for parts in xy)
    return KnownPairs(joined, tuple(pairs), tuple(matched))


def _gathered(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every sighting [N,2] moved to the first one in its cell."""
    _, first, cell = np.unique(np.rint(xy * _CELLS_PER_PX), axis=0, return_index=True, return_inverse=True)
    return xy[first[cell.reshape(-1)]]


def _through(scene: Scene, k: int, camera: Camera, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the working camera sees pixels of the photo's file; NaN where it does not see them."""
    source = scene.images.photo(scene.train[k]).camera
    assert source is not None, "load_scene gives every photo a camera"
    ray = undistort(source, pixels)
    out = ray * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    outside = ~((out > 0).all(axis=1) & (out[:, 0] < camera.width) & (out[:, 1] < camera.height))
    out[outside] = np.nan
    return out

# SPDX-License-Identifier: Apache-2.0
"""Nearest neighbours, exact, by OpenCV's single kd-tree (one thread, so the same bits every time)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# FLANN_INDEX_KDTREE_SINGLE; checks -1 searches until the answer is exact.
_KDTREE_SINGLE = 4


def nearest_distances(points: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """[N,count] distances from each of the points [N,3] to its nearest others, ascending.

    With too few others the last distance is repeated; for a single point all are 0.
    """
    number = len(points)
    have = min(count, number - 1)
    if have < 1:
        return np.zeros((number, count))
    _, squared = _search(points, have + 1)
    # The first hit of each point is the point itself or one at the same place: distance 0 either way.
    distance = np.sqrt(np.maximum(np.asarray(squared, np.float64)[:, 1:], 0.0))
    return np.concatenate([distance] + [distance[:, -1:]] * (count - have), axis=1)


def nearest_rows(points: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """[N,count] row numbers of the nearest others of each of the points [N,3], nearest first.

    With too few others the last is repeated; a single point has itself.
    """
    number = len(points)
    have = min(count, number - 1)
    if have < 1:
        return np.zeros((number, count), np.int64)
    hits, _ = _search(points, have + 1)
    # One hit a point is left out: the point itself, or the last where many at the same place hide it.
    is_self = hits == np.arange(number)[:, None]
    is_self[~is_self.any(axis=1), -1] = True
    rows = hits[~is_self].reshape(number, have).astype(np.int64)
    return np.concatenate([rows] + [rows[:, -1:]] * (count - have), axis=1)


def _search(points: NDArray[np.float32], count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Rows and squared distances [N,count] of the nearest points of each, itself among them."""
    # Centred so that float32 keeps small distances between points far from the origin.
    centred = np.ascontiguousarray(points - points.mean(axis=0, dtype=np.float64), dtype=np.float32)
    settings = {"algorithm": _KDTREE_SINGLE, "leaf_max_size": 10}
    # OpenCV 5 ships no type of it.
    index = cv2.flann_Index(centred, settings)  # pyright: ignore[reportAttributeAccessIssue]
    return index.knnSearch(centred, count, params={"checks": -1, "sorted": True})

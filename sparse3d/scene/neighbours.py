# SPDX-License-Identifier: Apache-2.0
"""Distances to nearest neighbours, exact, by OpenCV's single kd-tree (one thread, so the same bits every time)."""

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
    # Centred so that float32 keeps small distances between points far from the origin.
    centred = np.ascontiguousarray(points - points.mean(axis=0, dtype=np.float64), dtype=np.float32)
    settings = {"algorithm": _KDTREE_SINGLE, "leaf_max_size": 10}
    # OpenCV 5 ships no type of it.
    index = cv2.flann_Index(centred, settings)  # pyright: ignore[reportAttributeAccessIssue]
    _, squared = index.knnSearch(centred, have + 1, params={"checks": -1, "eps": 0.0, "sorted": True})
    # The first hit of each point is the point itself or one at the same place: distance 0 either way.
    distance = np.sqrt(np.maximum(np.asarray(squared, np.float64)[:, 1:], 0.0))
    return np.concatenate([distance] + [distance[:, -1:]] * (count - have), axis=1)

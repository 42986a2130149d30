# SPDX-License-Identifier: Apache-2.0
"""From matches to depth maps: which depth is sure, what is filled in, and with how much confidence."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.depth.depth_map import DepthMap
from sparse3d.depth.fill import fill_edge_aware
from sparse3d.depth.matched import Matched, sure_pixels

# The highest confidence of a filled pixel: far below that of a matched one.
FILLED_CONFIDENCE = 0.1


def depth_maps(matches: Mapping[int, Matched]) -> dict[int, DepthMap]:
    """A depth map for each matched photo. Matched pixels that other photos confirm have a confidence from 0.3 to 1;
    the others are filled in along the photo's surfaces, with a confidence of at most 0.1."""
    return {index: _depth_map(found) for index, found in matches.items()}


def _depth_map(found: Matched) -> DepthMap:
    w = found.planes[..., 0]
    sure = sure_pixels(found)
    quality = np.exp(-np.maximum(found.planes[..., 3], 0.0))
    confidence = np.where(sure, np.clip(0.3 + 0.7 * quality * np.minimum(found.agreeing, 2) / 2, 0.0, 1.0), 0.0)
    filled, arrived = fill_edge_aware(w, confidence.astype(np.float32), found.rgb)
    known = filled > 0
    inverse = np.where(sure, w, filled)
    depth = np.where(known, 1.0 / np.where(known, inverse, 1.0), 0.0)
    low = FILLED_CONFIDENCE * np.clip(arrived / 0.5, 0.0, 1.0)
    confidence = np.where(sure, confidence, np.where(known, low, 0.0))
    normal = _normals(found, sure, inverse) * known[..., None]
    return DepthMap(
        found.image.camera, depth.astype(np.float32), confidence.astype(np.float32), normal.astype(np.float32)
    )


def _normals(found: Matched, sure: NDArray[np.bool_], inverse: NDArray[np.float32]) -> NDArray[np.float64]:
    """Unit normals [H,W,3]: of the matched plane where it is sure, else of the filled inverse depth."""
    camera = found.image.camera
    gy, gx = np.gradient(cv2.GaussianBlur(inverse.astype(np.float32), (0, 0), 2.0))
    gx, gy = np.where(sure, found.planes[..., 1], gx), np.where(sure, found.planes[..., 2], gy)
    safe = np.maximum(inverse, 1e-12)
    sx = np.clip(gx * camera.fx / safe, -4.0, 4.0)
    sy = np.clip(gy * camera.fy / safe, -4.0, 4.0)
    x = ((np.arange(camera.width) + 0.5 - camera.cx) / camera.fx)[None, :]
    y = ((np.arange(camera.height) + 0.5 - camera.cy) / camera.fy)[:, None]
    normal = np.stack([-sx, -sy, sx * x + sy * y - 1.0], axis=-1)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)

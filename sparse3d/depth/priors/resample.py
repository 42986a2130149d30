# SPDX-License-Identifier: Apache-2.0
"""Maps of a photo as it is on disk, seen through the scene's pinhole camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.photos.photo import Photo
from sparse3d.photos.undistort import distort, is_distorted

# As for masks: how much the width/height ratios of map and photo may differ.
_SHAPE_SLACK = 0.02


def map_camera(camera: Camera, photo: Photo, width: int, height: int, path: Path) -> Camera:
    """The scene's `camera` at the size of a map of width x height, but not larger than it is. Raises DataError if the
    map does not have the photo's shape."""
    source = photo.camera
    assert source is not None, "load_scene gives every photo a camera"
    if abs(width * source.height - height * source.width) > _SHAPE_SLACK * source.width * height:
        raise DataError(
            f"{path}: is {width}x{height} pixels, but photo {photo.name} is {source.width}x{source.height}: the shapes "
            "differ, so it is not a map of the whole photo (cropped, padded or turned)"
        )
    scale = min(1.0, width / camera.width, height / camera.height)
    return camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))


def through_camera(values: NDArray[np.float32], photo: Photo, camera: Camera) -> NDArray[np.float32]:
    """`values` [h,w,...], a map of the whole photo at any size, at the pixels of the pinhole `camera` [H,W,...]: the
    nearest value, as a mean across an edge would be a depth where nothing is. NaN outside the photo."""
    source = photo.camera
    assert source is not None, "load_scene gives every photo a camera"
    height, width = values.shape[:2]
    x = (np.arange(camera.width) + 0.5) / camera.width
    y = (np.arange(camera.height) + 0.5) / camera.height
    if not is_distorted(source):
        rows, columns = (y * height).astype(np.int64), (x * width).astype(np.int64)
        return values[rows[:, None], columns[None, :]]
    out = np.full((camera.height, camera.width, *values.shape[2:]), np.nan, np.float32)
    ray_x = (x * camera.width - camera.cx) / camera.fx
    for row in range(camera.height):
        ray_y = ((row + 0.5) - camera.cy) / camera.fy
        pixels = distort(source, np.stack([ray_x, np.full(camera.width, ray_y)], axis=1))
        at_x, at_y = pixels[:, 0] / source.width, pixels[:, 1] / source.height
        inside = (at_x >= 0) & (at_x < 1) & (at_y >= 0) & (at_y < 1)
        column, line = (at_x[inside] * width).astype(np.int64), (at_y[inside] * height).astype(np.int64)
        out[row, inside] = values[line, column]
    return out

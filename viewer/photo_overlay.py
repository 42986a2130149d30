# SPDX-License-Identifier: Apache-2.0
"""A photo laid over the picture drawn from the place where it was taken: a wipe between both, or their difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.viewer.modes import ramp  # pyright: ignore[reportMissingImports]

_Pixels = NDArray[np.uint8]
# How far from the photo's place, as a share of the scene's size, a view still stands there.
_SAME_PLACE = 1e-3
# The error, of 255, at which the colours of the difference end.
_MOST_ERROR = 64.0


@dataclass(frozen=True)
class Photo:
    """pixels [H,W,3] of the photo that `camera` took."""

    name: str
    camera: Camera
    pixels: _Pixels


def stands_at(photo: Photo, camera: Camera, size: float) -> bool:
    """Whether `camera` is where the photo was taken, wherever it looks; `size` of the scene in world units."""
    return bool(np.linalg.norm(photo.camera.position - camera.position) <= _SAME_PLACE * size)


def laid_over(photo: Photo, camera: Camera) -> tuple[_Pixels, NDArray[np.bool_]]:
    """(the photo as `camera` at its place would see it [H,W,3], where there is photo [H,W])."""
    import cv2

    turned = camera.cam_from_world[:3, :3] @ photo.camera.cam_from_world[:3, :3].T
    # Our pixel centres are at +0.5, OpenCV's at whole numbers.
    half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    here, there = np.linalg.inv(half) @ camera.K, np.linalg.inv(half) @ photo.camera.K
    mapping = here @ turned @ np.linalg.inv(there)
    size = (camera.width, camera.height)
    pixels = cv2.warpPerspective(photo.pixels, mapping, size, flags=cv2.INTER_LINEAR)
    covered = cv2.warpPerspective(
        np.full(photo.pixels.shape[:2], 255, np.uint8), mapping, size, flags=cv2.INTER_NEAREST
    )
    ahead = turned[2, 2] > 0
    return np.asarray(pixels, dtype=np.uint8), (np.asarray(covered) > 0) & ahead


def wiped(image: _Pixels, photo: Photo, camera: Camera, share: float) -> _Pixels:
    """The picture with the photo left of `share` (0..1) of its width, and a line between them."""
    pixels, covered = laid_over(photo, camera)
    edge = round(share * camera.width)
    left = np.arange(camera.width) < edge
    out = np.where((covered & left)[..., None], pixels, image)
    if 0 < edge < camera.width:
        out[:, edge - 1 : edge + 1] = 255
    return out


def difference(image: _Pixels, photo: Photo, camera: Camera) -> _Pixels:
    """The mean error of the channels as a colour, up to 64 of 255; dark where there is no photo."""
    pixels, covered = laid_over(photo, camera)
    errors = np.abs(pixels.astype(np.float64) - image).mean(axis=2)
    colours = ramp((errors / _MOST_ERROR).clip(0.0, 1.0))
    return np.where(covered[..., None], colours, image * 0.25).round().astype(np.uint8)

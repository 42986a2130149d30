# SPDX-License-Identifier: Apache-2.0
"""From a distorted photo to a pinhole one, once, when it is read.

The pinhole camera has the photo's size and principal point; both focal lengths are multiplied by one factor, the
smallest with which every pixel lies on the photo, so that no black border is trained on. Thus the picture keeps its
aspect ratio, and a resize to a given size does not depend on the distortion. What a very wide lens sees beyond
MAX_HALF_ANGLE_RAD is cut off: a pinhole picture cannot show it without wasting its pixels on the corners.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.photos.lenses import LENSES

# Half the field of view, along the longer side, that a fisheye picture is cut to.
MAX_HALF_ANGLE_RAD = math.radians(60.0)
# Limits of the focal length's factor: beyond the upper one too little of the photo would be left.
MIN_ZOOM, MAX_ZOOM = 0.25, 2.0
# Bisection steps: 2 / 2^20 of a focal length is below a hundredth of a pixel in any photo.
_BISECTIONS = 20
_NEWTON_STEPS = 12


@dataclass(frozen=True)
class Optics:
    """A camera without its pose: all that decides how its photo is undistorted. Hashable, as thousands of photos may
    share it."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...]
    lens: str

    @staticmethod
    def of(camera: Camera) -> Optics:
        return Optics(
            camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, camera.distortion, camera.lens
        )

    def at_origin(self) -> Camera:
        """The camera with these optics whose axes are the world's."""
        return Camera(
            self.width, self.height, self.fx, self.fy, self.cx, self.cy, np.eye(4),
            distortion=self.distortion, lens=self.lens,
        )  # fmt: skip


def distort(camera: Camera, normalised: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the photo shows pinhole directions: (x/z, y/z) [N,2] -> photo pixels [N,2], centres at +0.5.

    NaN where the lens shows nothing from that direction. The models: see `lenses`.
    """
    lens = LENSES[camera.lens]
    xd, yd = lens.bend(normalised[:, 0], normalised[:, 1], lens.padded(camera.distortion))
    return np.stack([camera.fx * xd + camera.cx, camera.fy * yd + camera.cy], axis=1)


def undistort(camera: Camera, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The reverse of `distort`: photo pixels [N,2], centres at +0.5 -> pinhole directions (x/z, y/z) [N,2]. NaN where
    the lens model has no direction for a pixel."""
    out = (pixels - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
    if not is_distorted(camera):
        return out
    # Newton's method; lens models are smooth, so a difference quotient is as good as the derivative.
    step = 1e-6
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for _ in range(_NEWTON_STEPS):
            at = distort(camera, out)
            across = (distort(camera, out + np.array([step, 0.0])) - at) / step
            down = (distort(camera, out + np.array([0.0, step])) - at) / step
            off = at - pixels
            det = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
            x = (off[:, 0] * down[:, 1] - off[:, 1] * down[:, 0]) / det
            y = (across[:, 0] * off[:, 1] - across[:, 1] * off[:, 0]) / det
            out = out - np.stack([x, y], axis=1)
        wrong = ~(np.abs(distort(camera, out) - pixels).max(axis=1) < 0.01)
    return np.where(wrong[:, None], np.nan, out)


def is_distorted(camera: Camera) -> bool:
    return camera.lens != "opencv" or any(abs(k) > 0 for k in camera.distortion)


def pinhole_camera(camera: Camera) -> Camera:
    """The camera of the undistorted photo (see the top of the file); the same camera where there is no distortion."""
    if not is_distorted(camera):
        return replace(camera, distortion=(), lens="opencv")
    zoom = _zoom(Optics.of(camera))
    return replace(camera, fx=camera.fx * zoom, fy=camera.fy * zoom, distortion=(), lens="opencv")


@lru_cache(maxsize=256)
def _zoom(optics: Optics) -> float:
    """Factor of the focal lengths: the smallest with which the whole pinhole picture lies on the photo."""
    camera = optics.at_origin()
    low = MIN_ZOOM
    if LENSES[camera.lens].wide:
        longer = max(camera.width / camera.fx, camera.height / camera.fy)
        low = max(low, longer / (2 * math.tan(MAX_HALF_ANGLE_RAD)))
    high = max(MAX_ZOOM, low)
    # If no factor fills the frame, the focal length stays and what is missing is masked out.
    zoom = max(1.0, low)
    if _border_is_valid(camera, low):
        zoom = low
    elif _border_is_valid(camera, high):
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if _border_is_valid(camera, middle) else (middle, high)
        zoom = high
    return zoom


def undistort_maps(camera: Camera) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_] | None]:
    """For each pixel of the pinhole picture, x and y in the photo for cv2.remap [H,W], and which of them lie on the
    photo (None: all do)."""
    pinhole = pinhole_camera(camera)
    if not is_distorted(camera):
        raise DataError(f"camera {camera.name!r} has no distortion to remove")
    x = (np.arange(camera.width) + 0.5 - pinhole.cx) / pinhole.fx
    y = (np.arange(camera.height) + 0.5 - pinhole.cy) / pinhole.fy
    map_x = np.empty((camera.height, camera.width), np.float32)
    map_y = np.empty_like(map_x)
    valid = np.ones(map_x.shape, np.bool_)
    for row, value in enumerate(y):
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            pixels = distort(camera, np.stack([x, np.full(camera.width, value)], axis=1).astype(np.float64))
        valid[row] = _on_photo(camera, pixels)
        # OpenCV counts pixel centres from 0.
        map_x[row], map_y[row] = pixels[:, 0] - 0.5, pixels[:, 1] - 0.5
        if not valid[row].all():
            # What the lens does not show has no place; the mask leaves it out.
            for placed in (map_x[row], map_y[row]):
                placed[~np.isfinite(placed)] = 0.0
    return map_x, map_y, None if valid.all() else valid


def remap(
    pixels: NDArray[np.uint8], map_x: NDArray[np.float32], map_y: NDArray[np.float32], *, shrinks: bool = False
) -> NDArray[np.uint8]:
    """Pixels [H,W,C] or [H,W] seen through the maps.

    Cubic, because linear interpolation blurs. Linear, which takes a third of the time, where the picture is averaged
    down to half its size or less afterwards (`shrinks`): then the blur of half a pixel does not show.
    """
    how = cv2.INTER_LINEAR if shrinks else cv2.INTER_CUBIC
    out = cv2.remap(pixels, map_x, map_y, how, borderMode=cv2.BORDER_REPLICATE)
    return out.astype(np.uint8, copy=False)


def _on_photo(camera: Camera, pixels: NDArray[np.float64]) -> NDArray[np.bool_]:
    # A hundredth of a pixel of slack, or the outermost samples of an undistorted photo would fail by rounding.
    slack = 0.01
    x, y = pixels[:, 0], pixels[:, 1]
    return (x >= -slack) & (x <= camera.width + slack) & (y >= -slack) & (y <= camera.height + slack)


def _border_is_valid(camera: Camera, zoom: float) -> bool:
    """Whether the whole border of the pinhole picture lies on the photo, inside the range where the lens model is one
    to one (a fitted polynomial folds back far outside of the photo it was fitted to)."""
    w, h = float(camera.width), float(camera.height)
    t = np.linspace(0.0, 1.0, 65)
    zero, one = np.zeros_like(t), np.ones_like(t)
    border = np.concatenate([
        np.stack([t * w, zero], 1), np.stack([t * w, one * h], 1),
        np.stack([zero, t * h], 1), np.stack([one * w, t * h], 1),
    ])  # fmt: skip
    ray = (border - [camera.cx, camera.cy]) / [camera.fx * zoom, camera.fy * zoom]
    # A lens that was fitted badly may overflow far outside; that is no picture either.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if not _on_photo(camera, distort(camera, ray)).all():
            return False
    radius = float(np.linalg.norm(ray, axis=1).max())
    r = np.linspace(0.0, radius, 257)
    radial = LENSES[camera.lens].radial_only(camera.distortion)
    along = replace(camera, distortion=radial, fx=1.0, fy=1.0, cx=0.0, cy=0.0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        bent = distort(along, np.stack([r, np.zeros_like(r)], axis=1))[:, 0]
        return bool((np.diff(bent) > 0).all())

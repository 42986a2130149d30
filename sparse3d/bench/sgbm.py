# SPDX-License-Identifier: Apache-2.0
"""Depth by OpenCV's StereoSGBM (Hirschmueller 2008), to compare with: each pair rectified, the median of the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.kernels.cpu.mvs import DepthRange

# The values of OpenCV's own sample programs for colour pictures.
_BLOCK = 5
_SMALL_JUMP, _LARGE_JUMP = 8 * 3 * _BLOCK**2, 32 * 3 * _BLOCK**2
# Rectified pictures are this many times as wide and high as their photos, at the photos' focal length: turned by half
# the angle between the cameras, a photo covers more.
_CANVAS = 1.5
# Cameras that look farther apart than this cannot be rectified: an edge of the photo would lie behind the common plane.
_ANGLE_MAX_DEG = 60.0
_DISPARITIES_MAX = 1024


def sgbm_depth(
    cameras: Sequence[Camera], photos: Sequence[NDArray[np.uint8]], index: int, span: DepthRange
) -> NDArray[np.float32]:
    """Depth [H,W] of photo `index` (0: none), the median over its pairs with every other photo.

    photos [H,W,3] at the cameras' sizes; span: the depths that are searched.
    """
    found = []
    for other, camera in enumerate(cameras):
        apart = np.linalg.norm(camera.position - cameras[index].position) > 1e-9
        if other != index and apart and _angle_deg(cameras[index], camera) <= _ANGLE_MAX_DEG:
            found.append(_pair_depth(cameras[index], camera, photos[index], photos[other], span))
    if not found:
        return np.zeros(photos[index].shape[:2], np.float32)
    depths = np.stack(found)
    known = (depths > 0).any(axis=0)
    middle = np.nanmedian(np.where(depths > 0, depths, np.nan)[:, known], axis=0)
    out = np.zeros(depths.shape[1:], np.float32)
    out[known] = middle
    return out


def _pair_depth(
    a: Camera, b: Camera, photo_a: NDArray[np.uint8], photo_b: NDArray[np.uint8], span: DepthRange
) -> NDArray[np.float64]:
    """Depth [H,W] of photo a (0: none) from its pair with b."""
    pair = _rectified(a, b, photo_a, photo_b)
    return _depth_on_rays(a, pair, _inverse_depth(pair, span))


@dataclass(frozen=True)
class _RectifiedPair:
    """Two photos turned so that a point lies on the same row of both; `upright`: on the same column, and both pictures
    are transposed. turn [3,3] from a's camera to the rectified one, P [3,4] of the rectified a, size (width, height).
    The disparity of a point at inverse depth w is scale * w + offset."""

    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    upright: bool
    turn: NDArray[np.float64]
    P: NDArray[np.float64]
    size: tuple[int, int]
    scale: float
    offset: float


def _rectified(a: Camera, b: Camera, photo_a: NDArray[np.uint8], photo_b: NDArray[np.uint8]) -> _RectifiedPair:
    relative = b.cam_from_world @ a.world_from_cam
    lenses = [_centred(a), _centred(b)]
    size, straight = (a.width, a.height), np.zeros(5)
    # Each picture around its own middle: cameras that look at one thing would have little in common otherwise.
    turn_a, turn_b, P_a, P_b = cv2.stereoRectify(
        lenses[0], straight, lenses[1], straight, size, relative[:3, :3], relative[:3, 3:], flags=0, alpha=-1
    )[:4]
    size_out = (round(a.width * _CANVAS), round(a.height * _CANVAS))
    for P in (P_a, P_b):
        P[0, 2] += (size_out[0] - a.width) / 2
        P[1, 2] += (size_out[1] - a.height) / 2
    pictures = []
    for lens, turn, P, photo in ((lenses[0], turn_a, P_a, photo_a), (lenses[1], turn_b, P_b, photo_b)):
        maps = cv2.initUndistortRectifyMap(lens, None, turn, P[:, :3], size_out, cv2.CV_32FC1)
        pictures.append(cv2.remap(photo, maps[0], maps[1], cv2.INTER_LINEAR))
    upright = abs(P_b[1, 3]) > abs(P_b[0, 3])
    if upright:
        pictures = [np.ascontiguousarray(p.transpose(1, 0, 2)) for p in pictures]
    axis = 1 if upright else 0
    scale, offset = -float(P_b[axis, 3]), float(P_a[axis, 2] - P_b[axis, 2])
    turn, P = np.asarray(turn_a, np.float64), np.asarray(P_a, np.float64)
    return _RectifiedPair((pictures[0], pictures[1]), upright, turn, P, size_out, scale, offset)


def _inverse_depth(pair: _RectifiedPair, span: DepthRange) -> NDArray[np.float64]:
    """Inverse depth at the pixels of the rectified a (0: none), in the frame of the rectified camera."""
    ends = sorted((pair.scale * span.w_far + pair.offset, pair.scale * span.w_near + pair.offset))
    lowest = int(np.floor(ends[0]))
    count = int(min(-(-(np.ceil(ends[1]) - lowest + 1) // 16) * 16, _DISPARITIES_MAX))
    matcher = cv2.StereoSGBM.create(
        minDisparity=lowest, numDisparities=count, blockSize=_BLOCK, P1=_SMALL_JUMP, P2=_LARGE_JUMP, disp12MaxDiff=1,
        uniquenessRatio=10, speckleWindowSize=100, speckleRange=2, mode=cv2.STEREO_SGBM_MODE_HH,
    )  # fmt: skip
    # OpenCV leaves out the columns from which the search would run off the other picture, on the right for disparities
    # below zero and on the left for those above: the pictures get that many more as a margin.
    margin = max(abs(lowest), abs(lowest + count))
    wide = [cv2.copyMakeBorder(p, 0, 0, margin, margin, cv2.BORDER_CONSTANT) for p in pair.pictures]
    disparity = matcher.compute(*wide)[:, margin:-margin].astype(np.float64) / 16.0
    valid = disparity > lowest - 0.5
    w = np.where(valid, (disparity - pair.offset) / pair.scale, 0.0)
    return w.T if pair.upright else w


def _depth_on_rays(a: Camera, pair: _RectifiedPair, w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Depth [H,W] in a's own frame: every pixel of the photo looks up what was found on its ray."""
    u, v = np.meshgrid(np.arange(a.width), np.arange(a.height))
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(_centred(a)).T @ pair.turn.T
    before = rays[..., 2] > 0
    rays[..., 2] = np.where(before, rays[..., 2], 1.0)
    column = np.rint(pair.P[0, 0] * rays[..., 0] / rays[..., 2] + pair.P[0, 2]).astype(np.int64)
    row = np.rint(pair.P[1, 1] * rays[..., 1] / rays[..., 2] + pair.P[1, 2]).astype(np.int64)
    inside = before & (column >= 0) & (column < pair.size[0]) & (row >= 0) & (row < pair.size[1])
    out = np.zeros((a.height, a.width))
    found = w[row[inside], column[inside]]
    out[inside] = np.where(found > 0, 1.0 / np.where(found > 0, found, 1.0), 0.0) / rays[..., 2][inside]
    return out


def _angle_deg(a: Camera, b: Camera) -> float:
    return float(np.rad2deg(np.arccos(np.clip(a.cam_from_world[2, :3] @ b.cam_from_world[2, :3], -1.0, 1.0))))


def _centred(camera: Camera) -> NDArray[np.float64]:
    """K with the centre of the top-left pixel at (0, 0), as OpenCV has it."""
    K = camera.K.copy()
    K[:2, 2] -= 0.5
    return K

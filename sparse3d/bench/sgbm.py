# SPDX-License-Identifier: Apache-2.0
"""Depth by OpenCV's StereoSGBM (Hirschmueller 2008), to compare with: rectified pair by pair, the pairs' median."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera

# The values of OpenCV's own sample programs for colour pictures.
_BLOCK = 5
_SMALL_JUMP, _LARGE_JUMP = 8 * 3 * _BLOCK**2, 32 * 3 * _BLOCK**2
# Rectified pictures are so many times as wide and high as their photos, at the photos' focal length: turned by half
# the angle between the cameras, a photo covers more.
_CANVAS = 1.5
# Cameras that look farther apart than this cannot be rectified: an edge of the photo would lie behind the common plane.
_ANGLE_MAX_DEG = 60.0
_DISPARITIES_MAX = 1024


def sgbm_depth(
    cameras: Sequence[Camera], photos: Sequence[NDArray[np.uint8]], index: int, w_far: float, w_near: float
) -> NDArray[np.float32]:
    """Depth [H,W] of photo `index` (0: none), the median over its pairs with every other photo.

    photos [H,W,3] at the cameras' sizes; w_far, w_near: inverse depths, 1 / world units, between which is searched.
    """
    found = []
    for other, camera in enumerate(cameras):
        apart = np.linalg.norm(camera.position - cameras[index].position) > 1e-9
        if other != index and apart and _angle_deg(cameras[index], camera) <= _ANGLE_MAX_DEG:
            found.append(_pair_depth(cameras[index], camera, photos[index], photos[other], w_far, w_near))
    if not found:
        return np.zeros(photos[index].shape[:2], np.float32)
    depths = np.stack(found)
    known = (depths > 0).any(axis=0)
    middle = np.nanmedian(np.where(depths > 0, depths, np.nan)[:, known], axis=0)
    out = np.zeros(depths.shape[1:], np.float32)
    out[known] = middle
    return out


def _pair_depth(
    a: Camera, b: Camera, photo_a: NDArray[np.uint8], photo_b: NDArray[np.uint8], w_far: float, w_near: float
) -> NDArray[np.float64]:
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
    # x_a - x_b = scale * w + offset.
    axis = 1 if upright else 0
    scale, offset = -float(P_b[axis, 3]), float(P_a[axis, 2] - P_b[axis, 2])
    ends = sorted((scale * w_far + offset, scale * w_near + offset))
    lowest = int(np.floor(ends[0]))
    count = int(min(-(-(np.ceil(ends[1]) - lowest + 1) // 16) * 16, _DISPARITIES_MAX))
    matcher = cv2.StereoSGBM.create(
        minDisparity=lowest, numDisparities=count, blockSize=_BLOCK, P1=_SMALL_JUMP, P2=_LARGE_JUMP, disp12MaxDiff=1,
        uniquenessRatio=10, speckleWindowSize=100, speckleRange=2, mode=cv2.STEREO_SGBM_MODE_HH,
    )  # fmt: skip
    # With disparities below zero the right side of the picture would be searched beyond its end, and the left side with
    # those above: OpenCV leaves these columns out, so the pictures get them as a margin.
    margin = max(abs(lowest), abs(lowest + count))
    wide = [cv2.copyMakeBorder(p, 0, 0, margin, margin, cv2.BORDER_CONSTANT) for p in pictures]
    disparity = matcher.compute(*wide)[:, margin:-margin].astype(np.float64) / 16.0
    valid = disparity > lowest - 0.5
    w = np.where(valid, (disparity - offset) / scale, 0.0)
    if upright:
        w = w.T
    # Every pixel of the photo looks up what was found on its ray.
    u, v = np.meshgrid(np.arange(a.width), np.arange(a.height))
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(lenses[0]).T @ turn_a.T
    before = rays[..., 2] > 0
    rays[..., 2] = np.where(before, rays[..., 2], 1.0)
    column = np.rint(P_a[0, 0] * rays[..., 0] / rays[..., 2] + P_a[0, 2]).astype(np.int64)
    row = np.rint(P_a[1, 1] * rays[..., 1] / rays[..., 2] + P_a[1, 2]).astype(np.int64)
    inside = before & (column >= 0) & (column < size_out[0]) & (row >= 0) & (row < size_out[1])
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

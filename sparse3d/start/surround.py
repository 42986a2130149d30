# SPDX-License-Identifier: Apache-2.0
"""A guess at what lies just outside the photos, so that a view from between them does not end at a black edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.depth.depth_map import DepthMap
from sparse3d.records.points import Points

# Confidence of a guess: no photo shows it.
GUESSED_CONFIDENCE = 0.01
# A point is hidden by a surface if it lies this many times deeper.
_BEHIND = 1.05
# Depth at the photo's edge is blurred by this standard deviation before it is carried outwards.
_DEPTH_BLUR_PX = 6.0


@dataclass(frozen=True)
class SurroundConfig:
    """How far and how finely the photos are continued."""

    margin: float = 0.4
    """As a share of the photo's longer side (0: nothing is guessed)."""
    spacing_px: float = 6.0
    """Distance between the points."""


def surround(
    maps: Mapping[int, DepthMap],
    photos: Mapping[int, NDArray[np.uint8]],
    cfg: SurroundConfig | None = None,
) -> Points:
    """Points beyond each photo's edge: the edge's colour, more blurred the farther out, at the edge's depth.

    photos: [H,W,3] bytes at the maps' sizes. A point that another photo would see, because it does not lie behind the
    surface there, is left out: that photo knows better what is there.
    """
    cfg = cfg or SurroundConfig()
    parts: list[tuple[NDArray, ...]] = []
    earlier: list[tuple[Camera, int]] = []
    for index, found in maps.items():
        part = _outside(found, photos[index], cfg)
        if len(part[0]):
            keep = np.ones(len(part[0]), bool)
            for other in maps.values():
                keep &= ~_visible(part[0], other)
            # Where an earlier photo was continued already, two guesses would only mix.
            for camera, margin in earlier:
                keep &= ~_within(camera, margin, part[0])
            parts.append(tuple(column[keep] for column in part))
        earlier.append((found.camera, int(cfg.margin * max(found.depth.shape))))
    columns = [np.concatenate(c).astype(np.float32) for c in zip(*parts)] if parts else None
    if columns is None:
        empty = np.zeros((0, 3), np.float32)
        return Points(empty, empty, normal=empty, radius=empty[:, 0], confidence=empty[:, 0])
    xyz, rgb, normal, radius = columns
    return Points(xyz, rgb, normal=normal, radius=radius, confidence=np.full(len(xyz), GUESSED_CONFIDENCE, np.float32))


def _visible(xyz: NDArray[np.float64], found: DepthMap) -> NDArray[np.bool_]:
    """Whether the photo of the map would show each point [N,3]."""
    camera = found.camera
    xy, z = camera.project(xyz)
    column, row = np.floor(xy[:, 0]).astype(np.int64), np.floor(xy[:, 1]).astype(np.int64)
    inside = (z > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    out = inside.copy()
    depth = found.depth[row[inside], column[inside]]
    out[inside] = (depth <= 0) | (z[inside] < _BEHIND * depth)
    return out


def _within(camera: Camera, margin: int, xyz: NDArray[np.float64]) -> NDArray[np.bool_]:
    xy, z = camera.project(xyz)
    x, y = xy[:, 0], xy[:, 1]
    return (z > 0) & (x >= -margin) & (y >= -margin) & (x <= camera.width + margin) & (y <= camera.height + margin)


def _outside(found: DepthMap, rgb: NDArray[np.uint8], cfg: SurroundConfig) -> tuple[NDArray, ...]:
    """xyz, rgb, normal, radius of a grid of pixels around the photo."""
    camera, (height, width) = found.camera, found.depth.shape
    margin = cfg.margin * max(width, height)
    steps = np.arange(0.5 * cfg.spacing_px, margin, cfg.spacing_px)
    x, y = (
        np.concatenate([-steps[::-1], np.arange(0.5 * cfg.spacing_px, side, cfg.spacing_px), side + steps])
        for side in (width, height)
    )
    u, v = (grid.ravel() for grid in np.meshgrid(x, y))
    away = np.maximum(np.maximum(-u, u - width), np.maximum(-v, v - height))
    u, v, away = u[away > 0], v[away > 0], away[away > 0]
    column = np.clip(u, 0, width - 1).astype(np.int64)
    row = np.clip(v, 0, height - 1).astype(np.int64)
    known = (found.depth > 0).astype(np.float32)
    inverse = np.where(found.depth > 0, 1.0 / np.maximum(found.depth, 1e-12), 0.0).astype(np.float32)
    weight = cv2.GaussianBlur(known, (0, 0), _DEPTH_BLUR_PX)[row, column]
    edge = cv2.GaussianBlur(inverse, (0, 0), _DEPTH_BLUR_PX)[row, column]
    use = (weight > 1e-3) & (edge > 0)
    u, v, away, column, row = u[use], v[use], away[use], column[use], row[use]
    z = (weight[use] / edge[use]).astype(np.float64)
    colour = np.zeros((len(u), 3), np.float32)
    for low, high, sigma in ((0, 16, 4.0), (16, 48, 12.0), (48, np.inf, 30.0)):
        mine = (away > low) & (away <= high)
        blurred = cv2.GaussianBlur(rgb, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        colour[mine] = blurred[row[mine], column[mine]] / 255.0
    back = camera.world_from_cam
    cam = np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], axis=1)
    ray = -cam / np.linalg.norm(cam, axis=1, keepdims=True)
    return cam @ back[:3, :3].T + back[:3, 3], colour, ray @ back[:3, :3].T, 0.7 * cfg.spacing_px * z / camera.fx

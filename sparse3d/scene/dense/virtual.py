# SPDX-License-Identifier: Apache-2.0
"""Virtual photos between the cameras: the photos' sure pixels carried to where nobody stood (MVPGS, Xu et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.scene.dense.depth import FILLED_CONFIDENCE
from sparse3d.scene.depth_map import DepthMap
from sparse3d.scene.extra_view import ExtraView

# Of two points in one pixel those within this share of the nearer depth are blended, the others are hidden.
_SAME_SURFACE = 0.01
# A picture of which less than this share is known teaches little.
_KNOWN_MIN = 0.2


def virtual_views(
    maps: Mapping[int, DepthMap], photos: Mapping[int, NDArray[np.uint8]], count: int
) -> tuple[ExtraView, ...]:
    """At most `count` views on the way from each camera to its nearest others, evenly spread over the pairs.

    photos: [H,W,3] bytes at the maps' sizes. A pixel counts where a sure pixel of a photo lands, and not at the edge
    of a hole. The same input gives the same views.
    """
    indices = list(maps)
    pairs = _pairs([maps[i].camera for i in indices])
    if not pairs or count < 1:
        return ()
    each = -(-count // len(pairs))
    views = []
    for step in range(each):
        for a, b in pairs:
            if len(views) == count:
                return tuple(views)
            camera = _between(maps[indices[a]].camera, maps[indices[b]].camera, (step + 1) / (each + 1))
            view = _warped(camera, maps, photos)
            if view.weight.mean() >= _KNOWN_MIN:
                views.append(view)
    return tuple(views)


def _pairs(cameras: list[Camera]) -> list[tuple[int, int]]:
    """Every camera with its two nearest others, each pair once."""
    position = np.stack([c.position for c in cameras])
    distance = np.linalg.norm(position[:, None] - position[None], axis=2)
    found = set()
    for i in range(len(cameras)):
        near = [int(j) for j in np.argsort(distance[i], kind="stable") if j != i and distance[i, j] > 1e-9]
        found.update((min(i, j), max(i, j)) for j in near[:2])
    return sorted(found)


def _between(a: Camera, b: Camera, share: float) -> Camera:
    """On the straight line between the two centres, turned by the same share; size and focal length of `a`."""
    turn, _ = cv2.Rodrigues(b.cam_from_world[:3, :3] @ a.cam_from_world[:3, :3].T)
    rotation = cv2.Rodrigues(turn * share)[0] @ a.cam_from_world[:3, :3]
    centre = (1.0 - share) * a.position + share * b.position
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = -rotation @ centre
    return replace(a, cam_from_world=pose, name="")


def _warped(camera: Camera, maps: Mapping[int, DepthMap], photos: Mapping[int, NDArray[np.uint8]]) -> ExtraView:
    h, w = camera.height, camera.width
    away = {index: float(np.linalg.norm(found.camera.position - camera.position)) for index, found in maps.items()}
    nearest_camera = max(min(away.values()), 1e-12)
    landed = []
    for index, found in maps.items():
        pixel, z, rgb, share = _landed(camera, found, photos[index])
        # The nearer photo shows the surface from more nearly the same side.
        landed.append((pixel, z, rgb, share, share / (1.0 + away[index] / nearest_camera)))
    pixel, z, rgb, share, weight = (np.concatenate(column) for column in zip(*landed))
    nearest = np.full(h * w, np.inf)
    np.minimum.at(nearest, pixel, z)
    front = z <= nearest[pixel] * (1.0 + _SAME_SURFACE)
    pixel, rgb, share, weight = pixel[front], rgb[front], share[front], weight[front]
    total = np.bincount(pixel, weight, minlength=h * w)
    image = np.stack([np.bincount(pixel, weight * rgb[:, c], minlength=h * w) for c in range(3)], axis=1)
    known = np.bincount(pixel, share, minlength=h * w) > 0.2
    image = np.where(known[:, None], image / np.maximum(total, 1e-9)[:, None], 0.0).reshape(h, w, 3)
    # What lies behind shows through the gaps of a surface that was carried closer: such pixels do not count.
    depth = np.where(known, nearest, 0.0).reshape(h, w).astype(np.float32)
    around = cv2.erode(np.where(depth > 0, depth, np.float32(1e30)), np.ones((5, 5), np.uint8))
    solid = known.reshape(h, w) & (depth <= 1.03 * np.minimum(around, np.float32(1e30)))
    solid = cv2.erode(solid.astype(np.uint8), np.ones((3, 3), np.uint8))
    return ExtraView(camera, image.astype(np.float32), solid.astype(np.float32))


def _landed(camera: Camera, found: DepthMap, rgb: NDArray[np.uint8]) -> tuple[NDArray, ...]:
    """Pixel number, depth, colour and every sure pixel's share in each of the four pixels around where it lands."""
    own = found.camera
    row, column = np.nonzero(found.confidence > FILLED_CONFIDENCE)
    depth = found.depth[row, column].astype(np.float64)
    x = (column + 0.5 - own.cx) / own.fx * depth
    y = (row + 0.5 - own.cy) / own.fy * depth
    back = own.world_from_cam
    xy, z = camera.project(np.stack([x, y, depth], axis=1) @ back[:3, :3].T + back[:3, 3])
    colour = rgb[row, column] / 255.0
    parts: list[tuple[NDArray, ...]] = []
    left, top = np.floor(xy[:, 0] - 0.5), np.floor(xy[:, 1] - 0.5)
    for dx in (0, 1):
        for dy in (0, 1):
            px, py = left + dx, top + dy
            share = (1.0 - np.abs(xy[:, 0] - 0.5 - px)) * (1.0 - np.abs(xy[:, 1] - 0.5 - py))
            use = (z > 0) & (px >= 0) & (px < camera.width) & (py >= 0) & (py < camera.height) & (share > 0.05)
            number = (py[use] * camera.width + px[use]).astype(np.int64)
            parts.append((number, z[use], colour[use], share[use]))
    return tuple(np.concatenate(c) for c in zip(*parts))

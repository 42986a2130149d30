# SPDX-License-Identifier: Apache-2.0
"""From depth maps of several photos to one set of coloured, oriented points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.depth.depth_map import DepthMap
from sparse3d.depth.maps import FILLED_CONFIDENCE
from sparse3d.records.points import Points

# Depths of one point in two photos differ by at most this share.
_SAME_DEPTH = 0.015


@dataclass(frozen=True)
class FuseConfig:
    """How dense the points are."""

    spacing_px: float = 2.0
    """Distance between the pixels that points are taken from."""
    count: int = 80_000
    """About the most points: if there would be more, the pixels stand farther apart."""
    filled_step: int = 4
    """Where nothing was matched, points stand this many times farther apart (0: there are none)."""


def fuse(
    maps: Mapping[int, DepthMap], photos: Mapping[int, NDArray[np.uint8]], cfg: FuseConfig | None = None
) -> Points:
    """Points of all maps, with each surface once; photos: [H,W,3] bytes at the maps' sizes.

    A point's radius is half the distance to its neighbours on the pixels' grid, at its depth. Filled-in points in front
    of what another photo is sure of are left out. The same input gives the same points in the same order.
    """
    cfg = cfg or FuseConfig()
    sure = {index: found.confidence > FILLED_CONFIDENCE for index, found in maps.items()}
    step = max(cfg.spacing_px, _step(sure, cfg.count))
    parts = []
    for number, (index, found) in enumerate(maps.items()):
        part = _part(found, photos[index], step, sure[index])
        for other in list(maps)[:number]:
            part = part.select(~_met(part.xyz, maps[other], sure[other], in_front=False))
        parts.append(part)
    if cfg.filled_step > 0:
        for number, (index, found) in enumerate(maps.items()):
            part = _part(found, photos[index], step * cfg.filled_step, ~sure[index])
            for place, other in enumerate(maps):
                if other != index:
                    part = part.select(~_met(part.xyz, maps[other], sure[other], in_front=True))
                if place < number:
                    part = part.select(~_met(part.xyz, maps[other], ~sure[other], in_front=False))
            parts.append(part)
    return _joined(parts)


@dataclass(frozen=True)
class _Part:
    xyz: NDArray[np.float64]
    rgb: NDArray[np.float32]
    normal: NDArray[np.float64]
    radius: NDArray[np.float64]
    confidence: NDArray[np.float32]

    def select(self, keep: NDArray[np.bool_]) -> _Part:
        return _Part(self.xyz[keep], self.rgb[keep], self.normal[keep], self.radius[keep], self.confidence[keep])


def _step(sure: Mapping[int, NDArray[np.bool_]], count: int) -> float:
    """Distance between the pixels that gives `count` points, as if every surface were seen by half of the photos."""
    pixels = sum(float(mask.sum()) for mask in sure.values())
    shared = max(1.0, 0.5 * len(sure))
    return max(1.0, float(np.sqrt(pixels / shared / max(count, 1))))


def _part(found: DepthMap, rgb: NDArray[np.uint8], stride: float, wanted: NDArray[np.bool_]) -> _Part:
    """Those pixels of a grid that are wanted, as points in the world."""
    camera, (height, width) = found.camera, found.depth.shape
    rows = ((np.arange(int(height / stride)) + 0.5) * stride).astype(np.int64)
    columns = ((np.arange(int(width / stride)) + 0.5) * stride).astype(np.int64)
    row, column = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
    use = wanted[row, column] & (found.depth[row, column] > 0) & (found.confidence[row, column] > 0)
    row, column = row[use], column[use]
    z = found.depth[row, column].astype(np.float64)
    x = (column + 0.5 - camera.cx) / camera.fx * z
    y = (row + 0.5 - camera.cy) / camera.fy * z
    back = camera.world_from_cam
    size = max(1, round(stride))
    even = cv2.blur(rgb, (size, size)) if size > 1 else rgb
    return _Part(
        np.stack([x, y, z], axis=1) @ back[:3, :3].T + back[:3, 3],
        even[row, column].astype(np.float32) / 255.0,
        found.normal[row, column].astype(np.float64) @ back[:3, :3].T,
        0.5 * stride * z / camera.fx,
        found.confidence[row, column],
    )


def _met(xyz: NDArray[np.float64], other: DepthMap, known: NDArray[np.bool_], *, in_front: bool) -> NDArray[np.bool_]:
    """Whether each point [N,3] lies on a surface that `other` knows, or (in_front) between its camera and one."""
    camera = other.camera
    xy, z = camera.project(xyz)
    column, row = np.floor(xy[:, 0]).astype(np.int64), np.floor(xy[:, 1]).astype(np.int64)
    inside = (z > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    at = np.nonzero(inside)[0]
    depth = other.depth[row[at], column[at]]
    valid = known[row[at], column[at]] & (depth > 0)
    ratio = z[at] / np.where(valid, depth, 1.0) - 1.0
    low = -np.inf if in_front else -_SAME_DEPTH
    out = np.zeros(len(xyz), bool)
    out[at] = valid & (ratio > low) & (ratio < _SAME_DEPTH)
    return out


def _joined(parts: list[_Part]) -> Points:
    def join(name: str) -> NDArray[np.float32]:
        return np.concatenate([getattr(part, name) for part in parts]).astype(np.float32)

    return Points(join("xyz"), join("rgb"), normal=join("normal"), radius=join("radius"), confidence=join("confidence"))

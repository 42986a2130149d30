# SPDX-License-Identifier: Apache-2.0
"""Selecting in a picture: by click, rectangle, polygon or brush, against the projected centres of the splats.

Pixels as a camera has them: x right, y down, the centre of the first pixel at (0.5, 0.5). Every function returns [N]
bool. `seen` [N] bool is what counts at all (`seen_in`), None: through everything.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.conventions import NEAR_PLANE
from sparse3d.edit.history import Bits
from sparse3d.judge.observe import spreads_in
from sparse3d.judge.peel import SURFACE_TOLERANCE
from sparse3d.render import RenderOptions, render
from sparse3d.splats import Splats


class Projected(NamedTuple):
    """Centres in a picture: x, y [N] in pixels, z [N] depth in world units; ahead [N] bool: before the camera."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    ahead: Bits


def project(splats: Splats, camera: Camera) -> Projected:
    """Sums in a fixed order: the same bits on any number of threads."""
    px, py, pz = splats.means.detach().cpu().numpy().astype(np.float64).T
    rows = camera.cam_from_world[:3]
    x, y, z = (row[0] * px + row[1] * py + row[2] * pz + row[3] for row in rows)
    ahead = z > NEAR_PLANE
    safe = np.where(ahead, z, 1.0)
    return Projected(camera.fx * x / safe + camera.cx, camera.fy * y / safe + camera.cy, z, ahead)


def depth_picture(splats: Splats, camera: Camera) -> NDArray[np.float32]:
    """[H,W] median depth that the splats show, 0 where nothing is."""
    return render(splats, camera, RenderOptions(depth=True)).median_depth.cpu().numpy()


def seen_in(splats: Splats, camera: Camera, depth: NDArray[np.floating]) -> Bits:
    """[N] the centre is in the picture and not behind the surface of `depth` [H,W] (0: no surface): by more than 5 % of
    its depth and two standard deviations of the splat."""
    at = project(splats, camera)
    inside = at.ahead & (at.x >= 0) & (at.x < camera.width) & (at.y >= 0) & (at.y < camera.height)
    column = np.where(inside, at.x, 0).astype(np.int64)
    row = np.where(inside, at.y, 0).astype(np.int64)
    surface = depth[row, column].astype(np.float64)
    spread = spreads_in(splats, camera).cpu().numpy().astype(np.float64)
    return inside & ((surface <= 0) | (at.z <= surface * (1 + SURFACE_TOLERANCE) + 2.0 * spread))


def in_rectangle(at: Projected, corners: tuple[float, float, float, float]) -> Bits:
    """[N] between two opposite corners x, y, x, y."""
    (x0, x1), (y0, y1) = sorted(corners[0::2]), sorted(corners[1::2])
    return at.ahead & (at.x >= x0) & (at.x <= x1) & (at.y >= y0) & (at.y <= y1)


def in_polygon(at: Projected, corners: NDArray[np.floating]) -> Bits:
    """[N] inside the polygon [M,2], closed by itself; where it crosses itself, even and odd alternate."""
    sorted_rows, height = _by_height(at, corners, 0.0)
    crossings = np.zeros(len(sorted_rows), np.int64)
    x = at.x[sorted_rows]
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        first, last = np.searchsorted(height, [min(y0, y1), max(y0, y1)])
        if first == last:
            continue
        crossing = x0 + (height[first:last] - y0) * ((x1 - x0) / (y1 - y0))
        crossings[first:last] += x[first:last] < crossing
    out = np.zeros(len(at.x), bool)
    out[sorted_rows[crossings % 2 == 1]] = True
    return out


def under_brush(at: Projected, stroke: NDArray[np.floating], radius: float) -> Bits:
    """[N] within `radius` pixels of the line through the points of `stroke` [M,2]."""
    sorted_rows, height = _by_height(at, stroke, radius)
    x, out = at.x[sorted_rows], np.zeros(len(at.x), bool)
    ends = np.roll(stroke, -1, axis=0)[: max(len(stroke) - 1, 1)]
    for (x0, y0), (x1, y1) in zip(stroke, ends, strict=False):
        first = np.searchsorted(height, min(y0, y1) - radius, "left")
        last = np.searchsorted(height, max(y0, y1) + radius, "right")
        px, py, dx, dy = x[first:last] - x0, height[first:last] - y0, x1 - x0, y1 - y0
        length = dx * dx + dy * dy
        along = np.clip((px * dx + py * dy) / length, 0.0, 1.0) if length > 0 else 0.0
        near = (px - along * dx) ** 2 + (py - along * dy) ** 2 <= radius * radius
        out[sorted_rows[first:last][near]] = True
    return out


def at_click(at: Projected, pixel: tuple[float, float], radius: float, seen: Bits) -> int | None:
    """Row of the splat whose centre is nearest to the pixel, of those `seen` within `radius` pixels; at one distance
    the nearer to the camera. None where there is none."""
    squared = (at.x - pixel[0]) ** 2 + (at.y - pixel[1]) ** 2
    rows = np.flatnonzero(at.ahead & seen & (squared <= radius * radius))
    if len(rows) == 0:
        return None
    return int(rows[np.lexsort((rows, at.z[rows], squared[rows]))[0]])


def _by_height(at: Projected, points: NDArray[np.floating], margin: float) -> tuple[NDArray[np.int64], NDArray]:
    """(rows of the centres inside the points' bounding box and a margin, sorted by y; their y). An edge then meets one
    slice of them."""
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    box = at.ahead & (at.x >= low[0]) & (at.x <= high[0]) & (at.y >= low[1]) & (at.y <= high[1])
    rows = np.flatnonzero(box)
    rows = rows[np.argsort(at.y[rows], kind="stable")]
    return rows, at.y[rows]

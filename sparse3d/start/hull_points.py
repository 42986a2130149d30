# SPDX-License-Identifier: Apache-2.0
"""Coloured, oriented points on a visual hull, for what dense matching did not find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.depth.depth_map import DepthMap
from sparse3d.depth.hull import Hull, Silhouette
from sparse3d.records.points import Points

# A hull encloses the object and bulges where no photo looks past it, so its points are a guess.
HULL_CONFIDENCE = 0.05
# Half the side of the cube that is searched, over the largest distance of a mask's pixel from the cube's centre.
_CUBE = 1.5
_BISECTIONS = 5
# A surface seen at a flatter angle than this cosine says little about its colour.
_FLAT = 0.1


@dataclass(frozen=True)
class HullPointsConfig:
    """How finely the hull is sampled."""

    cells: int = 128
    """Cells of the fine grid along the longest side of the hull."""
    count: int = 30_000
    """The most points."""
    seed: int = 0


@dataclass(frozen=True)
class Grid:
    """Cells of side `cell`, the first centred at `origin` [3]; held [X,Y,Z]: whether a cell's centre is in the hull."""

    origin: NDArray[np.float64]
    cell: float
    held: NDArray[np.bool_]

    def centres(self, cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """World positions [N,3] of cells [N,3]."""
        return self.origin + self.cell * cells

    @property
    def volume(self) -> float:
        return float(self.held.sum()) * self.cell**3


def hull_grid(hull: Hull, cells: int = 128) -> Grid | None:
    """The hull on a grid: first a coarse one, then a finer one around what that found. None if nothing is inside.

    A cube is searched, around the place that the middles of the masks point at and larger than any mask reaches: photos
    from one side only leave the hull open, and it ends at the cube.
    """
    centre, half = _cube(hull)
    if not half > 0:
        return None
    coarse_cells = max(8, cells // 2)
    coarse = _filled(hull, centre - half, np.full(3, coarse_cells), 2 * half / coarse_cells, None)
    if not coarse.held.any():
        return None
    occupied = np.nonzero(coarse.held)
    low = coarse.origin + coarse.cell * (np.array([a.min() for a in occupied]) - 1.5)
    high = coarse.origin + coarse.cell * (np.array([a.max() for a in occupied]) + 1.5)
    cell = float((high - low).max()) / cells
    return _filled(hull, low, np.maximum(1, np.ceil((high - low) / cell - 1e-9)).astype(np.int64), cell, coarse)


def hull_points(
    hull: Hull, photos: Mapping[int, NDArray[np.uint8]], cfg: HullPointsConfig | None = None
) -> Points | None:
    """Points on the hull's boundary where at least one photo sees it (by a depth test on the hull itself); None if
    there are none.

    photos: [H,W,3] bytes by the silhouettes' `index`, at their sizes. The colour is that of the photo that looks at the
    surface most squarely. The same input gives the same points.
    """
    cfg = cfg or HullPointsConfig()
    grid = hull_grid(hull, cfg.cells)
    if grid is None:
        return None
    xyz, normal = _surface(hull, grid)
    # Neighbours are about a cell apart; fewer points are farther apart.
    spacing = grid.cell
    rgb, facing = _colours(hull, xyz, normal, photos, spacing)
    rows = np.nonzero(facing > _FLAT)[0]
    if len(rows) > cfg.count:
        spacing *= float(np.sqrt(len(rows) / cfg.count))
        rows = np.sort(np.random.default_rng(cfg.seed).permutation(rows)[: cfg.count])
    if len(rows) == 0:
        return None
    full = np.full(len(rows), 1.0, np.float32)
    return Points(
        xyz[rows].astype(np.float32), rgb[rows], normal=normal[rows].astype(np.float32),
        radius=full * np.float32(0.6 * spacing), confidence=full * np.float32(HULL_CONFIDENCE),
    )  # fmt: skip


def unmatched(points: Points, maps: Mapping[int, DepthMap], least: float = 0.0) -> NDArray[np.bool_]:
    """[N] whether no photo's depth says what is there: a point is known if a photo has a depth with a confidence above
    `least` at its pixel, and the point does not lie behind it. (A hull's surface lies in front of the object's; what
    lies behind belongs to another side.)"""
    known = np.zeros(len(points), bool)
    for found in maps.values():
        camera = found.camera
        xy, z = camera.project(points.xyz)
        column, row = np.floor(xy[:, 0]).astype(np.int64), np.floor(xy[:, 1]).astype(np.int64)
        inside = (z > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
        at = np.nonzero(inside)[0]
        pixel = row[at], column[at]
        has = found.confidence[pixel] > least
        known[at] |= has & (z[at] <= found.depth[pixel] * 1.02)
    return ~known


def _cube(hull: Hull) -> tuple[NDArray[np.float64], float]:
    """Centre [3] and half side of the cube to search: the point nearest to the rays through the masks' middles (least
    squares), and how far masks reach from it."""
    left, right = np.zeros((3, 3)), np.zeros(3)
    for silhouette in hull.silhouettes:
        camera = silhouette.camera
        rows, columns = np.nonzero(silhouette.seen)
        x = (columns.mean() + 0.5 - camera.cx) / camera.fx
        y = (rows.mean() + 0.5 - camera.cy) / camera.fy
        ray = camera.world_from_cam[:3, :3] @ np.array([x, y, 1.0])
        ray /= np.linalg.norm(ray)
        across = np.eye(3) - np.outer(ray, ray)
        left += across
        right += across @ camera.position
    centre = np.asarray(np.linalg.lstsq(left, right, rcond=None)[0], np.float64)
    reach: list[float] = []
    for silhouette in hull.silhouettes:
        camera = silhouette.camera
        xy, z = camera.project(centre[None])
        if z[0] > 0:
            rows, columns = np.nonzero(silhouette.mask)
            off = np.hypot((columns + 0.5 - xy[0, 0]) / camera.fx, (rows + 0.5 - xy[0, 1]) / camera.fy)
            reach.append(float(off.max() * z[0]))
    return centre, _CUBE * max(reach, default=0.0)


def _filled(hull: Hull, low: NDArray[np.float64], shape: NDArray[np.int64], cell: float, coarse: Grid | None) -> Grid:
    """The grid from the corner `low` [3]. coarse: a cell that touches none of the cells it holds is outside."""
    origin = low + 0.5 * cell
    held = np.zeros(tuple(int(n) for n in shape), bool)
    near = None if coarse is None else _grown(coarse.held)
    plane = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij"), axis=-1).reshape(-1, 2)
    for i in range(int(shape[0])):
        cells = np.concatenate([np.full((len(plane), 1), i), plane], axis=1)
        points = origin + cell * cells
        if coarse is not None and near is not None:
            at = np.rint((points - coarse.origin) / coarse.cell).astype(np.int64)
            wanted = np.nonzero(((at >= 0) & (at < near.shape)).all(axis=1))[0]
            wanted = wanted[near[tuple(at[wanted].T)]]
            cells, points = cells[wanted], points[wanted]
        if len(points):
            held[tuple(cells.T)] = hull.contains(points)
    return Grid(origin, cell, held)


def _grown(held: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Held cells and their 26 neighbours."""
    out = held.copy()
    for axis in range(3):
        before = out.copy()
        out |= np.roll(before, 1, axis) | np.roll(before, -1, axis)
    return out


def _surface(hull: Hull, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions and unit outward normals [N,3] of the cells on the boundary, moved onto it."""
    held = np.pad(grid.held, 3)
    inner = held.copy()
    for axis in range(3):
        inner &= np.roll(held, 1, axis) & np.roll(held, -1, axis)
    boundary = held & ~inner
    soft = held.astype(np.float32)
    for axis in range(3):
        # Twice a mean of three cells.
        for _ in range(2):
            soft = (soft + np.roll(soft, 1, axis) + np.roll(soft, -1, axis)) / 3.0
    cells = np.argwhere(boundary)
    steep = np.stack([-np.gradient(soft, axis=axis)[tuple(cells.T)] for axis in range(3)], axis=1).astype(np.float64)
    length = np.linalg.norm(steep, axis=1)
    cells, normal = cells[length > 1e-6], steep[length > 1e-6] / length[length > 1e-6, None]
    inside = grid.centres(cells - 3)
    low, high = np.zeros(len(inside)), np.full(len(inside), 1.5 * grid.cell)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        held_there = hull.contains(inside + middle[:, None] * normal)
        low, high = np.where(held_there, middle, low), np.where(held_there, high, middle)
    return inside + low[:, None] * normal, normal


def _colours(
    hull: Hull,
    xyz: NDArray[np.float64],
    normal: NDArray[np.float64],
    photos: Mapping[int, NDArray[np.uint8]],
    spacing: float,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Colour [N,3] in 0..1 from the photo that, of those that see a point, looks at it most squarely, and the cosine of
    its angle [N], 0 where none sees it."""
    rgb = np.full((len(xyz), 3), 0.5, np.float32)
    facing = np.zeros(len(xyz))
    for silhouette in hull.silhouettes:
        camera = silhouette.camera
        xy, z = camera.project(xyz)
        column, row = np.floor(xy[:, 0]).astype(np.int64), np.floor(xy[:, 1]).astype(np.int64)
        inside = (z > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
        away = camera.position - xyz
        cosine = (away * normal).sum(axis=1) / np.maximum(np.linalg.norm(away, axis=1), 1e-300)
        size = max(1, round(camera.fx * spacing / float(np.median(np.maximum(z, 1e-12)))))
        at = np.nonzero(inside)[0]
        at = at[silhouette.seen[row[at], column[at]]]
        seen = at[_unhidden(silhouette, xy, z, spacing, size)[at] & (cosine[at] > facing[at])]
        even = cv2.blur(photos[silhouette.index], (size, size)) if size > 1 else photos[silhouette.index]
        rgb[seen] = even[row[seen], column[seen]] / np.float32(255.0)
        facing[seen] = cosine[seen]
    return rgb, facing


def _unhidden(
    silhouette: Silhouette, xy: NDArray[np.float64], z: NDArray[np.float64], spacing: float, size: int
) -> NDArray[np.bool_]:
    """[N] whether no other point lies in front: a depth test at pixels as large as the points' distance."""
    shape = (silhouette.camera.height // size + 3, silhouette.camera.width // size + 3)
    column = np.clip(np.floor(xy[:, 0] / size), -1, shape[1] - 2).astype(np.int64) + 1
    row = np.clip(np.floor(xy[:, 1] / size), -1, shape[0] - 2).astype(np.int64) + 1
    nearest = np.full(shape, np.inf, np.float32)
    ahead = z > 0
    np.minimum.at(nearest, (row[ahead], column[ahead]), z[ahead].astype(np.float32))
    nearest = cv2.erode(nearest, np.ones((3, 3), np.uint8))
    return z <= nearest[row, column] + 3.0 * spacing

# SPDX-License-Identifier: Apache-2.0
"""Scale and shift of a relative depth map, from the triangulated points that its photo sees.

Affine-invariant depth (Ranftl et al. 2022, MiDaS): 1/z = scale * value + shift for networks that give inverse depth,
z = scale * value + shift for those that give depth. Both are fitted by the relative error, so that near points do not
decide alone: first by least absolute deviations, then with Tukey's weights, which leave wrong points out altogether.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera

Kind = Literal["metric", "disparity", "relative"]
# Fewer points than this cannot tell two unknowns and which of the points are wrong.
POINTS_MIN = 12
# A fit is good if the median relative error of depth is at most this, and half of the points lie within twice this.
ERROR_MAX = 0.1
# The error at which confidence has fallen to one half.
_ERROR_HALF = 0.05
_LAD_ROUNDS, _TUKEY_ROUNDS = 30, 15
_TUKEY = 4.685
# Points are hidden by nearer ones in the same cell of this many pixels (in a picture 640 pixels wide).
_CELL_PX, _CELL_WIDTH = 12.0, 640.0
_BEHIND = 1.15


@dataclass(frozen=True)
class Fit:
    """How map values become depth. error: median over the points of |z_fit / z - 1|; near_share: share of the
    points within 2 ERROR_MAX; z_range: smallest and largest depth of those points."""

    kind: Kind
    scale: float
    shift: float
    error: float
    near_share: float
    count: int
    z_range: tuple[float, float]

    @property
    def good(self) -> bool:
        return self.count >= POINTS_MIN and self.error <= ERROR_MAX and self.near_share >= 0.5 and self.scale > 0.0

    @property
    def confidence(self) -> float:
        """0..1: 0.86 at an error of 2 %, 0.5 at 5 %, 0.2 at 10 %."""
        return 1.0 / (1.0 + (self.error / _ERROR_HALF) ** 2) if self.good else 0.0

    def depth(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth z of map values; 0 where a value is NaN or leads to no positive depth."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            line = self.scale * values.astype(np.float64) + self.shift
            z = 1.0 / line if self.kind == "disparity" else line
        # What is extrapolated beyond twenty times the farthest point is no longer a depth.
        known = np.isfinite(z) & (z > 0.0) & ((z < 20.0 * self.z_range[1]) | (self.kind == "metric"))
        return np.where(known, z, 0.0).astype(np.float32)


def fit(kind: Kind, values: NDArray[np.float64], z: NDArray[np.float64]) -> Fit:
    """Fit of map values [N] against depths [N], both finite, z > 0. "metric" is not fitted, only judged."""
    if len(values) < 2 or (kind != "metric" and float(np.ptp(values)) == 0.0):
        return Fit(kind, 1.0 if kind == "metric" else 0.0, 0.0, np.inf, 0.0, len(values), (0.0, 0.0))
    scale, shift = (1.0, 0.0) if kind == "metric" else _robust_line(values, 1.0 / z if kind == "disparity" else z)
    line = scale * values + shift
    with np.errstate(divide="ignore", over="ignore"):
        found = 1.0 / line if kind == "disparity" else line
    error = np.where(line > 0.0, np.abs(found / z - 1.0), np.inf)
    near = error <= 2.0 * ERROR_MAX
    inside = z[near] if near.any() else z
    z_range = float(inside.min()), float(inside.max())
    return Fit(kind, float(scale), float(shift), float(np.median(error)), float(near.mean()), len(z), z_range)


def _robust_line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """(scale, shift) that make scale * x + shift near y > 0 in relative terms."""
    # Centred and scaled, so that maps of any unit are solved equally well.
    middle, spread = float(np.median(x)), float(np.std(x))
    u = (x - middle) / spread
    a, b = u / y, 1.0 / y
    s, t = _solve(a, b, np.ones_like(a))
    for _ in range(_LAD_ROUNDS):
        s, t = _solve(a, b, 1.0 / np.maximum(np.abs(s * a + t * b - 1.0), 1e-4))
    for _ in range(_TUKEY_ROUNDS):
        residual = np.abs(s * a + t * b - 1.0)
        width = _TUKEY * max(1.4826 * float(np.median(residual)), 1e-6)
        weight = np.maximum(1.0 - (residual / width) ** 2, 0.0) ** 2
        s, t = _solve(a, b, weight)
    return s / spread, t - s * middle / spread


def _solve(a: NDArray[np.float64], b: NDArray[np.float64], w: NDArray[np.float64]) -> tuple[float, float]:
    """Weighted least squares of s a + t b = 1."""
    aa, ab, bb = float((w * a * a).sum()), float((w * a * b).sum()), float((w * b * b).sum())
    ra, rb = float((w * a).sum()), float((w * b).sum())
    det = aa * bb - ab * ab
    if det <= 1e-12 * max(aa * bb, 1e-300):
        return 0.0, rb / bb if bb > 0.0 else 1.0
    return (ra * bb - rb * ab) / det, (rb * aa - ra * ab) / det


def seen_points(xyz: NDArray[np.floating], camera: Camera) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels [M,2] and depths [M] of those points [N,3] that the camera has in view and that no nearer point close by
    hides: for points from files it is not known which photos saw them."""
    xy, z = camera.project(xyz.astype(np.float64))
    inside = (z > 0) & (xy > 0).all(axis=1) & (xy[:, 0] < camera.width) & (xy[:, 1] < camera.height)
    xy, z = xy[inside], z[inside]
    if len(z) == 0:
        return xy, z
    cell_px = _CELL_PX * camera.width / _CELL_WIDTH
    columns, rows = (int(side / cell_px) + 3 for side in (camera.width, camera.height))
    column, row = (xy[:, 0] / cell_px).astype(np.int64) + 1, (xy[:, 1] / cell_px).astype(np.int64) + 1
    nearest = np.full((rows, columns), np.inf)
    np.minimum.at(nearest, (row, column), z)
    visible = z <= _BEHIND * nearest[row, column]
    return xy[visible], z[visible]


def sample(values: NDArray[np.float32], camera: Camera, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map values [M] (nearest pixel) at pixels [M,2] of the camera; the map [H,W] shows its view at any size."""
    height, width = values.shape
    column = np.clip((xy[:, 0] * width / camera.width).astype(np.int64), 0, width - 1)
    row = np.clip((xy[:, 1] * height / camera.height).astype(np.int64), 0, height - 1)
    return values[row, column].astype(np.float64)

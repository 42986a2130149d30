# SPDX-License-Identifier: Apache-2.0
"""Selecting in space: spheres and turned boxes. Every function returns [N] bool of the splats' centres."""

from __future__ import annotations

import numpy as np

from sparse3d.edit.history import Bits
from sparse3d.geometry.quaternions import rotation_from_unit_quats
from sparse3d.splats import Splats


def distances(splats: Splats, point: tuple[float, ...]) -> np.ndarray:
    """[N] float64 distances of the centres from a point, world units."""
    dx, dy, dz = (splats.means.detach().cpu().numpy().astype(np.float64) - np.asarray(point, np.float64)).T
    return np.sqrt(dx * dx + dy * dy + dz * dz)


def in_sphere(splats: Splats, center: tuple[float, ...], radius: float) -> Bits:
    return distances(splats, center) <= radius


def in_box(
    splats: Splats, center: tuple[float, ...], size: tuple[float, ...], quat_wxyz: tuple[float, ...] = (1, 0, 0, 0)
) -> Bits:
    """size: lengths of the three whole edges; quat_wxyz, of any length but 0, turns the box about its centre."""
    quat = np.asarray(quat_wxyz, np.float64)
    axes = rotation_from_unit_quats(quat / np.sqrt((quat * quat).sum()))
    x, y, z = (splats.means.detach().cpu().numpy().astype(np.float64) - np.asarray(center, np.float64)).T
    inside = np.ones(splats.num_splats, bool)
    for k in range(3):
        inside &= np.abs(axes[0, k] * x + axes[1, k] * y + axes[2, k] * z) <= size[k] / 2
    return inside

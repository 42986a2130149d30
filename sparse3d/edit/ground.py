# SPDX-License-Identifier: Apache-2.0
"""The turn and shift that lay three points of the floor into a plane of the axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparse3d.edit import transform
from sparse3d.errors import UsageError
from sparse3d.splats import Splats

UP = ("+x", "-x", "+y", "-y", "+z", "-z")
# A triangle whose height is less than this share of its longest side says no plane.
_THINNEST = 1e-3


def to_ground(splats: Splats, points: NDArray[np.float64], up: str) -> NDArray[np.float64]:
    """[23] row of transform.py: the plane of `points` [3,3] goes through the origin, their middle to it, and `up` is
    the side where most splats are. Raises UsageError for points on one line."""
    first, second = points[1] - points[0], points[2] - points[0]
    normal = np.cross(first, second)
    longest = max(np.sqrt((side * side).sum()) for side in (first, second, second - first))
    length = np.sqrt((normal * normal).sum())
    if length <= _THINNEST * longest * longest:
        raise UsageError("ground.points lie on one line; give three points of the floor that make a wide triangle")
    normal, middle = normal / length, points.sum(axis=0) / 3.0
    places = splats.means.detach().cpu().numpy().astype(np.float64) - middle
    if len(places) and np.median(places[:, 0] * normal[0] + places[:, 1] * normal[1] + places[:, 2] * normal[2]) < 0:
        normal = -normal
    axis = np.zeros(3)
    axis["xyz".index(up[1])] = 1.0 if up[0] == "+" else -1.0
    return transform.motion(quat_wxyz=_turn(normal, axis), center=tuple(middle), shift=tuple(-middle))


def _turn(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, ...]:
    """The shortest turn, a quaternion wxyz, of one unit vector to another."""
    cosine = float((first * second).sum())
    if cosine < -1.0 + 1e-9:
        # Half a turn about any axis that stands on it.
        other = np.eye(3)[int(np.argmin(np.abs(first)))]
        axis = np.cross(first, other)
        return (0.0, *(axis / np.sqrt((axis * axis).sum())).tolist())
    return (1.0 + cosine, *np.cross(first, second).tolist())

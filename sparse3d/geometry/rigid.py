# SPDX-License-Identifier: Apache-2.0
"""Rigid motions and their tangents (SE(3))."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pose_gradient(pose: NDArray[np.float64], v_pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """[6] gradient with respect to the translation and rotation of delta, at 0, in exp(delta) pose; v_pose [3,4]: the
    gradient with respect to the pose's entries."""
    v = v_pose
    moved = pose[:3]
    turn = [sum(float(v[i] @ (hat(axis) @ moved)[i]) for i in range(3)) for axis in np.eye(3)]
    return np.array([*v[:, 3], *turn])


def hat(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3,3] matrix of the cross product with `axis`."""
    x, y, z = axis
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def se3_exp(delta: NDArray[np.float64]) -> NDArray[np.float64]:
    """[4,4] rigid motion of a twist (translation 3, rotation 3 in radians)."""
    translation, rotation = delta[:3], delta[3:]
    angle = float(np.sqrt(rotation @ rotation))
    k = hat(rotation)
    if angle < 1e-6:
        # Taylor: the next terms are below the last bit of float64.
        a, b, c = 1.0 - angle**2 / 6, 0.5 - angle**2 / 24, 1 / 6 - angle**2 / 120
    else:
        a, b, c = np.sin(angle) / angle, (1 - np.cos(angle)) / angle**2, (angle - np.sin(angle)) / angle**3
    out = np.eye(4)
    out[:3, :3] += a * k + b * (k @ k)
    out[:3, 3] = (np.eye(3) + b * k + c * (k @ k)) @ translation
    return out

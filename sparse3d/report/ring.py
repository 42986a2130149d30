# SPDX-License-Identifier: Apache-2.0
"""The training photos seen from above: where they stand around what they look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.render.camera_path import look_at_point

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ring:
    """target [3]: what the photos look at. axes [3,3]: rows right, up and ahead, ahead as the mean photo looks.
    angles [V] of the photos around the target, degrees to the right of where the mean one stands;
    distances [V] from the target's vertical line, world units. converge: whether most photos have the target in their
    picture, so that angles around it mean something."""

    target: _Array
    axes: _Array
    angles: _Array
    distances: _Array
    converge: bool

    def plan(self, points: _Array) -> _Array:
        """[N,2] of world points [N,3]: to the right and ahead of the target."""
        return (points - self.target) @ self.axes[[0, 2]].T

    def angles_of(self, points: _Array) -> _Array:
        """[N] angles of world points [N,3], as those of the photos."""
        right, ahead = self.plan(points).T
        return np.degrees(np.arctan2(right, -ahead))

    def place(self, angle: float) -> _Array:
        """[2] on the plan, at that angle and as far away as the photos near it."""
        weights = np.exp(-0.5 * ((self.angles - angle) / 30.0) ** 2) + 1e-9
        distance = float((weights * self.distances).sum() / weights.sum())
        return distance * np.array([math.sin(math.radians(angle)), -math.cos(math.radians(angle))])


def ring_of(cameras: Sequence[Camera]) -> Ring:
    """The ring of the training `cameras`, one at least."""
    target = look_at_point(cameras)
    centres = np.stack([camera.position for camera in cameras])
    axes = _axes(cameras)
    offsets = (centres - target) @ axes.T
    angles = np.degrees(np.arctan2(offsets[:, 0], -offsets[:, 2]))
    seeing = 0
    for camera in cameras:
        pixels, depths = camera.project(target[None])
        seeing += bool(depths[0] > 0 and ((pixels[0] >= 0) & (pixels[0] <= (camera.width, camera.height))).all())
    return Ring(target, axes, angles, np.hypot(offsets[:, 0], offsets[:, 2]), 2 * seeing > len(cameras))


def _axes(cameras: Sequence[Camera]) -> _Array:
    """Right, up, ahead: up as the cameras are on average, ahead where they look on average, across it."""
    up = -np.mean([camera.cam_from_world[1, :3] for camera in cameras], axis=0)
    if np.linalg.norm(up) < 0.3:
        up = -cameras[0].cam_from_world[1, :3]
    up = up / np.linalg.norm(up)
    for forward in (np.mean([c.cam_from_world[2, :3] for c in cameras], axis=0), cameras[0].cam_from_world[2, :3],
                    *np.eye(3)):  # fmt: skip
        ahead = forward - (forward @ up) * up
        if np.linalg.norm(ahead) > 0.1:
            break
    ahead = ahead / np.linalg.norm(ahead)
    return np.stack([np.cross(ahead, up), up, ahead])

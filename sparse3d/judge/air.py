# SPDX-License-Identifier: Apache-2.0
"""The air that the photographer moved through: nothing hangs close to where photos were taken.

A splat beside a camera is nearly invisible to it, outside of the picture or cut off by the near plane, so that no photo
contradicts it; a view from between the photos looks through it as through a haze.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera

# Depth that all but this share (in per cent) of the points seen by a camera exceed: how near its nearest surface is.
_NEAREST_PERCENT = 2.0
_POINTS_MIN = 20
# Air reaches this share of the way to the nearest surface.
_REACH = 0.4
# Each camera is joined with so many nearest others, where they are closer than the nearest surface, at these places.
_NEIGHBOURS = 4
_BETWEEN = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Air:
    """Balls without anything in them: centres [P,3] and radii [P] in world units, float64. P may be 0."""

    centres: NDArray[np.float64]
    radii: NDArray[np.float64]

    @classmethod
    def around(cls, cameras: Sequence[Camera], surfaces: NDArray[np.floating]) -> Air:
        """Around the cameras and between neighbouring ones. surfaces [N,3]: points of what the photos show; a camera
        that sees fewer than 20 of them has no air."""
        positions = np.stack([camera.position for camera in cameras])
        nearest = np.array([_nearest_depth(camera, np.asarray(surfaces, np.float64)) for camera in cameras])
        centres, radii = list(positions), list(_REACH * nearest)
        apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
        for a, row in enumerate(apart):
            for b in np.argsort(row, kind="stable")[1 : _NEIGHBOURS + 1]:
                near = min(nearest[a], nearest[b])
                if row[b] < near:
                    centres += [positions[a] * (1.0 - t) + positions[b] * t for t in _BETWEEN]
                    radii += [_REACH * near] * len(_BETWEEN)
        known = np.array(radii) > 0.0
        return cls(np.array(centres)[known], np.array(radii)[known])

    def contains(self, xyz: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which of the points [N,3] are in it."""
        found = np.zeros(len(xyz), bool)
        places = np.asarray(xyz, np.float64)
        for centre, radius in zip(self.centres, self.radii, strict=True):
            found |= np.square(places - centre).sum(axis=1) < radius * radius
        return found


def _nearest_depth(camera: Camera, surfaces: NDArray[np.float64]) -> float:
    """Depth of the nearest of the surfaces that the camera sees; 0 where it sees too few."""
    xy, z = camera.project(surfaces)
    inside = (z > 0) & (xy[:, 0] >= 0) & (xy[:, 0] < camera.width) & (xy[:, 1] >= 0) & (xy[:, 1] < camera.height)
    if int(inside.sum()) < _POINTS_MIN:
        return 0.0
    return float(np.percentile(z[inside], _NEAREST_PERCENT))

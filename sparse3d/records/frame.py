# SPDX-License-Identifier: Apache-2.0
"""Where a scene is computed: near its origin and in units in which it is about one large, with the way back.

The world's own units and places are kept in files. Inside, positions are float32, and thresholds such as the near plane
are lengths: both ask for an ordinary frame. Scales are powers of two, so that no position is rounded by them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.geometry.places import Origin, as_origin, local_origin, spread
from sparse3d.splats import Splats

# Within these sizes a scene's own units serve, and nothing is scaled: seen scenes have 0.5 to 700.
_CAMERAS_ORDINARY = (0.25, 2048.0)
# Of splats, by their median distance from their middle, which is less than the way of the cameras to it.
_SPLATS_ORDINARY = (0.0625, 2048.0)
# A point that the cameras look at which is so many times as far away as they are apart is none.
_LOOK_MAX = 100.0
_PARALLEL = 1e-4


@dataclass(frozen=True)
class Frame:
    """inside = (world - origin) * scale. origin: world units; scale: a power of two."""

    origin: Origin = (0.0, 0.0, 0.0)
    scale: float = 1.0

    @property
    def is_world(self) -> bool:
        """Whether inside and world are the same."""
        return self == Frame()

    def points_in(self, xyz: NDArray[np.floating]) -> NDArray[np.float32]:
        """World points [N,3] inside, moved as float64 and rounded then."""
        if self.is_world:
            return xyz.astype(np.float32)
        return ((xyz.astype(np.float64) - np.array(self.origin)) * self.scale).astype(np.float32)

    def camera_in(self, camera: Camera, origin: Origin = (0.0, 0.0, 0.0)) -> Camera:
        """A camera whose world has its zero at `origin`, inside."""
        return _moved(camera, np.subtract(self.origin, origin), self.scale)

    def camera_out(self, camera: Camera, origin: Origin | None = None) -> Camera:
        """A camera from inside, in world units about `origin` (None: the frame's)."""
        shift = np.zeros(3) if origin is None else np.subtract(origin, self.origin)
        return _moved(camera, shift * self.scale, 1.0 / self.scale)

    def splats_in(self, splats: Splats) -> Splats:
        """Splats of a file, inside."""
        shift = np.subtract(splats.origin, self.origin)
        return replace(_placed(splats, shift * self.scale, self.scale), origin=(0.0, 0.0, 0.0))

    def splats_out(self, splats: Splats, origin: Origin | None = None) -> Splats:
        """Splats from inside in world units, about `origin` (None: the frame's)."""
        origin = self.origin if origin is None else origin
        return replace(_placed(splats, np.subtract(self.origin, origin), 1.0 / self.scale), origin=origin)


def moved_camera(camera: Camera, shift: NDArray[np.float64]) -> Camera:
    """The camera in a world whose zero lies at `shift` [3] of the one before."""
    return _moved(camera, shift, 1.0)


def frame_of_cameras(cameras: Sequence[Camera]) -> Frame:
    """The frame of a scene with these cameras. The world itself where it is ordinary."""
    if not cameras:
        return Frame()
    centres = np.stack([camera.position for camera in cameras])
    middle = np.median(centres, axis=0)
    return _frame(middle, _size_of_cameras(cameras, centres - middle), _CAMERAS_ORDINARY)


def frame_of_splats(splats: Splats) -> Frame:
    """The frame to draw splats of a file in, where no cameras say it."""
    found = _frame(*spread(splats.means.detach().cpu().double().numpy()), _SPLATS_ORDINARY)
    return replace(found, origin=as_origin(np.add(splats.origin, found.origin)))


def _size_of_cameras(cameras: Sequence[Camera], centres: NDArray[np.float64]) -> float:
    """The cameras' greatest distance from `centres`' zero, or the way to what they look at, if that is more."""
    spread = float(np.linalg.norm(centres, axis=1).max())
    forward = np.stack([camera.cam_from_world[2, :3] for camera in cameras])
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    normal = across.mean(axis=0)
    if spread == 0.0 or float(np.linalg.eigvalsh(normal)[0]) < _PARALLEL:
        return spread
    seen = np.linalg.solve(normal, np.einsum("nij,nj->ni", across, centres).mean(axis=0))
    depth = ((seen - centres) * forward).sum(axis=1)
    ahead = float(np.median(depth))
    return max(spread, ahead) if ahead < _LOOK_MAX * spread else spread


def _frame(middle: NDArray[np.float64], size: float, ordinary: tuple[float, float]) -> Frame:
    scale = 1.0
    if size > 0.0 and not ordinary[0] <= size <= ordinary[1]:
        scale = 2.0 ** -math.floor(math.log2(size))
    return Frame(local_origin(middle, size), scale)


def _moved(camera: Camera, shift: NDArray[np.float64], scale: float) -> Camera:
    """In a world with its zero at `shift` of the one before, then `scale` times as large."""
    if scale == 1.0 and not shift.any():
        return camera
    pose = camera.cam_from_world.copy()
    pose[:3, 3] = (pose[:3, 3] + pose[:3, :3] @ shift) * scale
    return replace(camera, cam_from_world=pose)


def _placed(splats: Splats, shift: NDArray[np.float64], scale: float) -> Splats:
    """`scale` times as large, then moved by `shift`."""
    if scale == 1.0 and not shift.any():
        return splats
    means = splats.means.double() * scale + torch.from_numpy(shift).to(splats.means.device)
    log_scales = splats.log_scales
    if scale != 1.0:
        log_scales = (log_scales.double() + math.log(scale)).float()
    return replace(splats, means=means.float(), log_scales=log_scales)

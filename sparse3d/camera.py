# SPDX-License-Identifier: Apache-2.0
"""A pinhole camera at a place. Camera axes x right, y down, z forward; pixel centres at +0.5."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError


@dataclass(frozen=True)
class Camera:
    """One view: image size in pixels, intrinsics in pixels, `cam_from_world` [4,4] float64 (rigid, bottom row 0 0 0 1).

    A world point p is at p_cam = R p + t, and in the image at (fx x/z + cx, fy y/z + cy); the centre of the
    top-left pixel is (0.5, 0.5). `lens` names the lens model of the photo as it is on disk (see `photos.lenses`) and
    `distortion` holds its coefficients, those at the end left out where they are 0: OpenCV's k1 k2 p1 p2
    [k3 k4 k5 k6] by default, k1 to k4 of its fisheye model for "fisheye". Kernels never see a distorted camera,
    photos are undistorted once when read. `name` is the photo's.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    cam_from_world: NDArray[np.float64] = field(repr=False)
    distortion: tuple[float, ...] = ()
    lens: str = "opencv"
    name: str = ""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise DataError(f"Camera {self.name!r}: image size {self.width}x{self.height} is empty")
        if not (self.fx > 0 and self.fy > 0):
            raise DataError(f"Camera {self.name!r}: focal length ({self.fx}, {self.fy}) must be positive")
        pose = np.asarray(self.cam_from_world, dtype=np.float64)
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            raise DataError(f"Camera {self.name!r}: cam_from_world must be a finite 4x4 matrix, found {pose.shape}")
        object.__setattr__(self, "cam_from_world", pose)

    @property
    def K(self) -> NDArray[np.float64]:
        """[3,3] intrinsic matrix."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def world_from_cam(self) -> NDArray[np.float64]:
        """[4,4] inverse of cam_from_world."""
        rotation, translation = self.cam_from_world[:3, :3], self.cam_from_world[:3, 3]
        out = np.eye(4)
        out[:3, :3] = rotation.T
        out[:3, 3] = -rotation.T @ translation
        return out

    @property
    def position(self) -> NDArray[np.float64]:
        """[3] centre of projection in the world."""
        return self.world_from_cam[:3, 3]

    def resized(self, width: int, height: int) -> Camera:
        """The same view at another image size: K' = diag(sx, sy, 1) K, exact because centres are at +0.5."""
        sx, sy = width / self.width, height / self.height
        scaled = {"fx": self.fx * sx, "fy": self.fy * sy, "cx": self.cx * sx, "cy": self.cy * sy}
        return replace(self, width=width, height=height, **scaled)

    def project(self, points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World points [N,3] -> pixel positions [N,2] and depths z [N], without distortion."""
        cam = points @ self.cam_from_world[:3, :3].T + self.cam_from_world[:3, 3]
        z = cam[:, 2]
        safe = np.where(np.abs(z) < 1e-12, 1e-12, z)
        return np.stack([self.fx * cam[:, 0] / safe + self.cx, self.fy * cam[:, 1] / safe + self.cy], axis=1), z

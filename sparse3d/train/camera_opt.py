# SPDX-License-Identifier: Apache-2.0
"""Refinement of the training cameras' poses: each step moves the pose it used, T <- exp(delta) T, by Adam on delta."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.train.config import CameraOptConfig
from sparse3d.train.optimizer import SmallAdam


def refines_poses(cfg: CameraOptConfig, camera_source: str) -> bool:
    """Whether a run on cameras of this source ("given", "sfm_train", "sfm_all") moves them."""
    return cfg.enabled == "on" or (cfg.enabled == "auto" and camera_source != "given")


class CameraOpt:
    """Poses [V,4,4] of the training cameras, as given at first. A left product turns a camera about its own centre, so
    that rotations and positions do not fight."""

    def __init__(self, cameras: Sequence[Camera], extent: float, cfg: CameraOptConfig) -> None:
        self.poses = np.stack([camera.cam_from_world for camera in cameras]).copy()
        self._adam = SmallAdam(len(cameras), 6)
        translation, rotation = cfg.translation_rate * extent, cfg.rotation_rate
        self._rates = np.array([translation] * 3 + [rotation] * 3)

    def pose(self, view: int) -> Tensor:
        """[4,4] float32 cam_from_world of a training view."""
        return torch.from_numpy(self.poses[view].astype(np.float32))

    def step(self, view: int, v_cam_from_world: Tensor) -> None:
        """One update from the gradient [3,4] to the pose's [R | t], its entries taken as independent."""
        pose = self.poses[view]
        gradient = pose_gradient(pose, v_cam_from_world.detach().double().numpy())
        self.poses[view] = se3_exp(self._adam.update(view, gradient, self._rates)) @ pose

    def tensors(self) -> dict[str, Tensor]:
        return {"cameras.poses": torch.from_numpy(self.poses.copy()), **self._adam.tensors("cameras")}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self.poses[...] = tensors["cameras.poses"].numpy()
        self._adam.restore("cameras", tensors)


def pose_gradient(pose: NDArray[np.float64], v_pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """[6] gradient to (translation, rotation) of delta at 0 in exp(delta) pose, from `v_pose` [3,4] to its entries."""
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

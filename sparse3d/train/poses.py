# SPDX-License-Identifier: Apache-2.0
"""Refinement of the training cameras' poses: each step moves the pose it used, T <- exp(delta) T, by Adam on delta."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.geometry.rigid import pose_gradient, se3_exp
from sparse3d.kernels.small_adam import SmallAdam
from sparse3d.train.config import CameraOptConfig


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

# SPDX-License-Identifier: Apache-2.0
"""Held-out cameras moved to where the trained splats fit their photos best, with the splats frozen.

Where poses were estimated, those of held-out photos carry errors that say nothing about the splats: half a degree
shifts a picture by several pixels. Papers without given poses align them before they measure (BARF, Lin et al. 2021;
InstantSplat, Fan et al. 2024). A photo that moved its own camera is no longer quite unseen, so these scores stand
beside the plain ones and never replace them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sparse3d.camera import Camera
from sparse3d.geometry.rigid import pose_gradient, se3_exp
from sparse3d.judge.background import evaluation_background
from sparse3d.judge.evaluate import Scores, evaluate, image_renderer
from sparse3d.kernels.records import AdamHyper, AdamState, view_of
from sparse3d.kernels.small_adam import SmallAdam
from sparse3d.kernels.step import TrainingStep, make_step
from sparse3d.loss import Lpips
from sparse3d.records.scene import Scene
from sparse3d.splats import PARAMETER_NAMES, Splats
from sparse3d.train.config import TrainConfig
from sparse3d.train.splats.trainee import raster_settings

# (photo divided by, steps, rate): coarse pictures first, for a pose may be several pixels off. Rates are radians, and
# parts of the extent for positions; within a round they fall to a tenth.
_ROUNDS = ((4, 40, 4e-3), (2, 40, 2e-3), (1, 40, 1e-3))
_SIDE_MIN_PX = 64


def aligned_scores(
    scene: Scene, splats: Splats, cfg: TrainConfig, lpips: Lpips | None = None
) -> tuple[Scores, tuple[Camera, ...]]:
    """Scores on the held-out photos from aligned cameras, and all cameras of the scene with the aligned ones."""
    cameras = align_cameras(scene, scene.test, splats, cfg)
    moved = replace(scene, cameras=cameras)
    render_image = image_renderer(splats, evaluation_background(scene, cfg), cfg.backend)
    return evaluate(moved, scene.test, render_image, lpips), cameras


def align_cameras(scene: Scene, indices: Sequence[int], splats: Splats, cfg: TrainConfig) -> tuple[Camera, ...]:
    """The scene's cameras, those at `indices` moved (SE(3)) so that the frozen splats fit their photos best in the
    training loss; a camera for which no better place was found stays."""
    kernels, _ = make_step(cfg.backend, cfg.threads)
    cameras = list(scene.cameras)
    for index in indices:
        cameras[index] = _align(scene, index, splats, cfg, kernels)
    return tuple(cameras)


def _align(scene: Scene, index: int, splats: Splats, cfg: TrainConfig, kernels: TrainingStep) -> Camera:
    params = {name: tensor.detach().float().contiguous() for name, tensor in splats.named()}
    # A rate of zero leaves the splats' bits as they are.
    frozen = AdamHyper(lr=dict.fromkeys(PARAMETER_NAMES, 0.0))
    moments = AdamState.zeros(params)
    camera = scene.cameras[index]
    background = evaluation_background(scene, cfg)

    def loss_of(at: Camera, factor: int) -> float:
        view = view_of(at.resized(*scene.images.scaled_size(index, factor)))
        settings = raster_settings(view, cfg, splats.sh_degree)
        kernels.render(params, view.cam_from_world, view.intrinsics, background, settings)
        target = scene.images.at_scale(index, factor)
        return kernels.photometric(target, scene.images.mask(index, factor), cfg.ssim_weight)

    pose = camera.cam_from_world
    for factor, steps, rate in _ROUNDS:
        if factor > 1 and min(scene.images.scaled_size(index, factor)) < _SIDE_MIN_PX:
            continue
        adam = SmallAdam(1, 6)
        for step in range(steps):
            loss_of(replace(camera, cam_from_world=pose), factor)
            v_pose = kernels.backward_adam(params, moments, frozen, camera_grad=True)
            assert v_pose is not None, "a camera gradient was asked for"
            now = rate * 0.1 ** (step / steps)
            rates = np.array([now * scene.extent] * 3 + [now] * 3)
            gradient = pose_gradient(pose, v_pose.detach().double().numpy())
            pose = se3_exp(adam.update(0, gradient, rates)) @ pose
    found = replace(camera, cam_from_world=pose)
    return found if loss_of(found, 1) < loss_of(camera, 1) else camera

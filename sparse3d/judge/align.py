# SPDX-License-Identifier: Apache-2.0
"""Held-out cameras moved to where the trained splats fit their photos best, with the splats frozen.

Where poses were estimated, those of held-out photos carry errors that say nothing about the splats: half a degree
shifts a picture by several pixels. Papers without given poses align them before they measure (BARF, Lin et al. 2021;
InstantSplat, Fan et al. 2024). A photo that moved its own camera is no longer quite unseen, so these scores stand
beside the plain ones and never replace them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.geometry.rigid import pose_gradient, se3_exp
from sparse3d.judge.evaluate import Scores, evaluate, image_renderer
from sparse3d.kernels.records import OutputGradients, PhotometricLoss, RasterSettings, view_of
from sparse3d.kernels.small_adam import SmallAdam
from sparse3d.kernels.step import photometric, splat_step
from sparse3d.loss import Lpips
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats

Progress = Callable[[float], None]
# (photo divided by, steps, rate): coarse pictures first, for a pose may be several pixels off. Rates are radians, and
# parts of the extent for positions; within a round they fall to a tenth.
_ROUNDS = ((4, 40, 4e-3), (2, 40, 2e-3), (1, 40, 1e-3))
_SIDE_MIN_PX = 64
# Larger photos are aligned at half, a third, ... of their size: poses are found to a fraction of a pixel all the same.
_SIDE_MAX_PX = 1000


@dataclass(frozen=True)
class Fitting:
    """How a camera is fitted to its photo. background [3]: behind the splats; ssim_weight: share of 1 - SSIM in the
    loss; backend, threads: of the kernels."""

    background: Tensor
    ssim_weight: float = 0.2
    backend: str = "auto"
    threads: int = 0


def aligned_scores(
    scene: Scene, splats: Splats, how: Fitting, lpips: Lpips | None = None, progress: Progress | None = None
) -> tuple[Scores, tuple[Camera, ...]]:
    """Scores on the held-out photos from aligned cameras, and all cameras of the scene with the aligned ones.
    progress(share of the held-out photos done)."""
    cameras = align_cameras(scene, scene.test, splats, how, progress)
    moved = replace(scene, cameras=cameras)
    render_image = image_renderer(splats, how.background, how.backend)
    return evaluate(moved, scene.test, render_image, lpips), cameras


def align_cameras(
    scene: Scene, indices: Sequence[int], splats: Splats, how: Fitting, progress: Progress | None = None
) -> tuple[Camera, ...]:
    """The scene's cameras, those at `indices` moved (SE(3)) so that the frozen splats fit their photos best in the
    training loss; a camera for which no better place was found stays."""
    frozen = _Frozen(scene, splats, how)
    cameras = list(scene.cameras)
    for done, index in enumerate(indices, start=1):
        cameras[index] = _aligned(frozen, index)
        if progress is not None:
            progress(done / len(indices))
    return tuple(cameras)


class _Frozen:
    """Splats that do not change, and the loss of any camera on a photo."""

    def __init__(self, scene: Scene, splats: Splats, how: Fitting) -> None:
        self.scene, self._splats, self._how = scene, splats, how
        self._params = {name: tensor.detach().float().contiguous() for name, tensor in splats.named()}
        self._step, self._loss = splat_step(how.backend, how.threads), photometric(how.backend)
        self._photo: tuple[tuple[int, int], Tensor, Tensor | None] | None = None

    def loss(self, camera: Camera, index: int, factor: int) -> PhotometricLoss:
        """Of the photo `index` at its size divided by `factor`."""
        images = self.scene.images
        view = view_of(camera.resized(*images.scaled_size(index, factor)))
        splats = self._splats
        settings = RasterSettings(view.width, view.height, sh_degree=splats.sh_degree, antialias=splats.antialias)
        rendering = self._step.render(self._params, view, self._how.background, settings)
        if self._photo is None or self._photo[0] != (index, factor):
            self._photo = (index, factor), images.at_scale(index, factor), images.mask(index, factor)
        _, target, mask = self._photo
        return self._loss(rendering.image, target, mask, self._how.ssim_weight)

    def pose_gradient(self, v_image: Tensor) -> np.ndarray:
        """[3,4] of the last loss to [R | t]."""
        found = self._step.backward(self._params, OutputGradients(v_image), splats=False, camera=True).camera
        assert found is not None, "a camera gradient was asked for"
        return found.detach().double().numpy()


def _aligned(frozen: _Frozen, index: int) -> Camera:
    scene = frozen.scene
    camera = scene.cameras[index]
    pose = camera.cam_from_world
    finest = math.ceil(max(scene.images.size(index)) / _SIDE_MAX_PX)
    for reduced, steps, rate in _ROUNDS:
        factor = reduced * finest
        if reduced > 1 and min(scene.images.scaled_size(index, factor)) < _SIDE_MIN_PX:
            continue
        adam = SmallAdam(1, 6)
        for step in range(steps):
            found = frozen.loss(replace(camera, cam_from_world=pose), index, factor)
            now = rate * 0.1 ** (step / steps)
            rates = np.array([now * scene.extent] * 3 + [now] * 3)
            gradient = pose_gradient(pose, frozen.pose_gradient(found.v_image))
            pose = se3_exp(adam.update(0, gradient, rates)) @ pose
    moved = replace(camera, cam_from_world=pose)
    return moved if frozen.loss(moved, index, finest).loss < frozen.loss(camera, index, finest).loss else camera

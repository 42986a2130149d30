# SPDX-License-Identifier: Apache-2.0
"""Terms against what floats where nothing is: before the cameras, and outside of the masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sparse3d.kernels.workspace import AdamState
from sparse3d.scene.dense.hull import of_an_object
from sparse3d.train.step import StepRendering
from sparse3d.train.terms.opacity import fading
from sparse3d.train.terms.term import TERMS, OutputGradients, Term, TermSetup, TermStep

# Share of a camera's initial points that may lie before its near depth: outliers.
_NEAR_QUANTILE = 0.05


@TERMS.register("near_opacity")
class NearOpacity(Term):
    """Splats in a photo's sight that are nearer to its camera than `near_fraction` of where the scene begins lose
    opacity: o <- o exp(-weight) in every step on that photo (after the occlusion regulariser of FreeNeRF, Yang et al.
    2023). The scene begins at the depth that 5 % of the initial splats in the picture lie before."""

    def __init__(self, setup: TermSetup) -> None:
        super().__init__(setup)
        means = setup.initial_means.double().numpy()
        self._near = np.zeros(len(setup.scene.train))
        for position, index in enumerate(setup.scene.train):
            camera = setup.scene.cameras[index]
            pixels, z = camera.project(means)
            inside = np.all((pixels > 0) & (pixels < (camera.width, camera.height)), axis=1) & (z > 0)
            if inside.any():
                self._near[position] = np.quantile(z[inside], _NEAR_QUANTILE)

    def after_step(self, step: TermStep, params: dict[str, Tensor], adam: AdamState) -> None:
        if step.position is None:
            return
        near = float(self._near[step.position]) * self.cfg.near_fraction
        means = params["means"]
        rotation, translation = step.view.cam_from_world[:3, :3], step.view.cam_from_world[:3, 3]
        # Column by column: matmul's bits depend on the number of threads.
        x, y, z = (_affine(means, rotation[i], translation[i]) for i in range(3))
        fx, fy, cx, cy = step.view.intrinsics.tolist()
        across, down = fx * x + cx * z, fy * y + cy * z
        seen = (across > 0) & (across < step.view.width * z) & (down > 0) & (down < step.view.height * z)
        rows = torch.nonzero(seen & (z > 0) & (z < near))[:, 0]
        if len(rows):
            params["logit_opacities"][rows] -= fading(params["logit_opacities"][rows], self.cfg.near_opacity)

    def tensors(self) -> dict[str, Tensor]:
        return {"near_opacity.near": torch.from_numpy(self._near.copy())}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._near[...] = tensors["near_opacity.near"].numpy()


def _affine(points: Tensor, row: Tensor, offset: Tensor) -> Tensor:
    return points[:, 0] * row[0] + points[:, 1] * row[1] + points[:, 2] * row[2] + offset


@TERMS.register("outside")
class Outside(Term):
    """Mean of alpha^2 over the pixels outside of a photo's mask (the background loss of CoR-GS, Zhang et al. 2024, on
    DTU): what lies there is no part of the object. A mask that does not cut an object out (`of_an_object`) hides a
    passer-by or an edge of the photo; behind it there is something, and the term leaves it alone."""

    def add_gradients(self, step: TermStep, rendering: StepRendering, gradients: OutputGradients) -> None:
        if step.position is not None and step.mask is not None and of_an_object(step.mask.numpy() >= 0.5):
            scale = 2.0 * self.cfg.outside / step.mask.numel()
            gradients.add(alpha=rendering.alpha * (1.0 - step.mask) * scale)

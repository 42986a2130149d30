# SPDX-License-Identifier: Apache-2.0
"""Nothing outside of the masks that cut out an object."""

from __future__ import annotations

from torch import Tensor

from sparse3d.depth.hull import of_an_object
from sparse3d.kernels.records import OutputGradients
from sparse3d.kernels.step import StepRendering
from sparse3d.train.shots import Shot
from sparse3d.train.splats.terms.term import TERMS, Term


@TERMS.register("outside")
class Outside(Term):
    """Mean of alpha^2 over the pixels outside of a photo's mask (the background loss of CoR-GS, Zhang et al. 2024, on
    DTU): what lies there is no part of the object. A mask that does not cut an object out (`of_an_object`) hides a
    passer-by or an edge of the photo; behind it there is something, and the term leaves it alone."""

    def add_gradients(self, shot: Shot, rendering: StepRendering, gradients: OutputGradients) -> None:
        if shot.mask is not None and self._of_an_object(shot, shot.mask):
            scale = 2.0 * self.cfg.outside / shot.mask.numel()
            gradients.add(alpha=rendering.alpha * (1.0 - shot.mask) * scale)

    def _of_an_object(self, shot: Shot, mask: Tensor) -> bool:
        if shot.window is not None:
            whole = self.setup.scene.images.mask(self.setup.scene.train[shot.position])
            mask = mask if whole is None else whole
        return of_an_object(mask.numpy() >= 0.5)

# SPDX-License-Identifier: Apache-2.0
"""Splats where photos with alpha or masks of an object say that something is, and nowhere else."""

from __future__ import annotations

from sparse3d.kernels.records import OutputGradients
from sparse3d.kernels.step import StepRendering
from sparse3d.train.shots import Shot
from sparse3d.train.splats.terms.term import TERMS, Term


@TERMS.register("outside")
class Outside(Term):
    """Mean of (alpha - the photo's)^2 over the pixels where the photo says it (outside of masks it is the background
    loss of CoR-GS, Zhang et al. 2024, on DTU). In the colour that lies behind transparent pixels, splats would cost
    nothing there, and where the object has that colour, no splat would be. A mask that does not cut an object out
    (`of_an_object`) hides a passer-by or an edge of the photo; behind it there is something, and the term leaves it
    alone."""

    def add_gradients(self, shot: Shot, rendering: StepRendering, gradients: OutputGradients) -> None:
        if shot.known_alpha is not None:
            wanted, weight = shot.known_alpha
            scale = 2.0 * self.cfg.outside / wanted.numel()
            gradients.add(alpha=(rendering.alpha - wanted) * weight * scale)

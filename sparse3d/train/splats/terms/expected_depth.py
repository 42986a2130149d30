# SPDX-License-Identifier: Apache-2.0
"""What terms on the rendered depth share: the expected depth z = D / A of a pixel, and the way of gradients through it.

D is the rendered depth, A alpha. A pixel whose alpha is a half or less has no depth to speak of.
"""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from sparse3d.kernels.records import OutputGradients
from sparse3d.kernels.step import StepRendering
from sparse3d.train.shots import Shot
from sparse3d.train.splats.terms.term import Term

_ALPHA_MIN = 0.5


def expected_depth(rendering: StepRendering) -> tuple[Tensor, Tensor, Tensor]:
    """z, alpha and where they hold (seen), all [H,W]; elsewhere z and alpha are 1, and their gradients must be 0."""
    assert rendering.depth is not None, "the step was rendered without depth"
    alpha = rendering.alpha
    seen = alpha > _ALPHA_MIN
    alpha = torch.where(seen, alpha, 1.0)
    return torch.where(seen, rendering.depth, 1.0) / alpha, alpha, seen


def expected_depth_vjp(v_z: Tensor, alpha: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients to alpha and to the rendered depth from that to z; all [H,W]."""
    v_depth = v_z / alpha
    return -v_depth * z, v_depth


def one_in_four(generator: torch.Generator) -> tuple[slice, slice]:
    """Index of every second row and column, from a random one of the first two: other pixels in every step."""
    row, column = torch.randint(2, (2,), generator=generator, device=generator.device).tolist()
    return slice(row, None, 2), slice(column, None, 2)


class ExpectedDepthTerm(Term, abc.ABC):
    """A term that is a function of the photo's expected depth."""

    def add_gradients(self, shot: Shot, rendering: StepRendering, gradients: OutputGradients) -> None:
        if not self.needs_depth(shot.position):
            return
        z, alpha, seen = expected_depth(rendering)
        v_alpha, v_depth = expected_depth_vjp(self.v_z(z, seen, shot), alpha, z)
        gradients.add(alpha=v_alpha, depth=v_depth)

    @abc.abstractmethod
    def v_z(self, z: Tensor, seen: Tensor, shot: Shot) -> Tensor:
        """Gradient [H,W] of the weighted loss to z [H,W], which is positive; 0 where `seen` [H,W] is False."""

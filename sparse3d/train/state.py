# SPDX-License-Identifier: Apache-2.0
"""What training carries from step to step beside the splats. These records are changed in place, by the step only."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass
class AdamState:
    """First and second moments by parameter name, shaped like the parameters, and the number of steps taken."""

    m: dict[str, Tensor]
    v: dict[str, Tensor]
    step: int = 0

    @staticmethod
    def zeros(params: dict[str, Tensor]) -> AdamState:
        return AdamState(
            {name: torch.zeros_like(tensor) for name, tensor in params.items()},
            {name: torch.zeros_like(tensor) for name, tensor in params.items()},
        )


@dataclass(frozen=True)
class AdamHyper:
    """Settings of one step: learning rate by parameter name, and the regularisers of 3DGS-MCMC (weights of the mean
    opacity and of the mean scale in the loss)."""

    lr: dict[str, float]
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-15
    opacity_reg: float = 0.0
    scale_reg: float = 0.0


@dataclass
class DensityStats:
    """Per-splat sums over the steps since the last change of the splats, all [N] float32.

    grad_abs, grad: sum of the norm of the (pixel-wise absolute, plain) gradient to the 2D mean, in units of the image
    normalised to -1..1, that is px times half the side. visible: number of steps seen. weight_sum, weight_max: of the
    blending weights. radius_max_px: largest radius on screen.
    """

    grad_abs: Tensor
    grad: Tensor
    visible: Tensor
    weight_sum: Tensor
    weight_max: Tensor
    radius_max_px: Tensor

    @staticmethod
    def zeros(count: int) -> DensityStats:
        return DensityStats(**{field.name: torch.zeros(count) for field in fields(DensityStats)})

    def named(self) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

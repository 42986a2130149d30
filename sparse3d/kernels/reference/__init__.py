# SPDX-License-Identifier: Apache-2.0
"""The slow, plain path that every back end is compared with: torch operations, any floating dtype, autograd.

There are no tiles and no hand-written gradients here. What a kernel computes is what this package computes, and
where a value is clamped its gradient is what autograd gives for the clamp.
"""

from sparse3d.formulas.harmonics import evaluate_sh, sh_basis
from sparse3d.formulas.ssim import ssim_map
from sparse3d.kernels.reference.adam import adam_step
from sparse3d.kernels.reference.photometric import l1_ssim_loss, psnr
from sparse3d.kernels.reference.projection import Projection, project
from sparse3d.kernels.reference.rasterize import Means2dGradients, rasterize

__all__ = [
    "Means2dGradients",
    "Projection",
    "adam_step",
    "evaluate_sh",
    "l1_ssim_loss",
    "project",
    "psnr",
    "rasterize",
    "sh_basis",
    "ssim_map",
]

# SPDX-License-Identifier: Apache-2.0
"""Structural similarity (Wang et al. 2004, equation 13), PSNR, and the photometric loss of 3DGS."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

WINDOW = 11
SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2


def gaussian_window(dtype: torch.dtype = torch.float64) -> Tensor:
    """[11] weights that sum to 1, computed in float64 and rounded once."""
    offset = torch.arange(WINDOW, dtype=torch.float64, device="cpu") - WINDOW // 2
    weights = torch.exp(-(offset**2) / (2 * SIGMA**2))
    return (weights / weights.sum()).to(dtype)


def ssim_map(x: Tensor, y: Tensor) -> Tensor:
    """SSIM at every pixel and channel of two images [H,W,3] in 0..1, window 11x11, sigma 1.5, zeros outside the image.
    Returns [H,W,3] in -1..1."""
    window = gaussian_window(x.dtype).to(x.device)

    def blur(image: Tensor) -> Tensor:
        planes = image.permute(2, 0, 1)[:, None]
        planes = functional.conv2d(planes, window.reshape(1, 1, 1, -1), padding=(0, WINDOW // 2))
        planes = functional.conv2d(planes, window.reshape(1, 1, -1, 1), padding=(WINDOW // 2, 0))
        return planes[:, 0].permute(1, 2, 0)

    mean_x, mean_y = blur(x), blur(y)
    var_x = blur(x * x) - mean_x * mean_x
    var_y = blur(y * y) - mean_y * mean_y
    covariance = blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x * mean_x + mean_y * mean_y + C1)
    structure = (2 * covariance + C2) / (var_x + var_y + C2)
    return luminance * structure

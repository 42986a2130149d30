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
    offset = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
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


def psnr(x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB of two images [H,W,3] in 0..1; with mask [H,W], over the kept pixels."""
    error = (x - y) ** 2
    mse = error.mean() if mask is None else (mask[..., None] * error).sum() / (3 * mask.sum())
    return -10 * torch.log10(mse)


def l1_ssim_loss(image: Tensor, target: Tensor, mask: Tensor | None, ssim_weight: float) -> Tensor:
    """(1 - w) * mean |image - target| + w * (1 - mean SSIM), equation 7 of 3DGS. A scalar.

    image and target [H,W,3]; ssim_weight w in 0..1. Without a mask the means run over all pixels and channels. With
    mask [H,W] in 0..1 (1 = keep) both pictures are first multiplied by it, so that nothing outside leaks in through
    the window, and both means become sum(mask * map) / (3 sum(mask)); a mask without a kept pixel gives 0.
    The gradient of |d| at d = 0 is 0.
    """
    if mask is None:
        dissimilarity = 1 - ssim_map(image, target).mean()
        return (1 - ssim_weight) * (image - target).abs().mean() + ssim_weight * dissimilarity
    kept = mask.sum()
    if kept <= 0:
        return (image * 0).sum()
    weight = mask[..., None]
    image, target = image * weight, target * weight
    l1 = (weight * (image - target).abs()).sum() / (3 * kept)
    dissimilarity = 1 - (weight * ssim_map(image, target)).sum() / (3 * kept)
    return (1 - ssim_weight) * l1 + ssim_weight * dissimilarity

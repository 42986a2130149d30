# SPDX-License-Identifier: Apache-2.0
"""The photometric loss of 3DGS, and PSNR, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse3d.formulas.ssim import ssim_map
from sparse3d.kernels.records import PhotometricLoss


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


class ReferencePhotometric:
    """`kernels.step.Photometric`, the oracle of tests."""

    def __call__(self, image: Tensor, target: Tensor, mask: Tensor | None, ssim_weight: float) -> PhotometricLoss:
        leaf = image.detach().clone().requires_grad_()
        loss = l1_ssim_loss(leaf, target, mask, ssim_weight)
        (v_image,) = torch.autograd.grad(loss, leaf)
        with torch.no_grad():
            weight = torch.ones_like(leaf[..., :1]) if mask is None else mask[..., None]
            kept = (3 * weight.sum()).clamp(min=1e-12)
            shown, wanted = leaf * weight, target * weight
            l1 = (weight * (shown - wanted).abs()).sum() / kept
            ssim = (weight * ssim_map(shown, wanted)).sum() / kept
            error = (leaf - target) ** 2
            mean = error.mean() if mask is None else (error * weight).sum() / kept
        return PhotometricLoss(float(loss.detach()), float(l1), float(ssim), float(mean), v_image)

# SPDX-License-Identifier: Apache-2.0
"""How good a picture is: PSNR and SSIM as DESIGN.md ("What the numbers mean") defines them.

They are the same for training, eval and bench."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparse3d.formulas.ssim import ssim_map

# Two equal 8-bit pictures have no finite PSNR; JSON has no infinity. Any real difference gives less than 102 dB at a
# million pixels.
PSNR_MAX = 120.0


def rounded(image: Tensor) -> Tensor:
    """Clipped to 0..1 and rounded to 8 bits, as a picture file would hold it; float64 [H,W,3] in 0..1."""
    return (image.detach().double().clamp(0.0, 1.0) * 255.0).round() / 255.0


def psnr(image: Tensor, target: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of two pictures [H,W,3] in 0..1, over the pixels where mask [H,W] is above 0.5.

    The mean is taken over pixels and channels of this one picture; a set's PSNR is the mean of its pictures'.
    """
    error = ((image.double() - target.double()) ** 2).numpy()
    if mask is not None:
        error = error[mask.numpy() > 0.5]
    return math.nan if error.size == 0 else psnr_of(float(error.mean()))


def psnr_of(mse: float) -> float:
    """PSNR in dB of a mean squared error of values in 0..1, PSNR_MAX at most."""
    return PSNR_MAX if mse <= 10 ** (-PSNR_MAX / 10) else -10.0 * math.log10(mse)


def ssim(image: Tensor, target: Tensor, mask: Tensor | None = None) -> float:
    """Mean structural similarity, window 11x11, sigma 1.5, zero padding, float64.

    With a mask [H,W] both pictures are set to black outside it first (the composite of the masked protocols) and the
    mean is over the whole picture.
    """
    x, y = image.double(), target.double()
    if mask is not None:
        x, y = composite(x, mask), composite(y, mask)
    return float(ssim_map(x, y).numpy().mean())


def composite(image: Tensor, mask: Tensor) -> Tensor:
    """The picture [H,W,3] on black outside the mask [H,W]."""
    return torch.where(mask[..., None] > 0.5, image, torch.zeros_like(image))

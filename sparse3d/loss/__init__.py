# SPDX-License-Identifier: Apache-2.0
"""Measures of difference between pictures. The training loss itself is a kernel; `lpips` needs the user's weights."""

from __future__ import annotations

from sparse3d.loss.lpips import Lpips
from sparse3d.loss.metrics import composite, psnr, psnr_of, rounded, ssim

__all__ = ["Lpips", "composite", "psnr", "psnr_of", "rounded", "ssim"]

# SPDX-License-Identifier: Apache-2.0
"""Measures of difference between pictures. The training loss itself is a kernel; `lpips` needs the user's weights."""

from __future__ import annotations

from sparse3d.loss.lpips import Lpips
from sparse3d.loss.metrics import PSNR_MAX, composite, psnr, rounded, ssim

__all__ = ["PSNR_MAX", "Lpips", "composite", "psnr", "rounded", "ssim"]

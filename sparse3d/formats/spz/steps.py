# SPDX-License-Identifier: Apache-2.0
"""How coarsely each splat's harmonics are rounded: an error costs what the splat weighs in pictures.

The squared error of a picture that a wrong colour c of one splat makes is about c^2 alpha^2 A, with its opacity alpha
and the area A of its two larger axes. Bits are spent best where step^2 times that weight is the same for all splats
(reverse water-filling, Cover and Thomas, chapter 10); half-way towards that (`rounding` 0.5) measured best on trained
scenes, where views differ in which splats they see.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST_LOG_ALPHA = -7.0


def log2_weights(logits: NDArray[np.float32], log_scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N] binary logarithm of alpha^2 A over its mean, from opacity logits [N] and log scales [N,3]."""
    x = np.nan_to_num(logits, nan=-50, posinf=50, neginf=-50).clip(-50, 50)
    log_alpha = np.maximum(-np.log1p(np.exp(-x)), _LEAST_LOG_ALPHA)
    sizes = np.nan_to_num(log_scales, nan=-20, posinf=20, neginf=-20).clip(-20, 20)
    log_weight = (2 * log_alpha + sizes.sum(axis=1) - sizes.min(axis=1)).astype(np.float64)
    top = log_weight.max()
    mean = top + np.log(np.mean(np.exp(log_weight - top)))
    return ((log_weight - mean) / np.log(2)).astype(np.float32)


def sh_steps(weights: NDArray[np.float32], bits: tuple[float, float], rounding: float, k: int) -> NDArray[np.float32]:
    """[N,K] steps in bytes, powers of two from 1 to 128. bits: of degree 1 and above for a splat of mean weight."""
    coarser = -0.5 * rounding * weights
    steps = np.empty((len(weights), k), dtype=np.float32)
    steps[:, :3] = 2.0 ** np.floor(coarser + (8 - bits[0])).clip(0, 7)[:, None]
    steps[:, 3:] = 2.0 ** np.floor(coarser + (8 - bits[1])).clip(0, 7)[:, None]
    return steps

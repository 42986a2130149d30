# SPDX-License-Identifier: Apache-2.0
"""The splats that training begins with, made from points."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.conventions import MAX_SH_DEGREE, SH_C0
from sparse3d.errors import DataError, UsageError
from sparse3d.kernels.neighbours import nearest_distances
from sparse3d.records.points import Points
from sparse3d.splats import Splats, num_sh_rest

# A splat begins at most this many times larger than the median one, or a lone point would veil the pictures.
_SCALE_CLIP = 10.0
# Across a surface, a splat begins this much thinner than along it.
_THINNESS = 0.3


def init_splats(points: Points, sh_degree: int, *, opacity: float = 0.1, seed: int = 0) -> Splats:
    """One splat at every point: round ones, as in 3DGS (Kerbl et al. 2023, section 5.2), or, where the points are
    oriented, discs of their radius across their normal, of an opacity that depends on their confidence.

    The standard deviation of round splats is the mean distance to the 3 nearest other points, kept between 1e-3 and 10
    times its median; colour from the point, higher harmonics zero. Points at one place are moved apart by a hundredth
    of the median distance, so that density control can tell them apart; only that needs `seed`. Raises DataError
    without points or for values that are not finite, UsageError for a degree outside 0 to 4.
    """
    if not 0 <= sh_degree <= MAX_SH_DEGREE:
        raise UsageError(f"Spherical-harmonics degree {sh_degree} is outside 0 to {MAX_SH_DEGREE}")
    if not 0.0 < opacity < 1.0:
        raise UsageError(f"Initial opacity {opacity} is outside 0 to 1")
    count = len(points)
    if count == 0:
        raise DataError("Cannot start from 0 points: give points, more photos that overlap, or camera poses")
    if not (np.isfinite(points.xyz).all() and np.isfinite(points.rgb).all()):
        raise DataError(f"Of the {count} initial points some are NaN or infinite")
    xyz = points.xyz.astype(np.float32)
    distance = nearest_distances(xyz, 3)
    mean = distance.mean(axis=1)
    positive = mean[mean > 0]
    middle = float(np.median(positive)) if len(positive) else 1.0
    twins = distance[:, 0] == 0.0
    if count > 1 and twins.any():
        rng = np.random.default_rng(seed)
        xyz = xyz.copy()
        xyz[twins] += (0.01 * middle * rng.standard_normal((int(twins.sum()), 3))).astype(np.float32)
    if points.normal is not None and points.radius is not None and points.confidence is not None:
        log_scales, quats = _flat_on(points.normal, points.radius)
        # What was filled in begins faint: where it is wrong, training removes it before it hides what is behind.
        opacities = opacity_of_confidence(points.confidence, opacity)
    else:
        scale = np.clip(mean, 1e-3 * middle, _SCALE_CLIP * middle)
        log_scales = np.repeat(np.log(scale).astype(np.float32)[:, None], 3, axis=1)
        quats = np.zeros((count, 4), np.float32)
        quats[:, 0] = 1.0
        opacities = np.full(count, opacity, np.float32)
    rgb = np.clip(points.rgb, 0.0, 1.0)
    sh0 = ((rgb - 0.5) / SH_C0).astype(np.float32)
    return Splats(
        means=torch.from_numpy(np.ascontiguousarray(xyz)),
        quats_wxyz=torch.from_numpy(quats),
        log_scales=torch.from_numpy(log_scales),
        logit_opacities=torch.from_numpy(np.log(opacities / (1.0 - opacities)).astype(np.float32)),
        sh0=torch.from_numpy(sh0[:, None, :].copy()),
        shN=torch.zeros((count, num_sh_rest(sh_degree), 3), dtype=torch.float32),
    )


def opacity_of_confidence(confidence: NDArray[np.float32], opacity: float) -> NDArray[np.float32]:
    """First opacities [N]: `opacity` where nothing confirmed a point, up to 3 times that where several photos agree.
    (With much more, splats that are wrong hide others for too long.)"""
    return np.minimum(opacity * (1.0 + 2.0 * np.clip(confidence, 0.0, 1.0)), 0.95).astype(np.float32)


def _flat_on(
    normal: NDArray[np.float32], radius: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """log_scales [N,3] and quats_wxyz [N,4] of discs of `radius` [N] across `normal` [N,3], thin along their z axis."""
    scales = np.repeat(np.maximum(radius, 1e-12)[:, None], 3, axis=1)
    scales[:, 2] *= _THINNESS
    # The shortest turn from (0, 0, 1) to the normal: half-way vector, Rodrigues.
    x, y, z = normal.T
    quats = np.stack([1.0 + z, -y, x, np.zeros_like(x)], axis=1)
    backward = quats[:, 0] < 1e-6
    quats[backward] = (0.0, 1.0, 0.0, 0.0)
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    return np.log(scales).astype(np.float32), quats.astype(np.float32)

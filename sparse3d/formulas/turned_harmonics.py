# SPDX-License-Identifier: Apache-2.0
"""Spherical harmonics of a scene that is turned: each degree's coefficients mix among themselves."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.formulas.harmonics import sh_basis

# Directions on a spiral over the sphere; more than the 9 unknowns of degree 4, so that the equations are well posed.
_DIRECTIONS = 48


def band_rotations(rotation: NDArray[np.float64], degree: int) -> list[NDArray[np.float64]]:
    """For l = 1..degree the matrix [2l+1,2l+1] that turns the coefficients of that degree with the scene.

    rotation [3,3]: world' = rotation @ world. A colour f(d) becomes f(rotation^T d); both sides are sampled at fixed
    directions and the linear equations solved, which is exact but for rounding, for a degree is closed under rotation.
    """
    directions = _spiral()
    fixed = _basis(directions, degree)
    turned = _basis(directions @ rotation, degree)
    bands = [slice(order**2, (order + 1) ** 2) for order in range(1, degree + 1)]
    return [np.linalg.pinv(fixed[:, band]) @ turned[:, band] for band in bands]


def _basis(directions: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    return sh_basis(torch.from_numpy(np.ascontiguousarray(directions)), degree).numpy()


def _spiral() -> NDArray[np.float64]:
    """[48,3] unit vectors, spread evenly (Fibonacci's spiral)."""
    step = np.arange(_DIRECTIONS)
    z = 1.0 - (2.0 * step + 1.0) / _DIRECTIONS
    angle = step * np.pi * (3.0 - np.sqrt(5.0))
    radius = np.sqrt(1.0 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)

# SPDX-License-Identifier: Apache-2.0
"""Local origins for places so far from the world's own that float32 cannot tell neighbours apart."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# A place in the world, in its units.
Origin = tuple[float, float, float]
# So many sizes of a scene from the origin, float32 has steps of 1/16000 of the size: a tenth of a pixel of a large
# photo.
FAR = 1000.0


def local_origin(middle: NDArray[np.float64], size: float) -> Origin:
    """The origin to count a scene around `middle` [3] of this size (0: unknown, taken as 1) from: the world's own, or
    where that is far, the middle in whole numbers, with as many digits as a small scene needs: people read them."""
    unit = size if size > 0.0 else 1.0
    if float(np.linalg.norm(middle)) <= FAR * unit:
        return (0.0, 0.0, 0.0)
    return as_origin(np.round(middle, max(0, -math.floor(math.log10(unit)))))


def as_origin(xyz: NDArray[np.float64]) -> Origin:
    """Plain numbers, no -0."""
    return (float(xyz[0]) + 0.0, float(xyz[1]) + 0.0, float(xyz[2]) + 0.0)


def spread(xyz: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The middle [3] of points [N,3], by medians, and their median distance from it. What is not finite does not
    count; (0, 0) where nothing is left."""
    known = xyz[np.isfinite(xyz).all(axis=1)]
    if not len(known):
        return np.zeros(3), 0.0
    middle = np.median(known, axis=0)
    return middle, float(np.median(np.linalg.norm(known - middle, axis=1)))


def near_origin(xyz: NDArray[np.float64]) -> tuple[NDArray[np.float32], Origin]:
    """Positions [N,3] as float32 about a local origin, and that; about the world's own where they are not far."""
    origin = local_origin(*spread(xyz))
    with np.errstate(over="ignore"):
        return (xyz - np.array(origin)).astype(np.float32), origin

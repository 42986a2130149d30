# SPDX-License-Identifier: Apache-2.0
"""Turning splats into axes that differ from ours (x right, y down, z forward) by signs only.

A change of the signs (sx, sy, sz) of the axes mirrors or turns space. Positions get the signs. A rotation R becomes
S R S, so a quaternion's (x, y, z) get (sy sz, sx sz, sx sy). A real spherical harmonic of degree l and order m is a
polynomial whose powers of x, y and z are each all even or all odd: z has the parity of l - |m|; (x + iy)^|m| gives
its real part for m >= 0 (y even, x like |m|), its imaginary part for m < 0 (y odd, x like |m| - 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Signs = tuple[int, int, int]
# Right-up-back, the axes of OpenGL, three.js and SPZ: y and z point the other way.
RIGHT_UP_BACK: Signs = (1, -1, -1)


def quat_signs(signs: Signs) -> NDArray[np.float32]:
    """Factors of (w, x, y, z)."""
    x, y, z = signs
    return np.array([1, y * z, x * z, x * y], dtype=np.float32)


def sh_signs(signs: Signs, degree: int) -> NDArray[np.float32]:
    """Factors [K] of the coefficients above degree 0, in our order: by degree, then order -l..l."""
    x, y, z = signs
    out = []
    for band in range(1, degree + 1):
        for m in range(-band, band + 1):
            odd = m < 0
            out.append(x ** (abs(m) - odd) * y**odd * z ** (band - abs(m)))
    return np.array(out, dtype=np.float32)

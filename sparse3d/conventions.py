# SPDX-License-Identifier: Apache-2.0
"""Numbers that every back end must agree on. `math/thresholds.h` holds the same values for native code;
`tests/kernels/test_thresholds.py` compares the two."""

from __future__ import annotations

import math

# Side of a square raster tile. 16 pixels are one AVX-512 register, two AVX2 ones.
TILE_PX = 16
# Added to the diagonal of the 2D covariance, in px^2, so that no splat is thinner than a pixel (3DGS, Kerbl 2023).
LOW_PASS_PX2 = 0.3
# Contributions below one 8-bit grey level are dropped; a splat's extent is the ellipse where alpha reaches this.
ALPHA_MIN = 1.0 / 255.0
# Keeps 1 / (1 - alpha) in the backward pass below 100.
ALPHA_MAX = 0.99
# Blending of a pixel ends before transmittance would fall below this (3DGS).
TRANSMITTANCE_STOP = 1e-4
# The projection's Jacobian is evaluated inside this multiple of the field of view: far outside, the affine
# approximation explodes (3DGS).
FOV_CLAMP = 1.3
# Splats nearer than this to the camera plane are culled, in world units (gsplat uses the same default).
NEAR_PLANE = 0.01
# Highest spherical-harmonics degree that the kernels evaluate.
MAX_SH_DEGREE = 4
# Zeroth spherical-harmonics basis function, 1 / (2 sqrt(pi)): colour = 0.5 + SH_C0 * sh0.
SH_C0 = 0.5 / math.sqrt(math.pi)

# SPDX-License-Identifier: Apache-2.0
"""Real spherical harmonics up to degree 4, in the order and with the signs of 3DGS (Kerbl et al. 2023)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparse3d.conventions import MAX_SH_DEGREE, SH_C0
from sparse3d.errors import DataError

# Norms of the basis functions, sqrt((2l+1)/(4 pi) * ...) with the polynomial's own factor divided out. 3DGS keeps the
# Condon-Shortley phase, so functions of odd m carry a minus sign.
_C1 = math.sqrt(3 / (4 * math.pi))
_C2 = (math.sqrt(15 / (4 * math.pi)), math.sqrt(5 / (16 * math.pi)), math.sqrt(15 / (16 * math.pi)))
_C3 = (
    math.sqrt(35 / (32 * math.pi)),
    math.sqrt(105 / (4 * math.pi)),
    math.sqrt(21 / (32 * math.pi)),
    math.sqrt(7 / (16 * math.pi)),
    math.sqrt(105 / (16 * math.pi)),
)
_C4 = (
    3 / 4 * math.sqrt(35 / math.pi),
    3 / 4 * math.sqrt(35 / (2 * math.pi)),
    3 / 4 * math.sqrt(5 / math.pi),
    3 / 4 * math.sqrt(5 / (2 * math.pi)),
    3 / 16 * math.sqrt(1 / math.pi),
    3 / 8 * math.sqrt(5 / math.pi),
    3 / 16 * math.sqrt(35 / math.pi),
)


def sh_basis(dirs: Tensor, degree: int) -> Tensor:
    """The (degree + 1)^2 basis functions at unit vectors.

    dirs [...,3], unit length; degree 0 to 4. Returns [...,(degree + 1)^2] in the order l = 0..degree, m = -l..l.
    Raises DataError for another degree.
    """
    if not 0 <= degree <= MAX_SH_DEGREE:
        raise DataError(f"rasterize: sh_degree is {degree}, expected 0 to {MAX_SH_DEGREE}")
    x, y, z = dirs.unbind(-1)
    terms = [torch.full_like(x, SH_C0)]
    if degree >= 1:
        terms += [-_C1 * y, _C1 * z, -_C1 * x]
    xx, yy, zz = x * x, y * y, z * z
    if degree >= 2:
        terms += [
            _C2[0] * x * y,
            -_C2[0] * y * z,
            _C2[1] * (2 * zz - xx - yy),
            -_C2[0] * x * z,
            _C2[2] * (xx - yy),
        ]
    if degree >= 3:
        terms += [
            -_C3[0] * y * (3 * xx - yy),
            _C3[1] * x * y * z,
            -_C3[2] * y * (4 * zz - xx - yy),
            _C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
            -_C3[2] * x * (4 * zz - xx - yy),
            _C3[4] * z * (xx - yy),
            -_C3[0] * x * (xx - 3 * yy),
        ]
    if degree >= 4:
        terms += [
            _C4[0] * x * y * (xx - yy),
            -_C4[1] * y * z * (3 * xx - yy),
            _C4[2] * x * y * (7 * zz - 1),
            -_C4[3] * y * z * (7 * zz - 3),
            _C4[4] * (zz * (35 * zz - 30) + 3),
            -_C4[3] * x * z * (7 * zz - 3),
            _C4[5] * (xx - yy) * (7 * zz - 1),
            -_C4[1] * x * z * (xx - 3 * yy),
            _C4[6] * (xx * (xx - 3 * yy) - yy * (3 * xx - yy)),
        ]
    return torch.stack(terms, dim=-1)


def evaluate_sh(dirs: Tensor, sh0: Tensor, shN: Tensor, degree: int) -> Tensor:
    """0.5 + the sum of the terms, before the clamp at zero.

    dirs [N,3] unit vectors from the camera to the splat, world frame; sh0 [N,1,3]; shN [N,K,3], of which the terms
    above `degree` are left out. Returns [N,3], unbounded. Raises DataError where shN holds fewer than `degree` needs.
    """
    basis = sh_basis(dirs, degree)
    if basis.shape[1] - 1 > shN.shape[1]:
        raise DataError(f"rasterize: sh_degree {degree} needs more than the {shN.shape[1]} coefficients in shN")
    colors = 0.5 + basis[:, :1] * sh0[:, 0]
    if degree > 0:
        colors = colors + (basis[:, 1:, None] * shN[:, : basis.shape[1] - 1]).sum(1)
    return colors

# SPDX-License-Identifier: Apache-2.0
"""Bits of SPZ's numbers fitted to a scene: of positions to its extent, of harmonics to how large they are.

SPZ has one fixed scale for harmonics, -1 to 1, and short training leaves them small: steps that suit one scene round
all of another's to zero. On a scene of 43 photos whose harmonics have a root mean square of 0.026 (training photos, all
splats, nothing trained after, bytes a splat):

    as trained 36.1 dB; no harmonics 30.5 at 14.6; 4.5 and 3.5 bits 31.5 at 15.4; 6 and 5 bits 34.1 at 19.1
    6 bits, the 10 % of the coefficients that `sh_cut` finds to show most 33.7 at 16.4; 30 % 34.9 at 18.4; 60 % 35.3
    at 20.6; 7 bits of 10 % 33.7 at 17.1, of 30 % 35.1 at 20.4
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.splats import Splats

_LAST_FIXED = 2**23 - 1
# Usual bits of a harmonic of degree 1, and of those above it.
SH1_BITS, SH_REST_BITS = 4.5, 3.5
# A step for a splat of mean weight, in root mean squares of the harmonics: 6 bits in the table above.
_STEP = 1.2
_FEWEST_BITS, _MOST_BITS = SH1_BITS, 8.0


def fitted_position_bits(means: NDArray[np.float32], log_scales: NDArray[np.float32]) -> int:
    """Fractional bits, the fewest that keep positions [N,3] well inside of even small splats (log scales [N,3]), 0 to
    23, but never more than the farthest splat leaves of 24 bits. Raises DataError where it leaves none."""
    largest = float(np.abs(means).max())
    if largest > _LAST_FIXED:
        raise DataError(
            f"SPZ cannot hold a position of {largest:g}: 24 bits reach to {_LAST_FIXED}; move the scene nearer to its "
            "origin, or write PLY or SOG"
        )
    room = min(23, math.floor(math.log2(_LAST_FIXED / max(largest, 1e-30))))
    # A step of a quarter of the size that a twentieth of the splats fall below.
    small = float(np.quantile(np.nan_to_num(log_scales, nan=0, posinf=0, neginf=-10).max(axis=1), 0.05))
    return max(0, min(room, math.ceil(-small / math.log(2)) + 2))


def fitted_sh_bits(splats: Splats) -> float:
    """Bits of SPZ's harmonics, 4.5 to 8 in halves, whose step is 1.2 root mean squares of the splats' harmonics.

    To be asked of splats before anything of them is cut. A scene without harmonics gets the fewest.
    """
    values = splats.shN.detach().numpy().astype(np.float64)
    square = float(np.mean(np.minimum(values * values, 1.0))) if values.size else 0.0
    if not square > 0.0:
        return _FEWEST_BITS
    # A knob of b bits means steps of 2^(8 - b) in units of 1/128.
    bits = 8.0 - math.log2(128.0 * _STEP * math.sqrt(square))
    return float(np.clip(round(2 * bits) / 2, _FEWEST_BITS, _MOST_BITS))

# SPDX-License-Identifier: Apache-2.0
"""Where SPZ saves bytes: harmonics of 0 are packed to next to nothing, and every stream can be rounded more."""

from __future__ import annotations

from collections.abc import Sequence

from sparse3d.formats.losses import Knobs, Losses, ShChoice
from sparse3d.formats.spz.fitted import SH1_BITS, fitted_position_bits, fitted_sh_bits
from sparse3d.splats import Splats

# What rounds to less than a scene's own error: 12 % of the bytes for 0.03 dB, on a trained scene of three photos,
# before training through it.
_COARSE = {"rotation_bits": 6.0, "colour_bits": 6.0, "alpha_bits": 6.0}


def _harmonics(splats: Splats) -> Sequence[ShChoice]:
    bits = fitted_sh_bits(splats)
    fine = {"sh1_bits": bits, "sh_rest_bits": bits} if bits > SH1_BITS else {}
    return (*(ShChoice(share, fine) for share in (0.1, 0.3, 0.6)), ShChoice(1.0))


def _coarser(splats: Splats) -> Sequence[Knobs]:
    fitted = fitted_position_bits(splats.means.numpy(), splats.log_scales.numpy())
    return _COARSE, {**_COARSE, "position_bits": float(max(fitted - 1, 0))}


LOSSES = Losses(
    harmonics=_harmonics,
    coarser=_coarser,
    whole={"rotation_bits": 9.0, "colour_bits": 8.0, "alpha_bits": 8.0},
    finest={"sh1_bits": 8.0, "sh_rest_bits": 8.0, "sh_rounding": 0.0},
)

# SPDX-License-Identifier: Apache-2.0
"""Where SOG saves bytes: smaller palettes and codebooks, and fewer bits of places and rotations."""

from __future__ import annotations

from sparse3d.formats.losses import Losses, ShChoice

_HARMONICS = (
    ShChoice(0.05, {"palette": 128, "sh_entries": 64}),
    ShChoice(0.1, {"palette": 256, "sh_entries": 64}),
    ShChoice(0.3, {"palette": 1024, "sh_entries": 128}),
    ShChoice(1.0, {"palette": 8192}),
)
# What rounds to less than a scene's own error: 16 % of the bytes for less than 0.01 dB, and rotations of 6 bits another
# 6 % for 0.07, on a trained scene of three photos, before training through it.
_COARSE = {"scale_entries": 64.0, "colour_entries": 64.0, "position_bits": 14.0}
_COARSER = {**_COARSE, "quat_bits": 6.0, "position_bits": 13.0}

LOSSES = Losses(
    harmonics=lambda splats: _HARMONICS,
    coarser=lambda splats: (_COARSE, _COARSER),
    whole={"quat_bits": 8.0, "scale_entries": 256.0, "colour_entries": 256.0, "sh_entries": 256.0},
    palette="palette",
    slow=True,
)

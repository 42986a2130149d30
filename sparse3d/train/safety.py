# SPDX-License-Identifier: Apache-2.0
"""Whether a loss can be right."""

from __future__ import annotations

import math


def is_sound_loss(loss: float) -> bool:
    """A photometric loss of pictures in 0..1 is a few units at most, even where the rendering is far too bright."""
    return math.isfinite(loss) and abs(loss) < 1e6

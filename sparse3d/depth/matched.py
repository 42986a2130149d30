# SPDX-License-Identifier: Apache-2.0
"""The record of one photo's matches, and which of them may be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.kernels.cpu.mvs import MvsImage, Planes

# An island of agreeing pixels smaller than this matched by chance.
_ISLAND_PX = 120
# Cost above which a match is not believed even where two photos agree.
_COST_MAX = 0.75
# From this many photos on, it is not enough that one agrees.
_MANY_PHOTOS = 6


@dataclass(frozen=True)
class Matched:
    """One photo's matches: planes [H,W,4] (kernels/cpu/mvs.py); agreeing, hidden, passed [H,W] bytes: how many other
    photos agree on the depth, see something in front of it, see through it; sources: how many photos it was matched
    with."""

    image: MvsImage
    rgb: NDArray[np.uint8]
    planes: Planes
    agreeing: NDArray[np.uint8]
    hidden: NDArray[np.uint8]
    passed: NDArray[np.uint8]
    sources: int


def sure_pixels(found: Matched) -> NDArray[np.bool_]:
    """[H,W] where a match may be believed: at least as many other photos confirm it as see through it, no island."""
    needed = 2 if found.sources + 1 >= _MANY_PHOTOS else 1
    planes = found.planes
    sure = (found.agreeing >= needed) & (planes[..., 3] < _COST_MAX) & (found.passed <= found.agreeing)
    return sure & ~_islands(planes[..., 0], sure)


def first_sure(candidates: Sequence[Matched]) -> Matched:
    """One photo's matches out of several candidates, the best first: each pixel's from the first that is sure of it,
    else from the first."""
    best = candidates[0]
    sure = sure_pixels(best)
    for other in candidates[1:]:
        taken = sure_pixels(other) & ~sure
        sure |= taken
        best = replace(
            best,
            planes=np.ascontiguousarray(np.where(taken[..., None], other.planes, best.planes)),
            agreeing=np.where(taken, other.agreeing, best.agreeing),
            hidden=np.where(taken, other.hidden, best.hidden),
            passed=np.where(taken, other.passed, best.passed),
        )
    return best


def _islands(w: NDArray[np.float32], sure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Sure pixels in connected pieces that are too small; a piece has no step above about a hundredth of the range."""
    if not sure.any():
        return np.zeros_like(sure)
    low, high = np.quantile(w[sure], [0.01, 0.99])
    scaled = np.clip((w - low) / max(high - low, 1e-12), 0.0, 1.0) * 8000.0 + 1.0
    levels = np.where(sure, scaled, 0.0).astype(np.int16)
    kept, _ = cv2.filterSpeckles(levels.copy(), 0, _ISLAND_PX, 120)
    return sure & (kept == 0)

# SPDX-License-Identifier: Apache-2.0
"""The size that photos are trained at where nobody gives one: from their number, sharpness and the preset's effort.

It never depends on a clock, so that it is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.load.config import SceneConfig
from sparse3d.photos.files import decode, photo_info
from sparse3d.photos.photo import Photo

# From this many training photos on, the preset's effort alone decides.
_MANY_PHOTOS = 12
# Photos that are decoded to judge their sharpness, evenly spread.
_JUDGED = 3
# A photo is not sharp at a size where halving its width and height takes away less than this, in levels of 255 (RMS).
_DETAIL_LEVELS = 1.0
# Sizes that are tried, as shares of the wanted one.
_SHARES = (1.0, 0.75, 0.5)
# A photo that is only this much larger keeps its size: resampling would blur it for next to nothing.
_NEARLY = 1.2
_STEP_PX = 16
_SIDE_MIN_PX = 320


@dataclass(frozen=True)
class TrainingSize:
    """side: most pixels along a photo's longer side; None: every photo keeps its own. reason: a sentence for the user,
    empty where nobody needs one."""

    side: int | None
    reason: str


def training_size(photos: Sequence[Photo], cfg: SceneConfig) -> TrainingSize:
    """What `cfg.max_side` means for these training photos. Raises DataError for a damaged photo."""
    if cfg.downscale is not None or cfg.max_side == "full":
        return TrainingSize(None, "")
    if cfg.max_side != "auto":
        return TrainingSize(int(cfg.max_side), "")
    own = max(max(photo_info(photo.path).size(bool(photo.upright))) for photo in photos)
    wanted = side_for(len(photos), cfg.auto_side)
    if own <= _NEARLY * wanted:
        return TrainingSize(None, "")
    judged = [photos[i] for i in sorted({round(k) for k in np.linspace(0, len(photos) - 1, _JUDGED)})]
    greys = [_grey(photo, wanted) for photo in judged]
    share = next((s for s in _SHARES if _detail(greys, s) >= _DETAIL_LEVELS), _SHARES[-1])
    side = max(min(_SIDE_MIN_PX, wanted), _STEP_PX * round(share * wanted / _STEP_PX))
    why = f"{len(photos)} training photos and the preset's effort carry"
    if share < 1.0:
        why = f"finer detail is not in these photos, though {len(photos)} of them could carry"
    return TrainingSize(
        side, f"photos of up to {own} pixels are trained at {side}: {why} {wanted} (--max-side N or full overrides)"
    )


def side_for(count: int, auto_side: int) -> int:
    """The longer side that `count` photos carry. Where photos are few, what lies between them limits a scene sooner
    than their pixels do, so that it grows with their number, up to `auto_side` for 12."""
    share = min(1.0, (count / _MANY_PHOTOS) ** (1.0 / 3.0))
    return _STEP_PX * round(share * auto_side / _STEP_PX)


def _grey(photo: Photo, side: int) -> NDArray[np.float32]:
    rgb, _ = decode(photo.path, upright=bool(photo.upright))
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return _shrunk(grey, side / max(grey.shape)).astype(np.float32)


def _detail(greys: Sequence[NDArray[np.float32]], share: float) -> float:
    """How much halving takes away from the photos, reduced by `share`: the RMS in levels of the middle one."""
    lost = []
    for grey in greys:
        at = _shrunk(grey, share)
        half = _shrunk(at, 0.5)
        back = cv2.resize(half, (at.shape[1], at.shape[0]), interpolation=cv2.INTER_CUBIC)
        lost.append(float(np.sqrt(np.mean(np.square(at - back, dtype=np.float64)))))
    return float(np.median(lost))


def _shrunk(grey: NDArray, scale: float) -> NDArray:
    if scale >= 1.0:
        return grey
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)

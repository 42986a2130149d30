# SPDX-License-Identifier: Apache-2.0
"""More matches for pairs of photos in which plain features found few: affine-adapted features, then tilted pictures.

Of four photos around an object on a sheet of paper, 60 to 180 degrees apart, affine-adapted features connect four pairs
weakly, tilted pictures all six.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.sfm.database import Pair, PairMatches, Progress, extract, match, verified
from sparse3d.sfm.tilted import TiltedFeatures, match_tilted, on_planes, tilted_features

# A pair with fewer verified matches than this is searched for more; tilted pictures give more than affine features.
WEAK = {"affine": 100, "tilted": 300}
# Small pictures show which pairs have anything in common; only those are then compared at full effort. There, pairs
# without have up to 17 matches on one plane, pairs with at least 27 (45 pairs of three scenes).
_SMALL_SIDE, _SMALL_COUNT, _SMALL_TILT = 320, 6000, 4.0
_LARGE_SIDE, _LARGE_COUNT, _LARGE_TILT = 800, 16000, 4.0 * 2**0.5
_ON_PLANE_MIN, _MORE_MIN = 20, 15
_ERROR_PX = 4.0


def weak_pairs(table: Sequence[Sequence[Any]], mapped: Sequence[str], below: int) -> list[Pair]:
    """The pairs among [name, name, matches, verified] with fewer verified than `below` and a photo to be mapped."""
    wanted = set(mapped)
    return [(a, b) for a, b, _, inliers in table if inliers < below and (a in wanted or b in wanted)]


def affine_matches(job: dict[str, Any], folder: Path, pairs: Sequence[Pair], say: Progress) -> dict[Pair, PairMatches]:
    """Verified matches of affine-adapted features (see sfm.database.extract)."""
    database = folder / "affine.db"
    database.unlink(missing_ok=True)
    extract(job, folder, database, sorted({name for pair in pairs for name in pair}), say, affine=True)
    match(job, pairs, database, say, affine=True)
    return verified(database, pairs)


def tilted_matches(job: dict[str, Any], folder: Path, pairs: Sequence[Pair], say: Progress) -> dict[Pair, PairMatches]:
    """Matches of tilted pictures that one rigid scene explains."""
    threads = job["threads"] if job["threads"] > 0 else os.cpu_count() or 1
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(max_workers=threads) as pool:
        small = _matches(pool, folder, pairs, (_SMALL_SIDE, _SMALL_COUNT, _SMALL_TILT), say, "coarse wide")
        return _matches(pool, folder, list(small), (_LARGE_SIDE, _LARGE_COUNT, _LARGE_TILT), say, "wide")


def _matches(
    pool: ThreadPoolExecutor,
    folder: Path,
    pairs: Sequence[Pair],
    effort: tuple[int, int, float],
    say: Progress,
    what: str,
) -> dict[Pair, PairMatches]:
    side, count, tilt = effort
    names = sorted({name for pair in pairs for name in pair})
    features: dict[str, tuple[TiltedFeatures, float]] = {}

    def find(name: str) -> tuple[TiltedFeatures, float]:
        grey, mask, scale = _read(folder, name, side)
        return tilted_features(grey, mask, tilt_max=tilt, count_max=count), scale

    for name, found in zip(names, pool.map(find, names), strict=True):
        features[name] = found
        say(f"{what} features", len(features) / len(names))

    def compare(pair: Pair) -> PairMatches:
        (a, scale_a), (b, scale_b) = features[pair[0]], features[pair[1]]
        xy_a, xy_b = match_tilted(a, b)
        good = on_planes(xy_a, xy_b, error_px=_ERROR_PX, count_min=_ON_PLANE_MIN, more_min=_MORE_MIN)
        return xy_a[good] / scale_a, xy_b[good] / scale_b

    out: dict[Pair, PairMatches] = {}
    for done, (pair, found) in enumerate(zip(pairs, pool.map(compare, pairs), strict=True)):
        if len(found[0]):
            out[pair] = found
        say(f"{what} matching", (done + 1) / len(pairs))
    return out


def _read(folder: Path, name: str, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, float]:
    """A working photo in grey at the longer side wanted (not enlarged), its mask, and the factor it was reduced by."""
    grey = cv2.imdecode(np.frombuffer((folder / "photos" / name).read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert grey is not None, "the working photos were written by this program"
    height, width = grey.shape
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    mask_path = folder / "masks" / f"{name}.png"
    mask = None
    if mask_path.is_file():
        full = cv2.imdecode(np.frombuffer(mask_path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
        assert full is not None, "the masks were written by this program"
        mask = cv2.resize(full, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8, copy=False)
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return small, mask, size[0] / width

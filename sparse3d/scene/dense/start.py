# SPDX-License-Identifier: Apache-2.0
"""What training starts from where photos are few: depth of every photo, and the points of all of them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sparse3d.scene.dense.depth import FILLED_CONFIDENCE, depth_maps
from sparse3d.scene.dense.fuse import FuseConfig, fuse
from sparse3d.scene.dense.match import match_photos
from sparse3d.scene.dense.surround import SurroundConfig, surround
from sparse3d.scene.depth_map import DepthMap
from sparse3d.scene.records import Points, Scene

# Of all pixels, so many must be matched and confirmed; else the photos are too far apart for dense depth.
_SURE_MIN = 0.03


@dataclass(frozen=True)
class DenseStart:
    """points: oriented, of all photos; maps: depth by scene index; photos: the pictures at the maps' sizes."""

    points: Points
    maps: dict[int, DepthMap]
    photos: dict[int, NDArray[np.uint8]]
    sentence: str


def dense_start(
    scene: Scene,
    sparse: Points | None,
    *,
    given: Mapping[int, DepthMap] | None = None,
    spacing_px: float,
    count: int,
    margin: float,
    progress: Callable[[str, float], None] | None = None,
) -> DenseStart | None:
    """Dense depth of the training photos fused to points every `spacing_px` pixels, about `count`
    at most, with a guess of what lies around the photos
    (`margin`, share of their size; 0: none). None where the photos do not match densely: start from `sparse` then.

    sparse: triangulated points, they give the range of depths. given: the user's own metric depth, which fills what
    was not matched. From the training photos only.
    """
    matches = match_photos(scene, sparse, progress=progress)
    maps = depth_maps(matches)
    maps = {index: completed(found, given.get(index) if given else None) for index, found in maps.items()}
    sure = [float((found.confidence > FILLED_CONFIDENCE).mean()) for found in maps.values()]
    if not maps or np.mean(sure) < _SURE_MIN:
        return None
    photos = {index: found.rgb for index, found in matches.items()}
    points = fuse(maps, photos, FuseConfig(spacing_px, count))
    sentence = (
        f"{len(points):,} points from dense depth of {len(maps)} photos ({100 * np.mean(sure):.0f} % of the pixels "
        "matched and confirmed)"
    )
    if margin > 0 and not scene.has_masks and scene.images.alpha(scene.train[0]) is None:
        around = surround(maps, photos, SurroundConfig(margin=margin))
        sentence += f", {len(around):,} guessed around them"
        points = joined(points, around)
    return DenseStart(points, maps, photos, sentence)


def completed(found: DepthMap, given: DepthMap | None) -> DepthMap:
    """`found` with the user's depth where nothing was matched."""
    if given is None:
        return found
    height, width = found.depth.shape
    row = np.minimum(
        ((np.arange(height) + 0.5) * given.depth.shape[0] / height).astype(np.int64), given.depth.shape[0] - 1
    )
    column = np.minimum(
        ((np.arange(width) + 0.5) * given.depth.shape[1] / width).astype(np.int64), given.depth.shape[1] - 1
    )
    at = np.ix_(row, column)
    use = (found.confidence <= FILLED_CONFIDENCE) & (given.confidence[at] > 0)
    return DepthMap(
        found.camera,
        np.where(use, given.depth[at], found.depth),
        np.where(use, given.confidence[at], found.confidence),
        np.where(
            use[..., None] & (np.abs(given.normal[at]).sum(axis=-1, keepdims=True) > 0), given.normal[at], found.normal
        ),
    )


def joined(a: Points, b: Points) -> Points:
    """Two sets of oriented points as one."""
    columns = {}
    for field in fields(Points):
        parts = [getattr(points, field.name) for points in (a, b)]
        columns[field.name] = None if any(part is None for part in parts) else np.concatenate(parts)
    return Points(**columns)

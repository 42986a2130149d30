# SPDX-License-Identifier: Apache-2.0
"""The start where photos are few: a depth map of every photo, and the points of all of them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.depth.depth_map import DepthMap
from sparse3d.depth.fuse import FuseConfig, fuse
from sparse3d.depth.hull import Hull, scene_hull
from sparse3d.depth.maps import FILLED_CONFIDENCE, depth_maps
from sparse3d.depth.match import match_photos
from sparse3d.records.points import Points
from sparse3d.records.scene import Scene
from sparse3d.start.hull_points import hull_points, unmatched
from sparse3d.start.surround import SurroundConfig, surround

# This share of all pixels must be matched and confirmed, or the photos are too far apart for dense depth.
_SURE_MIN = 0.03


@dataclass(frozen=True)
class DenseStart:
    """points: oriented, of all photos; maps: depth maps by scene index; photos: the pictures at the maps' sizes;
    sentence: where the points come from, for the user."""

    points: Points
    maps: dict[int, DepthMap]
    photos: dict[int, NDArray[np.uint8]]
    sentence: str


def dense_start(
    scene: Scene,
    triangulated: Points | None,
    *,
    given: Mapping[int, DepthMap] | None = None,
    spacing_px: float,
    count: int,
    margin: float,
    progress: Callable[[str, float], None] | None = None,
) -> DenseStart | None:
    """Depth maps of the training photos, and the points they fuse to: one every `spacing_px` pixels, about `count` at
    most, and a guess of what lies around the photos (`margin`, share of their size; 0: none). None if the photos do not
    match densely; start from triangulated points then. From the training photos only.

    triangulated: points that give the range of depths. given: the user's own metric depth, which fills what was not
    matched.

    If masks (or alpha channels) show an object, what lies outside its visual hull is left out, and points on the hull
    stand where nothing was matched; then there is a start however little matches.
    """
    hull = scene_hull(scene)
    shell = None if hull is None else hull_points(hull, {s.index: scene.images.rgb8(s.index) for s in hull.silhouettes})
    matches = match_photos(scene, triangulated, progress=progress)
    maps = depth_maps(matches)
    maps = {index: completed(found, given.get(index) if given else None) for index, found in maps.items()}
    if hull is not None:
        maps = masked(maps, hull)
    sure = [float((found.confidence > FILLED_CONFIDENCE).mean()) for found in maps.values()]
    photos = {index: found.rgb for index, found in matches.items()}
    if not maps or np.mean(sure) < _SURE_MIN:
        if shell is None:
            return None
        return DenseStart(shell, maps, photos, f"{len(shell):,} points on the visual hull of the masks")
    points = fuse(maps, photos, FuseConfig(spacing_px, count))
    if hull is not None:
        points = points.select(hull.contains(points.xyz))
    sentence = (
        f"{len(points):,} points from dense depth of {len(maps)} photos ({100 * np.mean(sure):.0f} % of the pixels "
        "matched and confirmed)"
    )
    if shell is not None:
        added = shell.select(unmatched(shell, maps))
        sentence += f", {len(added):,} on the visual hull of the masks where nothing matched"
        points = joined(points, added)
    if margin > 0 and shell is None and not scene.has_masks and scene.images.alpha(scene.train[0]) is None:
        around = surround(maps, photos, SurroundConfig(margin=margin))
        sentence += f", {len(around):,} guessed around them"
        points = joined(points, around)
    return DenseStart(points, maps, photos, sentence)


def masked(maps: Mapping[int, DepthMap], hull: Hull) -> dict[int, DepthMap]:
    """The maps with nothing outside their own photos' masks, which are widened by a pixel or so."""
    out = dict(maps)
    for silhouette in hull.silhouettes:
        found = maps.get(silhouette.index)
        if found is None:
            continue
        height, width = found.depth.shape
        mask = cv2.resize(silhouette.mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0
        out[silhouette.index] = DepthMap(
            found.camera, found.depth * mask, found.confidence * mask, found.normal * mask[..., None], found.metric
        )
    return out


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

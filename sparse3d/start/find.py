# SPDX-License-Identifier: Apache-2.0
"""What training starts from: coloured points, and where asked for depth maps and the hull of an object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse3d.depth.depth_map import DepthMap
from sparse3d.depth.hull import Hull, photo_mask, scene_hull
from sparse3d.depth.priors.load import Priors, load_priors
from sparse3d.records.points import Points
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats
from sparse3d.start.config import FEW_PHOTOS, StartConfig
from sparse3d.start.dense import dense_start, joined
from sparse3d.start.frustum_grid import FrustumGridConfig, frustum_grid
from sparse3d.start.init_splats import init_splats
from sparse3d.start.points import initial_points, sparse_points

Progress = Callable[[str, float], None]
# Points of at most this confidence were guessed.
_GUESS = 0.05
# From this many on, the points that structure from motion left say between which depths a scene lies.
_RANGE_POINTS = 1000


@dataclass(frozen=True)
class Start:
    """points: for the first splats. notes: where they come from. depth_maps: by index in the scene, where they are
    kept; hull: of an object's masks, where photos are few."""

    points: Points
    notes: tuple[str, ...]
    depth_maps: Mapping[int, DepthMap] = field(default_factory=dict)
    hull: Hull | None = None

    @property
    def surfaces(self) -> NDArray[np.float32]:
        """[N,3] points of what the photos show, without guesses."""
        confidence = self.points.confidence
        return self.points.xyz if confidence is None else self.points.xyz[confidence > _GUESS]

    def splats(self, sh_degree: int, *, opacity: float = 0.1, seed: int = 0) -> Splats:
        """The splats that training begins with."""
        return init_splats(self.points, sh_degree, opacity=opacity, seed=seed)


@dataclass(frozen=True)
class Search:
    """How to look for a start. keeps_depth: depth maps are wanted beside the points. workdir: where triangulated points
    are kept and found again. progress(stage, share)."""

    cfg: StartConfig = field(default_factory=StartConfig)
    seed: int = 0
    keeps_depth: bool = False
    workdir: Path | None = None
    progress: Progress | None = None


def find_start(scene: Scene, how: Search) -> Start:
    """Points and depth of the training photos alone: of dense depth where photos are few, else triangulated ones.
    Raises as `initial_points` and `load_priors` do."""
    return replace(_without_hull(scene, how), hull=hull_of(scene, how.cfg))


def hull_of(scene: Scene, cfg: StartConfig) -> Hull | None:
    """Where splats may be. Of many masks more than one is wrong somewhere: not to be trusted to remove anything."""
    return scene_hull(scene) if _wants_dense(scene, cfg) else None


def _without_hull(scene: Scene, how: Search) -> Start:
    cfg, wants_dense = how.cfg, _wants_dense(scene, how.cfg)
    wants_priors = cfg.prior_depth is not None or cfg.prior_normals is not None
    if not wants_dense and not wants_priors:
        points, sentence = initial_points(scene, workdir=how.workdir, progress=how.progress, seed=how.seed)
        return Start(points, (sentence,))
    sparse = _known_points(scene, how, wants_priors)
    priors = load_priors(scene, cfg, sparse, how.progress) if wants_priors else Priors()
    dense = None
    if wants_dense:
        dense = dense_start(
            scene, sparse, given=priors.depth_maps, spacing_px=cfg.dense_spacing, count=cfg.dense_points,
            margin=cfg.surround, progress=how.progress,
        )  # fmt: skip
    maps = dict(priors.depth_maps) if dense is None else dense.maps
    for index, relative in priors.relative.items():
        if index not in maps:
            maps[index] = relative.as_depth_map()
    if dense is not None:
        points, sentence = dense.points, dense.sentence
    else:
        points, sentence = initial_points(scene, workdir=how.workdir, progress=how.progress, seed=how.seed)
    notes = (sentence, *priors.notes)
    if wants_dense:
        points, more = _with_guesses(scene, points, how.seed)
        notes += more
    return Start(points, notes, maps if how.keeps_depth else {})


def _known_points(scene: Scene, how: Search, for_priors: bool) -> Points | None:
    """Points that give dense depth its range and the user's depth its scale. For the range alone those of structure
    from motion do, where they are many: to triangulate more of 12 photos takes as long as placing the cameras."""
    found = scene.points
    if not for_priors and scene.camera_source != "given" and found is not None and len(found) >= _RANGE_POINTS:
        return found
    return sparse_points(scene, None, how.workdir, how.progress)


def _with_guesses(scene: Scene, points: Points, seed: int) -> tuple[Points, tuple[str, ...]]:
    """`points` and some at random depths for those parts of the training photos that none of them is in, and a note."""
    cameras = [scene.cameras[i] for i in scene.train]
    photos = [scene.images.rgb8(i) for i in scene.train]
    masks = [photo_mask(scene, i) for i in scene.train]
    hull = scene_hull(scene)
    added = frustum_grid(cameras, photos, points, FrustumGridConfig(seed=seed), masks=masks, hull=hull)
    if len(added) == 0:
        return points, ()
    return joined(points, added), (f"{len(added):,} points at random depths where nothing else explains the photos",)


def _wants_dense(scene: Scene, cfg: StartConfig) -> bool:
    if cfg.dense == "off" or len(scene.train) < 2:
        return False
    given = scene.points is not None and len(scene.points) > 0 and scene.camera_source == "given"
    return cfg.dense == "on" or (len(scene.train) <= FEW_PHOTOS and not given)

# SPDX-License-Identifier: Apache-2.0
"""What a run starts from, and keeps, so that a resumed run starts from the same: points, depth maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sparse3d.depth.depth_map import DepthMap
from sparse3d.depth.hull import Hull, photo_mask, scene_hull
from sparse3d.depth.priors import Priors, load_priors
from sparse3d.records.points import Points
from sparse3d.records.scene import Scene
from sparse3d.runs.config import RunConfig
from sparse3d.runs.few_views import FEW_PHOTOS
from sparse3d.splats import Splats
from sparse3d.start.dense import dense_start, joined
from sparse3d.start.frustum_grid import FrustumGridConfig, frustum_grid
from sparse3d.start.init_splats import init_splats
from sparse3d.start.points import initial_points, sparse_points
from sparse3d.train.config import TrainConfig

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Start:
    """points: for the initial splats. notes: where they come from. depth_maps: for the terms that are on, else empty;
    hull: of an object's masks, where photos are few (what `train` takes under these names)."""

    points: Points
    notes: tuple[str, ...]
    depth_maps: Mapping[int, DepthMap] = field(default_factory=dict)
    hull: Hull | None = None

    def splats(self, cfg: TrainConfig) -> Splats:
        """The splats that training begins with."""
        return init_splats(self.points, cfg.sh_degree, opacity=cfg.initial_opacity, seed=cfg.seed)


def find_start(scene: Scene, cfg: RunConfig, workdir: Path | None = None, progress: Progress | None = None) -> Start:
    """Points and depth of the training photos alone: of dense depth where photos are few, else triangulated ones.
    workdir: where triangulated points are kept and found again. Raises as `initial_points` and `load_priors` do."""
    found = _found(scene, cfg, workdir, progress)
    return replace(found, hull=_hull(scene, cfg))


def _found(scene: Scene, cfg: RunConfig, workdir: Path | None, progress: Progress | None) -> Start:
    wants_priors = cfg.scene.prior_depth is not None or cfg.scene.prior_normals is not None
    if not _wants_dense(scene, cfg) and not wants_priors:
        points, sentence = initial_points(scene, workdir=workdir, progress=progress, seed=cfg.train.seed)
        return Start(points, (sentence,))
    sparse = sparse_points(scene, None, workdir, progress)
    priors = load_priors(scene, cfg.scene, sparse, progress) if wants_priors else Priors()
    dense = None
    if _wants_dense(scene, cfg):
        dense = dense_start(
            scene, sparse, given=priors.depth_maps, spacing_px=cfg.scene.dense_spacing,
            count=cfg.scene.dense_points, margin=cfg.scene.surround,
            progress=progress,
        )  # fmt: skip
    maps = dict(priors.depth_maps) if dense is None else dense.maps
    for index, relative in priors.relative.items():
        if index not in maps:
            maps[index] = relative.as_depth_map()
    if not _reads_depth(cfg.train):
        maps = {}
    if dense is not None:
        points, sentence = dense.points, dense.sentence
    else:
        points, sentence = initial_points(scene, workdir=workdir, progress=progress, seed=cfg.train.seed)
    notes = (sentence, *priors.notes)
    if _wants_dense(scene, cfg):
        points, more = _with_guesses(scene, points, cfg.train.seed)
        notes += more
    return Start(points, notes, maps)


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


def _wants_dense(scene: Scene, cfg: RunConfig) -> bool:
    mode = cfg.scene.dense
    if mode == "off" or len(scene.train) < 2:
        return False
    given = scene.points is not None and len(scene.points) > 0 and scene.camera_source == "given"
    return mode == "on" or (len(scene.train) <= FEW_PHOTOS and not given)


def _hull(scene: Scene, cfg: RunConfig) -> Hull | None:
    """Where splats may be. Of many masks more than one is wrong somewhere: not to be trusted to remove anything."""
    return scene_hull(scene) if _wants_dense(scene, cfg) else None


def _reads_depth(cfg: TrainConfig) -> bool:
    """Whether a term, or the removal of floaters, does."""
    terms, floaters = cfg.terms, cfg.floaters
    removal = bool(floaters.at) and floaters.dense_votes > 0
    return removal or max(terms.depth, terms.depth_pearson, terms.normal) > 0.0

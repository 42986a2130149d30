# SPDX-License-Identifier: Apache-2.0
"""What a run starts from, and keeps, so that a resumed run starts from the same: points, depth maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import torch

from sparse3d.scene.dense.frustum_grid import FrustumGridConfig, frustum_grid
from sparse3d.scene.dense.hull import Hull, photo_mask, scene_hull
from sparse3d.scene.dense.start import dense_start, joined
from sparse3d.scene.depth_map import DepthMap
from sparse3d.scene.init_splats import init_splats, initial_points, sparse_points
from sparse3d.scene.priors import Priors, load_priors
from sparse3d.scene.records import Points, Scene
from sparse3d.splats import Splats
from sparse3d.train.config import RunConfig, TrainConfig
from sparse3d.train.few_views import FEW_PHOTOS
from sparse3d.train.run_folder import RunFolder
from sparse3d.train.tensor_file import read_tensors, write_tensors

Progress = Callable[[str, float], None]
# Not points.safetensors: that is the triangulation, which a run that was killed early has left.
_POINTS, _DEPTH = "start.safetensors", "depth.safetensors"


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


def kept_start(folder: RunFolder, scene: Scene, cfg: RunConfig, resume: bool, progress: Progress | None) -> Start:
    """`find_start`, kept in the run folder: with `resume`, what is there."""
    kept = _stored(folder, scene) if resume else None
    if kept is not None:
        return replace(kept, hull=_hull(scene, cfg))
    found = find_start(scene, cfg, folder.path, progress)
    _store(folder, found)
    return found


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


def _store(folder: RunFolder, start: Start) -> None:
    tensors, record = {}, {}
    for index, found in start.depth_maps.items():
        for name in ("depth", "confidence", "normal"):
            tensors[f"{index}.{name}"] = torch.from_numpy(np.ascontiguousarray(getattr(found, name)))
        record[str(index)] = found.metric
    if tensors:
        write_tensors(folder.file(_DEPTH), tensors, {"kind": "depth maps", "metric": record})
    # The points last: where they are, the depth is.
    present = {f.name: getattr(start.points, f.name) for f in fields(Points)}
    arrays = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in present.items() if a is not None}
    write_tensors(folder.file(_POINTS), arrays, {"kind": "initial points", "notes": list(start.notes)})


def _stored(folder: RunFolder, scene: Scene) -> Start | None:
    if not folder.file(_POINTS).is_file():
        return None
    tensors, record = read_tensors(folder.file(_POINTS))
    if record.get("kind") != "initial points":
        return None
    points = Points(**{name: tensor.numpy() for name, tensor in tensors.items()})
    maps = {}
    if folder.file(_DEPTH).is_file():
        tensors, found = read_tensors(folder.file(_DEPTH))
        for name, metric in found["metric"].items():
            depth = tensors[f"{name}.depth"].numpy()
            camera = scene.cameras[int(name)].resized(depth.shape[1], depth.shape[0])
            others = (tensors[f"{name}.{part}"].numpy() for part in ("confidence", "normal"))
            maps[int(name)] = DepthMap(camera, depth, *others, metric=metric)
    return Start(points, tuple(record["notes"]), maps)

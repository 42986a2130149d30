# SPDX-License-Identifier: Apache-2.0
"""The start that a run folder keeps, so that a resumed run starts from the same."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch

from sparse3d.depth.depth_map import DepthMap
from sparse3d.formats.tensor_file import read_tensors, write_tensors
from sparse3d.records.points import Points
from sparse3d.records.scene import Scene
from sparse3d.runs.config import RunConfig
from sparse3d.start.find import Progress, Search, Start, find_start, hull_of
from sparse3d.train.config import reads_depth
from sparse3d.train.run_folder import RunFolder

# Not points.safetensors: that is the triangulation, which a run that was killed early has left.
_POINTS, _DEPTH = "start.safetensors", "depth.safetensors"


def kept_start(folder: RunFolder, scene: Scene, cfg: RunConfig, resume: bool, progress: Progress | None) -> Start:
    """`find_start`, kept in the run folder: with `resume`, what is there."""
    kept = _stored(folder, scene) if resume else None
    if kept is not None:
        return replace(kept, hull=hull_of(scene, cfg.start))
    found = find_start(scene, replace(search_of(cfg), workdir=folder.path, progress=progress))
    _store(folder, found)
    return found


def search_of(cfg: RunConfig) -> Search:
    """How a run of these settings looks for its start."""
    return Search(cfg.start, cfg.train.seed, reads_depth(cfg.train))


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

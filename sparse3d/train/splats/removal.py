# SPDX-License-Identifier: Apache-2.0
"""Floaters removed while a run goes on: after stated fractions of its steps what the photos do not want goes, and the
steps that are left can put what belongs there behind it.

Votes of the photos and statistics of neighbours are those of `sparse3d clean` (floaters.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from sparse3d.depth.depth_map import DepthMap
from sparse3d.judge.background import evaluation_background
from sparse3d.judge.floaters import Region, find_floaters, without
from sparse3d.judge.photos import JudgingPhotos
from sparse3d.judge.pictures import TrainViews
from sparse3d.kernels.records import AdamState, DensityStats
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats
from sparse3d.train.config import TrainConfig
from sparse3d.train.exposure import Exposure
from sparse3d.train.poses import CameraOpt
from sparse3d.train.splats.follow import follow


@dataclass(frozen=True)
class Removed:
    """The splats left and their state. counts: number removed by criterion; kept: more was found than
    floaters.max_share allows, and nothing was removed."""

    params: dict[str, Tensor]
    adam: AdamState
    stats: DensityStats
    counts: dict[str, int]
    kept: bool = False


class FloaterRemoval:
    """The moments of one run, and the photos that judge. depth_maps: by index in the scene. hull: where splats may
    be."""

    def __init__(
        self, scene: Scene, cfg: TrainConfig, depth_maps: Mapping[int, DepthMap], hull: Region | None = None
    ) -> None:
        self._scene, self._cfg, self._hull = scene, cfg, hull
        self._depths = {position: depth_maps[i] for position, i in enumerate(scene.train) if i in depth_maps}
        self._steps = {max(1, round(moment * cfg.steps)) for moment in cfg.floaters.at}

    def due(self, step: int) -> bool:
        """After this step (1-based)."""
        return step in self._steps

    def apply(
        self,
        params: dict[str, Tensor],
        adam: AdamState,
        stats: DensityStats,
        exposure: Exposure | None,
        camera_opt: CameraOpt | None,
    ) -> Removed:
        """Look for floaters through the cameras and exposures as they are now; what is given stays as it is."""
        cfg = self._cfg
        splats = Splats(**params, antialias=cfg.antialias)
        photos = JudgingPhotos(
            TrainViews(self._scene, cfg), evaluation_background(self._scene, cfg), scale=self._scale(),
            most=cfg.floaters.photos, depths=self._depths, exposure=exposure, camera_opt=camera_opt,
        )  # fmt: skip
        backend = None if cfg.backend == "auto" else cfg.backend
        found = find_floaters(splats, photos, cfg.floaters, hull=self._hull, backend=backend)
        update = without(splats, found)
        if update is None or found.share > cfg.floaters.max_share:
            return Removed(params, adam, stats, found.counts, kept=update is not None)
        left = DensityStats(*(tensor[update.source_row] for tensor in stats.tensors()))
        return Removed(update.params, follow(adam, update), left, found.counts)

    def _scale(self) -> int:
        """Half size is enough to tell floaters, where that leaves pictures of the least size to train on."""
        short = min(min(self._scene.images.size(i)) for i in self._scene.train)
        return 2 if short // 2 >= self._cfg.schedule.min_side_px else 1

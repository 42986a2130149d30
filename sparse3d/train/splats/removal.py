# SPDX-License-Identifier: Apache-2.0
"""Splats removed while a run goes on: what photos do not want, and what lies where nothing can be.

After stated fractions of the steps it goes, and the steps that are left can put what belongs there in its place. Votes
of the photos and statistics of neighbours are those of `sparse3d clean` (judge/floaters.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.depth.depth_map import DepthMap
from sparse3d.judge.air import Air
from sparse3d.judge.floaters import Region, find_floaters
from sparse3d.splats import Splats
from sparse3d.train.config import TrainConfig
from sparse3d.train.shots import TrainingPhotos
from sparse3d.train.splats.density.policy import DensityUpdate


@dataclass(frozen=True)
class Removal:
    """update: the splats that stay, None where all do. counts: number found by criterion. kept: more was found than may
    go, and nothing was removed."""

    update: DensityUpdate | None
    counts: dict[str, int]
    kept: bool = False


class FloaterRemoval:
    """What the photos of one run do not want (cfg.floaters.at). depth_maps: by index in the scene; hull: where splats
    may be."""

    def __init__(
        self, photos: TrainingPhotos, cfg: TrainConfig, depth_maps: Mapping[int, DepthMap], hull: Region | None = None
    ) -> None:
        self._photos, self._cfg, self._hull = photos, cfg, hull
        train = photos.scene.train
        self._depths = {position: depth_maps[i] for position, i in enumerate(train) if i in depth_maps}
        self._steps = _steps(cfg.floaters.at, cfg.steps)

    def due(self, step: int) -> bool:
        """After this step (1-based)."""
        return step in self._steps

    def find(self, splats: Splats) -> Removal:
        """Judged through the cameras and exposures as they are now."""
        cfg = self._cfg
        photos = self._photos.judges(scale=self._scale(), most=cfg.floaters.photos, depths=self._depths)
        backend = None if cfg.backend == "auto" else cfg.backend
        found = find_floaters(splats, photos, cfg.floaters, hull=self._hull, backend=backend)
        update = without(splats, found.remove)
        if update is None or found.share > cfg.floaters.max_share:
            return Removal(None, found.counts, kept=update is not None)
        return Removal(update, found.counts)

    def _scale(self) -> int:
        """Half size is enough to tell floaters, where that leaves pictures of the least size to train on."""
        scene = self._photos.scene
        short = min(min(scene.images.size(i)) for i in scene.train)
        return 2 if short // 2 >= self._cfg.schedule.min_side_px else 1


class OutsideRemoval:
    """What lies outside of the hull (cfg.floaters.outside_at), or in the air that the photographer moved through
    (cfg.floaters.air_at); never due without these."""

    def __init__(
        self, what: str, empty: Callable[[NDArray[np.float32]], NDArray[np.bool_]] | None, at: set[int]
    ) -> None:
        self._what, self._empty = what, empty
        self._steps = set() if empty is None else at

    @classmethod
    def of_hull(cls, cfg: TrainConfig, hull: Region | None) -> OutsideRemoval:
        empty = None if hull is None else lambda xyz: ~hull.contains(xyz)
        return cls("outside", empty, _steps(cfg.floaters.outside_at, cfg.steps))

    @classmethod
    def of_air(cls, cfg: TrainConfig, air: Air | None) -> OutsideRemoval:
        return cls(
            "close to the cameras", None if air is None else air.contains, _steps(cfg.floaters.air_at, cfg.steps)
        )

    def due(self, step: int) -> bool:
        """After this step (1-based)."""
        return step in self._steps

    def find(self, splats: Splats) -> Removal:
        """All whose centre lies where nothing can be, however many. Where that is every splat the hull or the air is
        not of this scene, and nothing is removed."""
        assert self._empty is not None, "without a hull or air no step is due"
        outside = torch.from_numpy(self._empty(splats.means.cpu().numpy()))
        number = int(outside.sum())
        if number == 0:
            return Removal(None, {})
        if number == len(outside):
            return Removal(None, {self._what: number}, kept=True)
        return Removal(without(splats, outside), {self._what: number})


def without(splats: Splats, remove: Tensor) -> DensityUpdate | None:
    """The change that removes those of the mask [N], None where there is none: rows that stay, in their order."""
    if not bool(remove.any()):
        return None
    rows = torch.nonzero(~remove)[:, 0]
    params = {name: tensor[rows].contiguous() for name, tensor in splats.named()}
    return DensityUpdate(params, rows, torch.zeros_like(rows, dtype=torch.bool), removed=int(remove.sum()))


def _steps(moments: tuple[float, ...], steps: int) -> set[int]:
    return {max(1, round(moment * steps)) for moment in moments}

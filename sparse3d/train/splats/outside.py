# SPDX-License-Identifier: Apache-2.0
"""Splats outside the visual hull of an object's masks, removed while a run goes on and at its end."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse3d.judge.floaters import Floaters, Region, without
from sparse3d.kernels.records import AdamState, DensityStats
from sparse3d.splats import Splats
from sparse3d.train.config import TrainConfig
from sparse3d.train.splats.follow import follow
from sparse3d.train.splats.removal import Removed


class OutsideRemoval:
    """The moments of one run (cfg.floaters.outside_at); none without a hull."""

    def __init__(self, cfg: TrainConfig, hull: Region | None) -> None:
        self._hull, self._antialias = hull, cfg.antialias
        moments = () if hull is None else cfg.floaters.outside_at
        self._steps = {max(1, round(moment * cfg.steps)) for moment in moments}

    def due(self, step: int) -> bool:
        """After this step (1-based)."""
        return step in self._steps

    def apply(self, params: dict[str, Tensor], adam: AdamState, stats: DensityStats) -> Removed:
        """All whose centre lies outside, however many: masks leave no doubt. Where that is every splat the hull is not
        of this scene, and nothing is removed. What is given stays as it is."""
        assert self._hull is not None, "without a hull no step is due"
        outside = torch.from_numpy(~self._hull.contains(params["means"].numpy()))
        number = int(outside.sum())
        if number == 0:
            return Removed(params, adam, stats, {})
        found = Floaters(outside, {"outside": number})
        update = None if number == len(outside) else without(Splats(**params, antialias=self._antialias), found)
        if update is None:
            return Removed(params, adam, stats, found.counts, kept=True)
        left = DensityStats(*(tensor[update.source_row] for tensor in stats.tensors()))
        return Removed(update.params, follow(adam, update), left, found.counts)

# SPDX-License-Identifier: Apache-2.0
"""Supervision by depth maps of the training photos: their depth, up to scale and shift of its inverse, or metric."""

from __future__ import annotations

import abc
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.depth.depth_map import DepthMap
from sparse3d.train.shots import Shot
from sparse3d.train.splats.schedule import decayed
from sparse3d.train.splats.terms.expected_depth import ExpectedDepthTerm, one_in_four
from sparse3d.train.splats.terms.term import TERMS

# Relative depth error below which the loss is quadratic: finer than that, depth maps are noise.
_HUBER = 0.01


@dataclass(frozen=True)
class DepthTarget:
    """A depth map at the step's size: depth [H,W], weight [H,W] in 0..1 (0: unknown or masked), normal [H,W,3]."""

    depth: Tensor
    weight: Tensor
    normal: Tensor

    @property
    def known(self) -> int:
        """Number of pixels that count."""
        return int(torch.count_nonzero(self.weight))


def resampled(found: DepthMap, width: int, height: int, mask: Tensor | None) -> DepthTarget:
    """The map at another size, by the nearest pixel: depths across an edge must not be mixed."""
    have_height, have_width = found.depth.shape
    # Centres lie at +0.5 on both grids.
    rows = ((np.arange(height) + 0.5) * have_height / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * have_width / width).astype(np.int64)

    def at_size(values: NDArray[np.float32]) -> Tensor:
        same = (have_height, have_width) == (height, width)
        return torch.from_numpy(np.ascontiguousarray(values if same else values[rows[:, None], columns]))

    depth, weight = at_size(found.depth), at_size(found.confidence)
    weight = weight * (depth > 0)
    return DepthTarget(depth, weight if mask is None else weight * mask, at_size(found.normal))


def target_of(found: DepthMap, shot: Shot) -> DepthTarget:
    """The map of the shot's photo for what the shot shows of it."""
    if shot.window is None:
        return resampled(found, shot.view.width, shot.view.height, shot.mask)
    whole, at = resampled(found, *shot.window.of, None), shot.window.slices
    weight = whole.weight[at] if shot.mask is None else whole.weight[at] * shot.mask
    return DepthTarget(whole.depth[at], weight, whole.normal[at])


class DepthMapTerm(ExpectedDepthTerm, abc.ABC):
    """A term that compares the expected depth with a map, where the photo has one. Its weight decays exponentially to
    `depth_final` of itself: a map shows where surfaces are, the photos show it better in the end."""

    # Relative maps have neither depths nor normals to compare with.
    metric_only = True

    def needs_depth(self, position: int) -> bool:
        return self._map(position) is not None

    def v_z(self, z: Tensor, seen: Tensor, shot: Shot) -> Tensor:
        found = self._map(shot.position)
        assert found is not None
        target = target_of(found, shot)
        weight = self.weight * decayed(1.0, self.cfg.depth_final, shot.progress)
        return self.v_error(z, seen, target, shot) * weight

    def _map(self, position: int) -> DepthMap | None:
        found = self.setup.depth_maps.get(self.setup.scene.train[position])
        return found if found is None or found.metric or not self.metric_only else None

    @property
    @abc.abstractmethod
    def weight(self) -> float: ...

    @abc.abstractmethod
    def v_error(self, z: Tensor, seen: Tensor, target: DepthTarget, shot: Shot) -> Tensor:
        """As `v_z`, of the unweighted loss."""


@TERMS.register("depth")
class MetricDepth(DepthMapTerm):
    """Mean over the known pixels of confidence * Huber((z - d) / d): robust, and the same at any scale of the scene
    (relative depth error as in MVPGS, Xu et al. 2024; Huber instead of L1)."""

    @property
    def weight(self) -> float:
        return self.cfg.depth

    def v_error(self, z: Tensor, seen: Tensor, target: DepthTarget, shot: Shot) -> Tensor:
        weight = target.weight * seen
        depth = torch.where(weight > 0, target.depth, 1.0)
        slope = ((z - depth) / (depth * _HUBER)).clamp(-1.0, 1.0)
        return slope * weight / (depth * max(target.known, 1))


@TERMS.register("depth_pearson")
class RelativeDepth(DepthMapTerm):
    """1 - the confidence-weighted correlation of 1 / z with 1 / d (as FSGS, Zhu et al. 2024, in inverse depth), over
    a quarter of the pixels: for maps of networks, whose inverse depth is right up to a scale and a shift."""

    metric_only = False

    @property
    def weight(self) -> float:
        return self.cfg.depth_pearson

    def v_error(self, z: Tensor, seen: Tensor, target: DepthTarget, shot: Shot) -> Tensor:
        every = one_in_four(self.setup.generator)
        # numpy sums on one thread, in the same order every time.
        weight = (target.weight * seen).numpy()[every]
        used = weight > 0
        v = np.zeros(z.shape, np.float32)
        w = weight[used].astype(np.float64)
        if len(w) < 3:
            return torch.from_numpy(v)
        w /= w.sum()
        x = 1.0 / z.numpy()[every][used].astype(np.float64)
        y = 1.0 / target.depth.numpy()[every][used].astype(np.float64)
        x_off, y_off = x - (w * x).sum(), y - (w * y).sum()
        x_spread, y_spread = np.sqrt((w * x_off**2).sum()), np.sqrt((w * y_off**2).sum())
        if x_spread <= 1e-9 * x.max() or y_spread <= 1e-9 * y.max():
            # A flat picture correlates with nothing.
            return torch.from_numpy(v)
        correlation = (w * x_off * y_off).sum() / (x_spread * y_spread)
        v_x = -w / x_spread * (y_off / y_spread - correlation * x_off / x_spread)
        v[every][used] = -v_x * x**2
        return torch.from_numpy(v)

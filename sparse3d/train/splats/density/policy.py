# SPDX-License-Identifier: Apache-2.0
"""The interface of density control, and the table of its policies.

A policy holds no state: what it does depends on the splats, the statistics, the step and the generator alone, so that
a resumed run does the same as an unbroken one.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparse3d.kernels.records import DensityStats
from sparse3d.registry import Registry
from sparse3d.train.config import DensityConfig


@dataclass(frozen=True)
class RefineContext:
    """Where in the run a change happens. step is 1-based; interval: steps since the change before; extent: the scene's
    radius in world units; image_side_px: the longer side of the photos as they are trained on now."""

    step: int
    steps: int
    interval: int
    extent: float
    image_side_px: int


@dataclass(frozen=True)
class DensityUpdate:
    """The splats after a change, N' of them.

    source_row [N'] int64: the row each came from. is_new [N'] bool: its optimiser moments begin at zero; the others
    keep those of source_row. reset_moments: names of parameters whose moments all begin at zero.
    """

    params: dict[str, Tensor]
    source_row: Tensor
    is_new: Tensor
    added: int = 0
    removed: int = 0
    moved: int = 0
    reset_moments: tuple[str, ...] = ()


# About the extent of the scenes that papers chose their constants on.
_PAPERS_EXTENT = 4.0


class DensityPolicy(abc.ABC):
    """How the set of splats changes during training. Deterministic for any number of threads. extent: the scene's, in
    world units."""

    def __init__(self, cfg: DensityConfig, extent: float) -> None:
        self.cfg = cfg
        # Of lengths that papers give in world units, one unit.
        self.unit = extent / _PAPERS_EXTENT

    @abc.abstractmethod
    def step(
        self, params: Mapping[str, Tensor], stats: DensityStats, context: RefineContext, generator: torch.Generator
    ) -> DensityUpdate | None:
        """The change after a refine step, None for no change. `params` stay as they are."""

    def after_step(self, params: Mapping[str, Tensor], means_rate: float, generator: torch.Generator) -> None:
        """Called after every optimiser step of the run; may change `params` in place (noise of 3DGS-MCMC)."""
        return

    @property
    def regularisers(self) -> tuple[float, float]:
        """Weights of mean opacity and mean scale in the loss."""
        return 0.0, 0.0

    @property
    def wants_stats(self) -> bool:
        """Whether `step` reads the statistics; collecting them costs time."""
        return True


POLICIES: Registry[type[DensityPolicy]] = Registry("density policy")


def identity_update(params: Mapping[str, Tensor]) -> DensityUpdate:
    """Every splat stays as it is; a copy to change further."""
    count = params["means"].shape[0]
    return DensityUpdate(
        {name: tensor.clone() for name, tensor in params.items()},
        torch.arange(count, device=params["means"].device),
        params["means"].new_zeros(count, dtype=torch.bool),
    )


def sample_rows(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` row numbers [count] int64 with replacement, in proportion to `weights` [N] (not all zero).

    By a cumulative sum in float64 on one thread: torch.multinomial gives no promise about the number of threads.
    """
    total = np.cumsum(weights.double().numpy())
    uniform = torch.rand(count, generator=generator, dtype=torch.float64, device=generator.device).numpy()
    rows = np.searchsorted(total, uniform * total[-1], side="right")
    return torch.from_numpy(np.minimum(rows, len(total) - 1).astype(np.int64))

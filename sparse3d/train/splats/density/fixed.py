# SPDX-License-Identifier: Apache-2.0
"""Leaves the splats as they are: for fine-tuning and for measurements at a stated number of splats."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sparse3d.kernels.records import DensityStats
from sparse3d.train.splats.density.policy import POLICIES, DensityPolicy, DensityUpdate, RefineContext


@POLICIES.register("fixed")
class Fixed(DensityPolicy):
    """No change, ever."""

    def step(
        self, params: Mapping[str, Tensor], stats: DensityStats, context: RefineContext, generator: torch.Generator
    ) -> DensityUpdate | None:
        return None

    @property
    def wants_stats(self) -> bool:
        return False

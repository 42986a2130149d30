# SPDX-License-Identifier: Apache-2.0
"""The optimiser's state when the splats change."""

from __future__ import annotations

import torch

from sparse3d.kernels.records import AdamState
from sparse3d.train.splats.density.policy import DensityUpdate


def follow(adam: AdamState, update: DensityUpdate) -> AdamState:
    """The moments after a change of the splats: rows move with their splats, new splats begin at zero."""

    def moved(moments: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        out = {}
        for name, tensor in moments.items():
            if name in update.reset_moments:
                out[name] = torch.zeros_like(update.params[name])
                continue
            rows = tensor[update.source_row].contiguous()
            rows[update.is_new] = 0.0
            out[name] = rows
        return out

    return AdamState(moved(adam.m), moved(adam.v), adam.step)

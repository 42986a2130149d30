# SPDX-License-Identifier: Apache-2.0
"""The optimiser's state when the splats change, and small Adam for what is not a splat."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.kernels.workspace import AdamState
from sparse3d.train.density.policy import DensityUpdate


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


class SmallAdam:
    """Adam on a table [V,K] float64 of which one row is updated at a time, with a count of updates a row.

    numpy on one thread, for a handful of numbers a step: exposure and poses.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.m = np.zeros((rows, columns))
        self.v = np.zeros((rows, columns))
        self.count = np.zeros(rows, dtype=np.int64)

    def update(self, row: int, gradient: NDArray[np.float64], rate: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """What to add to the row. Betas 0.9 and 0.999."""
        self.count[row] += 1
        self.m[row] = 0.9 * self.m[row] + 0.1 * gradient
        self.v[row] = 0.999 * self.v[row] + 0.001 * gradient * gradient
        step = int(self.count[row])
        m = self.m[row] / (1 - 0.9**step)
        v = self.v[row] / (1 - 0.999**step)
        return -rate * m / (np.sqrt(v) + 1e-15)

    def tensors(self, prefix: str) -> dict[str, torch.Tensor]:
        return {f"{prefix}.{name}": torch.from_numpy(getattr(self, name).copy()) for name in ("m", "v", "count")}

    def restore(self, prefix: str, tensors: dict[str, torch.Tensor]) -> None:
        for name in ("m", "v", "count"):
            getattr(self, name)[...] = tensors[f"{prefix}.{name}"].numpy()

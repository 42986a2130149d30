# SPDX-License-Identifier: Apache-2.0
"""Adam for what is not a splat: a handful of numbers a step."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


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

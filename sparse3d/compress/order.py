# SPDX-License-Identifier: Apache-2.0
"""Orders of splats in which neighbours in the file are neighbours in space."""

from __future__ import annotations

import torch
from torch import Tensor

# 21 bits an axis fill an int64 with room for the sign.
_BITS = 21


def morton_order(means: Tensor) -> Tensor:
    """Permutation [N] int64 that sorts positions [N,3] along the Z-order curve (Morton 1966) of their bounding cube.

    Infinite and NaN positions count as the lower corner. Equal codes keep their order, so the result is unique.
    """
    points = torch.nan_to_num(means.detach().to("cpu", torch.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if len(points) == 0:
        return torch.zeros(0, dtype=torch.int64)
    low = points.amin(dim=0)
    extent = float((points.amax(dim=0) - low).max()) or 1.0
    cells = ((points - low) * ((2**_BITS - 1) / extent)).to(torch.int64)
    code = torch.zeros(len(points), dtype=torch.int64)
    for axis in range(3):
        code |= _spread(cells[:, axis]) << axis
    return torch.argsort(code, stable=True)


def _spread(x: Tensor) -> Tensor:
    """Two zero bits between any two bits of 21-bit numbers."""
    for shift, mask in (
        (32, 0x1F00000000FFFF), (16, 0x1F0000FF0000FF), (8, 0x100F00F00F00F00F), (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):  # fmt: skip
        x = (x | (x << shift)) & mask
    return x

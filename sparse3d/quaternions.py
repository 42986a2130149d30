# SPDX-License-Identifier: Apache-2.0
"""Products of rotations as quaternions, wxyz."""

from __future__ import annotations

import torch
from torch import Tensor


def quat_product(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton's product [...,4] of quaternions wxyz [...,4], broadcast: first `b` is turned by, then `a`."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        dim=-1,
    )


def quat_conjugate(quats: Tensor) -> Tensor:
    """The inverse turns [...,4] of unit quaternions wxyz [...,4]."""
    return quats * quats.new_tensor([1.0, -1.0, -1.0, -1.0])

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


def rotation_from_quats(quats_wxyz: Tensor) -> Tensor:
    """Rotation matrices [N,3,3] of quaternions [N,4] of any length; a zero quaternion gives NaN, so it is culled."""
    w, x, y, z = quats_wxyz.unbind(-1)
    inverse_length = 1 / torch.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w * inverse_length, x * inverse_length, y * inverse_length, z * inverse_length
    rows = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)

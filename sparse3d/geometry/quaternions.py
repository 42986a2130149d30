# SPDX-License-Identifier: Apache-2.0
"""Quaternions wxyz: their products, and the rotation matrices they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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
    return torch.stack(_rotation_entries(w, x, y, z), dim=-1).reshape(-1, 3, 3)


def rotation_from_unit_quats(quats_wxyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrices [...,3,3] of quaternions [...,4] of length 1, in numpy."""
    entries = _rotation_entries(*np.moveaxis(quats_wxyz, -1, 0))
    return np.stack(entries, axis=-1).reshape(*quats_wxyz.shape[:-1], 3, 3)


def _rotation_entries(w: Any, x: Any, y: Any, z: Any) -> list[Any]:
    """The nine entries, row by row, of a unit quaternion's matrix; of tensors or of arrays."""
    return [
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

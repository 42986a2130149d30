# SPDX-License-Identifier: Apache-2.0
"""Looking for NaN and exploding values, cheaply: two numbers a parameter, not a mask of all."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# Far beyond what a scene can mean, far below where float32 overflows in the kernels: exp(40) is 2e17, and an opacity's
# logit of 1000 has left the range of the sigmoid long ago. Positions are bounded in extents of the scene.
_LIMITS = {
    "quats_wxyz": 1e6,
    "log_scales": 40.0,
    "logit_opacities": 1e3,
    "sh0": 1e4,
    "shN": 1e4,
}
_MEANS_EXTENTS = 1e7


def find_bad(params: Mapping[str, Tensor], extent: float) -> str | None:
    """What is wrong with the first bad parameter ("log_scales of splat 12 is nan"), None where all are sound."""
    for name, tensor in params.items():
        if tensor.numel() == 0:
            continue
        limit = _LIMITS.get(name, _MEANS_EXTENTS * extent)
        low, high = (float(value) for value in torch.aminmax(tensor))
        # A NaN comes through aminmax and fails every comparison.
        if low >= -limit and high <= limit:
            continue
        flat = tensor.reshape(tensor.shape[0], -1)
        bad = ~(flat.abs() <= limit)
        row = int(torch.nonzero(bad.any(dim=1))[0, 0])
        value = float(flat[row][bad[row]][0])
        many = int(bad.any(dim=1).sum())
        return f"{name} of splat {row} is {value:g}" + (f" (and {many - 1} more splats)" if many > 1 else "")
    return None

# SPDX-License-Identifier: Apache-2.0
"""One step of Adam (Kingma and Ba 2015, algorithm 1), dense or for the visible rows only."""

from __future__ import annotations

import torch
from torch import Tensor


def adam_step(
    param: Tensor,
    grad: Tensor,
    m: Tensor,
    v: Tensor,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-15,
    visible: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The new (param, m, v); the arguments stay as they are.

    All tensors [N,...]. `step` is the number of this update, 1 for the first, and belongs to the whole tensor: the
    bias correction does not ask how often a row was seen. eps is added outside the root, as torch does. With
    `visible` [N] bool, rows that are not visible keep parameter and moments: no decay and no drift of momentum.
    """
    new_m = beta1 * m + (1 - beta1) * grad
    new_v = beta2 * v + (1 - beta2) * grad * grad
    denominator = torch.sqrt(new_v) / (1 - beta2**step) ** 0.5 + eps
    new_param = param - lr / (1 - beta1**step) * new_m / denominator
    if visible is None:
        return new_param, new_m, new_v
    rows = visible.reshape(-1, *([1] * (param.ndim - 1)))
    return torch.where(rows, new_param, param), torch.where(rows, new_m, m), torch.where(rows, new_v, v)

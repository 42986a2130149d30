# SPDX-License-Identifier: Apache-2.0
"""Buffers that kernels work in: kept from call to call, or new ones."""

from __future__ import annotations

import torch
from torch import Tensor


class Arena:
    """Named buffers that keep their memory from call to call and grow by a quarter more than asked."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, count: int, dtype: torch.dtype) -> Tensor:
        """A 1-D buffer of `count` elements, contents undefined."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < count or buffer.dtype != dtype:
            buffer = torch.empty(count + count // 4 + 16, dtype=dtype)
            self._buffers[name] = buffer
        return buffer[:count]

    def nbytes(self) -> int:
        return sum(b.numel() * b.element_size() for b in self._buffers.values())


class FreshArena(Arena):
    """An arena whose every buffer is new: what autograd may keep."""

    def take(self, name: str, count: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(count, dtype=dtype)

# SPDX-License-Identifier: Apache-2.0
"""Evenly spread choices."""

from __future__ import annotations

from collections.abc import Sequence


def spread(indices: Sequence[int], count: int) -> list[int]:
    """`count` of them at even distances, first and last included; all where there are no more."""
    if len(indices) <= count:
        return list(indices)
    return [indices[round(i * (len(indices) - 1) / max(count - 1, 1))] for i in range(count)]

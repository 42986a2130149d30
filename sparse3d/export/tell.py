# SPDX-License-Identifier: Apache-2.0
"""How a long export says what it is doing."""

from __future__ import annotations

from collections.abc import Callable

# What is being done, and which share 0..1 of it is done (None: not known).
Tell = Callable[[str, float | None], None]


def silent(what: str, fraction: float | None) -> None:
    """Says nothing."""

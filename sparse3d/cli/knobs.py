# SPDX-License-Identifier: Apache-2.0
"""NAME=VALUE words for the numbers of a format."""

from __future__ import annotations

from collections.abc import Sequence

from sparse3d.errors import UsageError


def parse_knobs(words: Sequence[str]) -> dict[str, float]:
    """Raises UsageError for a word that is no NAME=NUMBER; whether the format knows the name is checked later."""
    out = {}
    for word in words:
        name, equals, value = word.partition("=")
        try:
            out[name] = float(value) if equals else float("nan")
        except ValueError:
            out[name] = float("nan")
        if out[name] != out[name]:
            raise UsageError(f"--knob {word}: expected NAME=NUMBER")
    return out

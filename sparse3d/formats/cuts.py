# SPDX-License-Identifier: Apache-2.0
"""Sentences on values that a format cannot hold: what a writer cuts is counted, never silent."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.formats.checks import finite


def check_writable(arrays: dict[str, NDArray[np.float32]]) -> None:
    """Raise DataError, with the count, for what no writer can store: NaN anywhere, and infinities in places, rotations,
    colours and harmonics. arrays: as `checks.numpy_of` gives them."""
    for name, values in arrays.items():
        if name not in ("log_scales", "logit_opacities"):
            finite(values, f"cannot be written: {name}")
        elif (bad := np.isnan(values)).any():
            rows = bad.reshape(len(bad), -1).any(axis=1)
            raise DataError(
                f"cannot be written: {name} is NaN in {int(rows.sum())} splats, the first is splat "
                f"{int(rows.argmax())}; remove them first (--drop-invalid leaves them out of a file that is read)"
            )


def size_notes(
    log_scales: NDArray[np.float32], low: float, high: float, *, step: float = 0.0, flat_kept: bool = True
) -> tuple[str, ...]:
    """One sentence for log scales [N,3] that lie more than `step` below `low`, one for those above `high`.

    flat_kept: -inf, a splat without thickness, becomes `low` without a word, for it shows no difference there.
    """
    if len(log_scales) == 0 or low - step <= log_scales.min() <= log_scales.max() <= high + step:
        return ()
    small = log_scales < low - step
    if flat_kept:
        small &= ~np.isneginf(log_scales)
    notes = []
    if count := int(small.any(axis=1).sum()):
        notes.append(f"{count} splats are thinner than {math.exp(low):.2g} units, the least that fits: they became so")
    if count := int((log_scales > high + step).any(axis=1).sum()):
        notes.append(f"{count} splats are larger than {math.exp(high):.3g} units, the most that fits: they became so")
    return tuple(notes)


def cut_note(values: NDArray[np.float32], low: float, high: float, what: str, *, step: float = 0.0) -> tuple[str, ...]:
    """The sentence that counts the splats with one of values [N,...] more than `step` beyond low..high; what: their
    name in the plural."""
    count = outside(values, low - step, high + step)
    return (f"{what} of {count} splats lie outside of {low:g}..{high:g} and were cut",) if count else ()


def outside(values: NDArray[np.float32], low: float, high: float) -> int:
    """How many rows of values [N,...] have one beyond low..high."""
    if values.size == 0 or low <= values.min() <= values.max() <= high:
        return 0
    return int(((values < low) | (values > high)).reshape(len(values), -1).any(axis=1).sum())

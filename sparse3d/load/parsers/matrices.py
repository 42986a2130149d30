# SPDX-License-Identifier: Apache-2.0
"""What the kinds of scenes with plain matrices share: the picture size that a K is for, and files of numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError


def size_of_matrix(cx: float, cy: float, width: int, height: int, where: str) -> tuple[int, int]:
    """(width, height) of the picture that a K with this principal point is for, given the size of a resized copy.

    A matrix does not say its size, but its principal point lies near the middle: twice cx over the width is the ratio,
    rounded to a whole number or the inverse of one. Raises DataError if no ratio puts it there.
    """
    ratio = max(cx, 1e-9) / (0.5 * width)
    whole = max(1, round(ratio)) if ratio > 0.75 else 1.0 / max(1, round(1.0 / ratio))
    if not (0.6 < ratio / whole < 1.5 and 0.4 < cy / (0.5 * height * whole) < 1.8):
        raise DataError(
            f"{where}: the principal point ({cx:.1f}, {cy:.1f}) fits no whole ratio to the photo's "
            f"{width}x{height} pixels; the matrix is for another picture; correct it, or give the photos that it is for"
        )
    return round(width * whole), round(height * whole)


def read_numbers(path: Path) -> NDArray[np.float64]:
    """A text file of numbers, one row a line -> [rows, columns]. Raises DataError naming file and line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}); save it as UTF-8") from error
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            rows.append([float(word) for word in words])
        except ValueError as error:
            raise DataError(f"{path}: line {number}: {error}; correct that line") from error
        if len(rows[-1]) != len(rows[0]):
            raise DataError(
                f"{path}: line {number} has {len(rows[-1])} numbers, the lines above {len(rows[0])}; correct that line"
            )
    return np.array(rows, np.float64).reshape(len(rows), -1) if rows else np.zeros((0, 0))


def load_npy(path: Path) -> NDArray[np.float64]:
    """A .npy file as float64. Raises DataError for a damaged file and for one that would need unpickling."""
    try:
        with path.open("rb") as file:
            return np.asarray(np.load(file, allow_pickle=False), np.float64)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise DataError(f"{path}: cannot be read as a NumPy array ({error}); copy it again") from error

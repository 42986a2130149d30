# SPDX-License-Identifier: Apache-2.0
"""The record of matches between photos that the user brings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError

# How much the width/height ratios of the matched picture and of the photo may differ.
_SHAPE_SLACK = 0.02


@dataclass(frozen=True)
class MatchedPair:
    """M matches of two photos (names): xy [M,4] float64 (x, y in a; x, y in b), pixel centres at +0.5; sizes: (width,
    height) of a's picture and of b's that xy refers to, None for the photo's own pixels."""

    a: str
    b: str
    xy: NDArray[np.float64]
    size_a: tuple[int, int] | None = None
    size_b: tuple[int, int] | None = None

    def pixels(
        self, size_a: tuple[int, int], size_b: tuple[int, int], own_a: tuple[int, int], own_b: tuple[int, int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """xy_a [M,2] and xy_b [M,2] in pictures of size_a and size_b of the photos, whose own pixels are own_a and
        own_b. Raises DataError where the matched picture has another shape."""
        out = []
        for name, found, own, wanted, columns in (
            (self.a, self.size_a, own_a, size_a, slice(0, 2)),
            (self.b, self.size_b, own_b, size_b, slice(2, 4)),
        ):
            width, height = found or own
            if abs(width * wanted[1] - height * wanted[0]) > _SHAPE_SLACK * wanted[0] * height + width:
                raise DataError(
                    f"--prior-matches: photo {name} was matched as a picture of {width}x{height} pixels, but it is "
                    f"{own[0]}x{own[1]}: the shapes differ (cropped, padded or turned)"
                )
            out.append(self.xy[:, columns] * (np.array(wanted, np.float64) / (width, height)))
        return out[0], out[1]


@dataclass(frozen=True)
class Matches:
    """All pairs between photos of the scene, and a digest of them by which kept results are found again."""

    pairs: tuple[MatchedPair, ...]
    digest: str

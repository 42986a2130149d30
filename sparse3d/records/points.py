# SPDX-License-Identifier: Apache-2.0
"""The record of coloured points in the world."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError


@dataclass(frozen=True)
class Points:
    """Coloured points in the world: xyz [N,3] float32 (float64 as parsed, until `load_scene` has moved them), rgb [N,3]
    float32 in 0..1 (sRGB), error_px [N] or None.

    If they come from depth maps, also normal [N,3] (unit, facing the camera), radius [N] (half the distance to
    the neighbours, world units) and confidence [N] in 0..1; else None.
    """

    xyz: NDArray[np.floating]
    rgb: NDArray[np.float32]
    error_px: NDArray[np.float32] | None = None
    normal: NDArray[np.float32] | None = None
    radius: NDArray[np.float32] | None = None
    confidence: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.xyz.ndim != 2 or self.xyz.shape[1] != 3 or self.rgb.shape != self.xyz.shape:
            raise DataError(f"Points: xyz {self.xyz.shape} and rgb {self.rgb.shape} must both be [N,3]")
        oriented = (self.normal, self.radius, self.confidence)
        if any(part is None for part in oriented) != all(part is None for part in oriented):
            raise DataError("Points: normal, radius and confidence are given together or not at all")

    @property
    def oriented(self) -> bool:
        """Whether normal, radius and confidence are there."""
        return self.normal is not None

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Points:
        """The points where the mask [N] holds, or of these rows."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: values[rows] for name, values in columns.items() if values is not None})

    def __len__(self) -> int:
        return len(self.xyz)

# SPDX-License-Identifier: Apache-2.0
"""The record of one photo's dense depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.errors import DataError


@dataclass(frozen=True)
class DepthMap:
    """Depth of one photo, pixel by pixel, at `camera`'s size (that of the photo or smaller).

    depth [H,W] float32: z in the camera's frame, world units; 0 where unknown.
    confidence [H,W] float32 in 0..1: 0 where unknown; what other photos confirmed is near 1, what was filled in is low.
    normal [H,W,3] float32: unit normals in the camera's frame, facing the camera; zero where unknown.
    metric: depth is in world units; otherwise inverse depth is right up to a scale above 0 and a shift.
    """

    camera: Camera
    depth: NDArray[np.float32]
    confidence: NDArray[np.float32]
    normal: NDArray[np.float32]
    metric: bool = True

    def __post_init__(self) -> None:
        size = (self.camera.height, self.camera.width)
        if self.depth.shape != size or self.confidence.shape != size or self.normal.shape != (*size, 3):
            raise DataError(
                f"DepthMap: depth {self.depth.shape}, confidence {self.confidence.shape} and normal "
                f"{self.normal.shape} do not fit a camera of {size[1]}x{size[0]} pixels"
            )

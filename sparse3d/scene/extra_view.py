# SPDX-License-Identifier: Apache-2.0
"""The record of a picture that no camera took: photos warped to a place between the cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.errors import DataError


@dataclass(frozen=True)
class ExtraView:
    """A picture to train on beside the photos: `image` [H,W,3] float32 in 0..1 as seen by `camera`, and `weight` [H,W]
    float32 in 0..1: how much a pixel counts, 0 where nothing is known."""

    camera: Camera
    image: NDArray[np.float32]
    weight: NDArray[np.float32]

    def __post_init__(self) -> None:
        size = (self.camera.height, self.camera.width)
        if self.image.shape != (*size, 3) or self.weight.shape != size:
            raise DataError(
                f"ExtraView: image {self.image.shape} and weight {self.weight.shape} do not fit a camera of "
                f"{size[1]}x{size[0]} pixels"
            )

    def reduced(self, factor: int) -> ExtraView:
        """Averaged down by 1, 2 or 4: pixels count in the average as much as their weight says."""
        if factor == 1:
            return self
        import cv2

        size = (max(1, round(self.camera.width / factor)), max(1, round(self.camera.height / factor)))
        weight = cv2.resize(self.weight, size, interpolation=cv2.INTER_AREA)
        image = cv2.resize(self.image * self.weight[..., None], size, interpolation=cv2.INTER_AREA)
        image = image / np.maximum(weight, 1e-6)[..., None]
        return ExtraView(self.camera.resized(*size), image.astype(np.float32), weight.astype(np.float32))

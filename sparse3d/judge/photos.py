# SPDX-License-Identifier: Apache-2.0
"""Photos as judges of splats: a camera, a picture as it looks without its exposure, and what is known of its depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.depth.depth_map import DepthMap
from sparse3d.judge.exposure import unexposed
from sparse3d.judge.pictures import Pictures
from sparse3d.judge.spread import spread


class DenseDepth(NamedTuple):
    """A photo's dense depth at the size of its picture here: depth [H,W] world units, 0 unknown; confidence [H,W]."""

    depth: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class PhotoView:
    """One photo as a judge: image [H,W,3] in 0..1 at the camera's size, mask [H,W] in 0..1 (1 = counts) or None,
    background [3] behind its transparent pixels, dense depth where it is known."""

    camera: Camera
    image: Tensor
    mask: Tensor | None
    background: Tensor
    dense: DenseDepth | None = None


@dataclass(frozen=True)
class Learned:
    """What a run has learned of its training photos, by position: poses [V,4,4] (cam_from_world) and exposures [V,6]
    (gains, biases); None where it learns none."""

    poses: NDArray[np.float64] | None = None
    exposures: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class JudgingPhotos(Sequence[PhotoView]):
    """The training photos, or `most` of them at even distances, reduced by `scale` (1, 2 or 4); read when asked for.

    background: [3] behind the splats and behind transparent pixels. depths: dense depth by position; relative depth is
    left aside. learned: cameras and exposures as they are by now.
    """

    pictures: Pictures
    background: Tensor
    scale: int = 1
    most: int | None = None
    depths: Mapping[int, DepthMap] = field(default_factory=dict)
    learned: Learned = field(default_factory=Learned)

    @property
    def positions(self) -> tuple[int, ...]:
        """Position of each photo within the scene's training photos."""
        everything = range(len(self.pictures))
        return tuple(everything if self.most is None else spread(everything, self.most))

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> PhotoView:  # type: ignore[override]
        position = self.positions[index]
        image, mask = self.pictures.target(position, self.scale, self.background)
        camera = self.pictures.camera(position, self.scale)
        if self.learned.exposures is not None:
            image = unexposed(image, self.learned.exposures[position])
        if self.learned.poses is not None:
            camera = replace(camera, cam_from_world=self.learned.poses[position])
        found = self.depths.get(position)
        dense = _dense(found, camera) if found is not None and found.metric else None
        return PhotoView(camera, image, mask, self.background, dense)

    def __iter__(self) -> Iterator[PhotoView]:
        return (self[i] for i in range(len(self)))


def _dense(found: DepthMap, camera: Camera) -> DenseDepth:
    """The depth map at the camera's size: each pixel takes the one that its centre falls into."""
    height, width = found.depth.shape
    rows = ((torch.arange(camera.height, device="cpu") + 0.5) * height / camera.height).long()[:, None]
    columns = ((torch.arange(camera.width, device="cpu") + 0.5) * width / camera.width).long()[None, :]
    return DenseDepth(torch.from_numpy(found.depth)[rows, columns], torch.from_numpy(found.confidence)[rows, columns])

# SPDX-License-Identifier: Apache-2.0
"""Photos as judges of splats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from sparse3d.depth.depth_map import DepthMap
from sparse3d.judge.pictures import TrainViews
from sparse3d.kernels.records import View, with_pose
from sparse3d.train.exposure import Exposure
from sparse3d.train.poses import CameraOpt


class DenseDepth(NamedTuple):
    """A photo's dense depth at the size of its picture here: depth [H,W] world units, 0 unknown; confidence [H,W]."""

    depth: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class PhotoView:
    """One photo as a judge of splats: image [H,W,3] in 0..1 at the view's size, mask [H,W] in 0..1 (1 = counts) or
    None, background [3] behind its transparent pixels, dense depth where it is known."""

    view: View
    image: Tensor
    mask: Tensor | None
    background: Tensor
    dense: DenseDepth | None = None


class JudgingPhotos(Sequence[PhotoView]):
    """The training photos, or `most` of them at even distances, reduced by `scale` (1, 2 or 4); read when asked for.

    background: [3] behind the splats and behind transparent pixels. depths: dense depth by the position within the
    training photos; relative depth is left aside. exposure, camera_opt: what a run has learned of the photos so far.
    """

    def __init__(
        self,
        views: TrainViews,
        background: Tensor,
        *,
        scale: int = 1,
        most: int | None = None,
        depths: Mapping[int, DepthMap] = MappingProxyType({}),
        exposure: Exposure | None = None,
        camera_opt: CameraOpt | None = None,
    ) -> None:
        count = len(views)
        if most is not None and count > most:
            step = (count - 1) / max(most - 1, 1)
            self._positions = [round(i * step) for i in range(most)]
        else:
            self._positions = list(range(count))
        self._views, self._background, self._scale, self._depths = views, background, scale, depths
        self._exposure, self._camera_opt = exposure, camera_opt

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> PhotoView:  # type: ignore[override]
        position = self._positions[index]
        image, mask = self._views.target(position, self._scale, self._background)
        view = self._views.view(position, self._scale)
        if self._exposure is not None:
            image = self._exposure.undo(position, image)
        if self._camera_opt is not None:
            view = with_pose(view, self._camera_opt.pose(position))
        found = self._depths.get(position)
        dense = _dense(found, view) if found is not None and found.metric else None
        return PhotoView(view, image, mask, self._background, dense)

    def __iter__(self) -> Iterator[PhotoView]:
        return (self[i] for i in range(len(self)))

    @property
    def positions(self) -> tuple[int, ...]:
        """Position of each photo within the scene's training photos."""
        return tuple(self._positions)


def _dense(found: DepthMap, view: View) -> DenseDepth:
    """The depth map at the view's size: each pixel takes the one that its centre falls into."""
    height, width = found.depth.shape
    rows = ((torch.arange(view.height) + 0.5) * height / view.height).long()[:, None]
    columns = ((torch.arange(view.width) + 0.5) * width / view.width).long()[None, :]
    return DenseDepth(torch.from_numpy(found.depth)[rows, columns], torch.from_numpy(found.confidence)[rows, columns])

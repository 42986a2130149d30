# SPDX-License-Identifier: Apache-2.0
"""Which picture each step looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.scene.extra_view import ExtraView
from sparse3d.scene.records import Scene
from sparse3d.train.camera_opt import CameraOpt
from sparse3d.train.exposure import Exposure
from sparse3d.train.schedule import ViewOrder
from sparse3d.train.shifted_shot import ShiftedShot
from sparse3d.train.shots import ExtraShot, PhotoShot, Shot
from sparse3d.train.terms.config import TermsConfig
from sparse3d.train.views import TrainViews, view_of, with_pose


class ShotPlan:
    """Chooses what each step looks at: the photos in their order, and in between what the terms ask for."""

    def __init__(
        self,
        scene: Scene,
        terms: TermsConfig,
        views: TrainViews,
        order: ViewOrder,
        exposure: Exposure | None,
        camera_opt: CameraOpt | None,
        generator: torch.Generator,
        extra_views: Sequence[ExtraView],
    ) -> None:
        self._names = [scene.names[i] for i in scene.train]
        self._terms, self._views, self._order = terms, views, order
        self._exposure, self._camera_opt, self._generator = exposure, camera_opt, generator
        self._extra = extra_views
        self._reduced: dict[int, ExtraView] = {}
        self._scale = 1
        self._nearest = nearest_camera([scene.cameras[i] for i in scene.train], scene.extent)

    def next(self, number: int, progress: float, scale: int, background: Tensor) -> Shot:
        """Of the step `number` (1-based), with pictures reduced by `scale`, over `background` [3] where transparent."""
        terms = self._terms
        in_time = terms.virtual_start <= progress < terms.virtual_stop
        if self._extra and terms.virtual > 0 and in_time and number % terms.virtual_every == 0:
            return self._virtual(scale)
        if terms.binocular > 0 and progress >= terms.binocular_start and number % terms.binocular_every == 1:
            return self._shifted(scale, background)
        position = self._order.next()
        upcoming = self._order.peek()
        if upcoming is not None:
            self._views.prefetch(upcoming, scale)
        return self._photo(position, scale, background)

    def _photo(self, position: int, scale: int, background: Tensor) -> PhotoShot:
        view = self._views.view(position, scale)
        if self._camera_opt is not None:
            view = with_pose(view, self._camera_opt.pose(position))
        target, mask = self._views.target(position, scale, background)
        return PhotoShot(self._names[position], position, view, target, mask, self._exposure)

    def _virtual(self, scale: int) -> ExtraShot:
        """A random one of the extra views (photos warped to unseen places: MVPGS, Xu et al. 2024)."""
        index = int(torch.randint(len(self._extra), (1,), generator=self._generator))
        if scale != self._scale:
            self._reduced.clear()
            self._scale = scale
        if index not in self._reduced:
            self._reduced[index] = self._extra[index].reduced(scale)
        extra = self._reduced[index]
        image, weight = torch.from_numpy(extra.image), torch.from_numpy(extra.weight)
        return ExtraShot(f"virtual {index}", view_of(extra.camera), image, weight, self._terms.virtual)

    def _shifted(self, scale: int, background: Tensor) -> ShiftedShot:
        """A random photo from its camera moved sideways by a random way."""
        position = int(torch.randint(len(self._names), (1,), generator=self._generator))
        way = 2.0 * float(torch.rand(1, generator=self._generator)) - 1.0
        photo = self._photo(position, scale, background)
        if self._exposure is not None:
            photo.target = self._exposure.undo(position, photo.target)
        return ShiftedShot(photo, way * self._terms.binocular_shift * self._nearest[position], self._terms.binocular)


def nearest_camera(cameras: Sequence[Camera], extent: float) -> list[float]:
    """The distance from each camera to the nearest other one at another place; `extent` where there is none."""
    places = np.stack([camera.position for camera in cameras])
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    distance[distance < 1e-9] = np.inf
    return [float(d) if np.isfinite(d) else extent for d in distance.min(axis=1)]

# SPDX-License-Identifier: Apache-2.0
"""What a step looks at, and its loss: a photo, or a picture that stands in for one."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import torch
from torch import Tensor

from sparse3d.scene.extra_view import ExtraView
from sparse3d.scene.records import Scene
from sparse3d.train.camera_opt import CameraOpt
from sparse3d.train.exposure import Exposure
from sparse3d.train.schedule import ViewOrder
from sparse3d.train.step import StepRendering, TrainingStep
from sparse3d.train.terms.config import TermsConfig
from sparse3d.train.terms.term import OutputGradients
from sparse3d.train.views import TrainViews, View, view_of, with_pose


class Shot(abc.ABC):
    """One step's camera and picture. name: for messages; position: of the photo within scene.train, None where it is
    no photo; target [H,W,3], mask [H,W] or None: what the rendering is compared with, read only."""

    needs_depth = False

    def __init__(self, name: str, position: int | None, view: View, target: Tensor, mask: Tensor | None) -> None:
        self.name, self.position, self.view, self.target, self.mask = name, position, view, target, mask

    @abc.abstractmethod
    def loss(
        self, kernels: TrainingStep, rendering: StepRendering, ssim_weight: float
    ) -> tuple[float, OutputGradients]:
        """The loss of a rendering of `view`, and its gradients."""


class PhotoShot(Shot):
    """A training photo, seen through its exposure where that is learned; `loss` then also updates the exposure."""

    def __init__(
        self, name: str, position: int, view: View, target: Tensor, mask: Tensor | None, exposure: Exposure | None
    ) -> None:
        super().__init__(name, position, view, target, mask)
        self._position, self._exposure = position, exposure

    def loss(
        self, kernels: TrainingStep, rendering: StepRendering, ssim_weight: float
    ) -> tuple[float, OutputGradients]:
        if self._exposure is None:
            loss = kernels.photometric(self.target, self.mask, ssim_weight)
            return loss, OutputGradients(kernels.v_image)
        shown = self._exposure.apply(self._position, rendering.image)
        loss = kernels.photometric(self.target, self.mask, ssim_weight, image=shown)
        assert kernels.v_image is not None
        return loss, OutputGradients(self._exposure.backward(self._position, rendering.image, kernels.v_image))


class ExtraShot(Shot):
    """A picture that no camera took; its gradients are multiplied by `strength`."""

    def __init__(self, name: str, view: View, target: Tensor, mask: Tensor, strength: float) -> None:
        super().__init__(name, None, view, target, mask)
        self._strength = strength

    def loss(
        self, kernels: TrainingStep, rendering: StepRendering, ssim_weight: float
    ) -> tuple[float, OutputGradients]:
        loss = kernels.photometric(self.target, self.mask, ssim_weight)
        assert kernels.v_image is not None
        return loss, OutputGradients(kernels.v_image * self._strength)


class Shots:
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

    def next(self, number: int, progress: float, scale: int, background: Tensor) -> Shot:
        """Of the step `number` (1-based), with pictures reduced by `scale`, over `background` [3] where transparent."""
        terms = self._terms
        in_time = terms.virtual_start <= progress < terms.virtual_stop
        if self._extra and terms.virtual > 0 and in_time and number % terms.virtual_every == 0:
            return self._virtual(scale)
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

# SPDX-License-Identifier: Apache-2.0
"""What a step looks at, and its loss: a training photo."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparse3d.judge.pictures import TrainViews
from sparse3d.kernels.records import View, with_pose
from sparse3d.kernels.step import StepRendering, TrainingStep
from sparse3d.records.scene import Scene
from sparse3d.train.exposure import Exposure
from sparse3d.train.poses import CameraOpt
from sparse3d.train.schedule import ViewOrder
from sparse3d.train.trainee import OutputGradients


@dataclass(frozen=True)
class Shot:
    """A training photo and its camera. name: for messages; position: within scene.train; target [H,W,3], mask [H,W] or
    None: what the rendering is compared with, read only; exposure: that the photo is seen through, where it is learned.
    """

    name: str
    position: int
    view: View
    target: Tensor
    mask: Tensor | None
    exposure: Exposure | None

    def loss(
        self, kernels: TrainingStep, rendering: StepRendering, ssim_weight: float
    ) -> tuple[float, OutputGradients]:
        """The loss of a rendering of `view`, and its gradients; also updates the exposure."""
        if self.exposure is None:
            loss = kernels.photometric(self.target, self.mask, ssim_weight)
            return loss, OutputGradients(kernels.v_image)
        shown = self.exposure.apply(self.position, rendering.image)
        loss = kernels.photometric(self.target, self.mask, ssim_weight, image=shown)
        assert kernels.v_image is not None
        return loss, OutputGradients(self.exposure.backward(self.position, rendering.image, kernels.v_image))


class ShotPlan:
    """The photos in their order, each with its pose and exposure as they are by then."""

    def __init__(
        self,
        scene: Scene,
        views: TrainViews,
        order: ViewOrder,
        exposure: Exposure | None,
        camera_opt: CameraOpt | None,
    ) -> None:
        self._names = [scene.names[i] for i in scene.train]
        self._views, self._order, self._exposure, self._camera_opt = views, order, exposure, camera_opt

    def next(self, scale: int, background: Tensor) -> Shot:
        """The next photo, reduced by `scale`, over `background` [3] where it is transparent."""
        position = self._order.next()
        upcoming = self._order.peek()
        if upcoming is not None:
            self._views.prefetch(upcoming, scale)
        view = self._views.view(position, scale)
        if self._camera_opt is not None:
            view = with_pose(view, self._camera_opt.pose(position))
        target, mask = self._views.target(position, scale, background)
        return Shot(self._names[position], position, view, target, mask, self._exposure)

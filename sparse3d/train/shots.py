# SPDX-License-Identifier: Apache-2.0
"""What a step looks at, and its loss: a photo, or a picture that stands in for one."""

from __future__ import annotations

import abc

from torch import Tensor

from sparse3d.train.exposure import Exposure
from sparse3d.train.step import StepRendering, TrainingStep
from sparse3d.train.terms.term import OutputGradients
from sparse3d.train.views import View


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

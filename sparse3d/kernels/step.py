# SPDX-License-Identifier: Apache-2.0
"""One training step on splats: what every back end offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from sparse3d.kernels.records import AdamHyper, AdamState, DensityStats, RasterSettings


class StepRendering(Protocol):
    """One view: image [H,W,3] over the background, alpha [H,W], depth [H,W] (not divided by alpha; None unless
    settings.depth). May be views of buffers: valid until the next render."""

    @property
    def image(self) -> Tensor: ...

    @property
    def alpha(self) -> Tensor: ...

    @property
    def depth(self) -> Tensor | None: ...


class LossNumbers(Protocol):
    """Of the last photometric call; squared_error is the mean over kept pixels and channels."""

    @property
    def loss(self) -> float: ...

    @property
    def squared_error(self) -> float: ...


class TrainingStep(Protocol):
    """The three calls of a step, in this order. `params`: raw splats by name, contiguous float32, changed in place."""

    v_image: Tensor | None

    @property
    def last(self) -> LossNumbers: ...

    def render(
        self,
        params: Mapping[str, Tensor],
        cam_from_world: Tensor,
        intrinsics: Tensor,
        background: Tensor,
        settings: RasterSettings,
    ) -> StepRendering: ...

    def photometric(
        self, target: Tensor, mask: Tensor | None, ssim_weight: float, image: Tensor | None = None
    ) -> float:
        """Loss of the last rendering, or of `image`, what was made of it; fills `v_image` [H,W,3]."""
        ...

    def backward_adam(
        self,
        params: Mapping[str, Tensor],
        adam: AdamState,
        hyper: AdamHyper,
        *,
        v_image: Tensor | None = None,
        v_alpha: Tensor | None = None,
        v_depth: Tensor | None = None,
        stats: DensityStats | None = None,
        camera_grad: bool = False,
        at: Mapping[str, Tensor] | None = None,
    ) -> Tensor | None:
        """Updates splats and moments; returns the gradient [3,4] to cam_from_world's [R | t] where asked for.

        at: the parameters whose gradient is taken, `params` unless given; the update is of `params` all the same
        (straight-through). They may have other logit_opacities than were rendered: an opacity shown counts as a
        constant times theirs, also where it was clamped.
        """
        ...


def make_step(backend: str, threads: int) -> tuple[TrainingStep, str]:
    """The step of a back end and the name it runs under. Raises BackendError where it is missing."""
    from sparse3d.kernels.cpu.step import StepWorkspace
    from sparse3d.kernels.reference.step import ReferenceStep

    if backend == "reference":
        return ReferenceStep(), "reference"
    return StepWorkspace(threads), "cpu"

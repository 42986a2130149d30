# SPDX-License-Identifier: Apache-2.0
"""One training step: what every back end offers, and which one runs. Without autograd between the calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from sparse3d.errors import BackendError
from sparse3d.kernels.records import (
    AdamHyper,
    AdamState,
    DensityStats,
    OutputGradients,
    PhotometricLoss,
    RasterSettings,
    SplatGradients,
    View,
)


class StepRendering(Protocol):
    """One view: image [H,W,3] over the background, alpha [H,W], depth [H,W] (not divided by alpha; None unless it was
    asked for). May be views of buffers: valid until the next render."""

    @property
    def image(self) -> Tensor: ...

    @property
    def alpha(self) -> Tensor: ...

    @property
    def depth(self) -> Tensor | None: ...


class Photometric(Protocol):
    """The loss of 3DGS on images, whatever rendered them."""

    def __call__(self, image: Tensor, target: Tensor, mask: Tensor | None, ssim_weight: float) -> PhotometricLoss:
        """Of image [H,W,3] to target [H,W,3], where mask [H,W] in 0..1 counts (all, if None)."""
        ...


class SplatStep(Protocol):
    """A view of splats forwards, then backwards. `params`: raw splats by name, contiguous float32."""

    def render(
        self, params: Mapping[str, Tensor], view: View, background: Tensor, settings: RasterSettings
    ) -> StepRendering:
        """The view over `background` [3]."""
        ...

    def backward(
        self, params: Mapping[str, Tensor], gradients: OutputGradients, *, splats: bool = True, camera: bool = False
    ) -> SplatGradients:
        """What arrives at the parameters of the last rendering, and at its camera; nothing is updated."""
        ...

    def backward_adam(
        self,
        params: Mapping[str, Tensor],
        adam: AdamState,
        hyper: AdamHyper,
        gradients: OutputGradients,
        *,
        stats: DensityStats | None = None,
        camera: bool = False,
        at: Mapping[str, Tensor] | None = None,
    ) -> Tensor | None:
        """Updates, in place, parameters and moments of the splats that the last rendering saw; adam.step grows by one.
        Returns the gradient [3,4] to cam_from_world's [R | t] where `camera`.

        stats: density statistics to add to. at: the parameters whose gradient is taken, `params` unless given; the
        update is of `params` all the same (straight-through). They may have other logit_opacities than were rendered:
        an opacity shown counts as a constant times theirs, also where it was clamped.
        """
        ...


def backend_name(backend: str) -> str:
    """The back end that "auto" or a name means. Raises BackendError where it is missing."""
    if backend in ("auto", "cpu"):
        return "cpu"
    if backend == "reference":
        return "reference"
    raise BackendError(f"no back end {backend!r} for training (there are: cpu, reference)")


def splat_step(backend: str, threads: int = 0) -> SplatStep:
    """The step on splats of a back end; threads: of the CPU kernels (0: one a core)."""
    if backend_name(backend) == "reference":
        from sparse3d.kernels.reference.step import ReferenceSplatStep

        return ReferenceSplatStep()
    from sparse3d.kernels.cpu.step import CpuSplatStep

    return CpuSplatStep(threads)


def photometric(backend: str) -> Photometric:
    """The photometric loss of a back end."""
    if backend_name(backend) == "reference":
        from sparse3d.kernels.reference.photometric import ReferencePhotometric

        return ReferencePhotometric()
    from sparse3d.kernels.cpu.photometric import CpuPhotometric

    return CpuPhotometric()

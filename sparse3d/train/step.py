# SPDX-License-Identifier: Apache-2.0
"""One training step: render, loss, backward with Adam. What the trainer asks of it, and the plain-torch version.

`ReferenceStep` is `--backend reference` and the oracle of tests; the CPU's version is `kernels.workspace.StepWorkspace`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sparse3d.errors import BackendError
from sparse3d.kernels import reference
from sparse3d.kernels.types import Rasterization, RasterSettings
from sparse3d.splats import PARAMETER_NAMES
from sparse3d.train.state import AdamHyper, AdamState, DensityStats


class StepRendering(Protocol):
    """One view. Tensors may be views of buffers: valid until the next render."""

    image: Tensor
    alpha: Tensor
    depth: Tensor
    median_depth: Tensor


class CameraGrad(Protocol):
    """Gradient of the loss to the camera of one step: v_cam_from_world [4,4] (bottom row zero)."""

    v_cam_from_world: Tensor


class TrainingStep(Protocol):
    """The three calls of a step, in this order. `params` are raw splats by name, contiguous float32, changed in place."""

    v_image: Tensor

    def render(
        self,
        params: Mapping[str, Tensor],
        cam_from_world: Tensor,
        intrinsics: Tensor,
        background: Tensor,
        settings: RasterSettings,
    ) -> StepRendering: ...

    def photometric(self, target: Tensor, mask: Tensor | None, ssim_weight: float) -> float:
        """Loss of the last rendering's image as it is in its buffer now; fills `v_image`."""
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
        stats: DensityStats | None,
        camera_grad: bool = False,
    ) -> CameraGrad | None: ...


def make_step(backend: str, threads: int) -> tuple[TrainingStep, str]:
    """The step of a back end and the name it runs under. Raises BackendError where it is missing."""
    if backend == "reference":
        return ReferenceStep(), "reference"
    try:
        from sparse3d.kernels.workspace import StepWorkspace
    except ImportError as error:
        raise BackendError(
            f"the cpu kernels cannot be loaded ({error}); build them with `pip install .`, or use --backend reference"
        ) from error
    return StepWorkspace(threads), "cpu"


class _Image(NamedTuple):
    image: Tensor
    alpha: Tensor
    depth: Tensor
    median_depth: Tensor


class _PoseGrad(NamedTuple):
    v_cam_from_world: Tensor


class ReferenceStep:
    """The step in plain torch with autograd: slow, exact, any size that fits memory."""

    def __init__(self) -> None:
        self.v_image = torch.zeros(0)
        self._leaves: dict[str, Tensor] = {}
        self._output: Rasterization | None = None
        self._shown = torch.zeros(0)

    def render(
        self,
        params: Mapping[str, Tensor],
        cam_from_world: Tensor,
        intrinsics: Tensor,
        background: Tensor,
        settings: RasterSettings,
    ) -> StepRendering:
        self._leaves = {name: params[name].detach().clone().requires_grad_() for name in PARAMETER_NAMES}
        self._pose = cam_from_world.detach().clone().requires_grad_()
        self._settings = settings
        self._gradients = reference.Means2dGradients()
        self._output = reference.rasterize(
            **self._leaves,
            cam_from_world=self._pose[None],
            intrinsics=intrinsics[None],
            background=background[None],
            settings=settings,
            means2d_gradients=self._gradients,
        )
        out = self._output
        self._shown = out.image[0].detach().clone()
        return _Image(self._shown, out.alpha[0].detach(), out.depth[0].detach(), out.median_depth[0].detach())

    def photometric(self, target: Tensor, mask: Tensor | None, ssim_weight: float) -> float:
        image = self._shown.detach().requires_grad_()
        loss = reference.l1_ssim_loss(image, target, mask, ssim_weight)
        (self.v_image,) = torch.autograd.grad(loss, image)
        return float(loss.detach())

    def backward_adam(
        self,
        params: Mapping[str, Tensor],
        adam: AdamState,
        hyper: AdamHyper,
        *,
        v_image: Tensor | None = None,
        v_alpha: Tensor | None = None,
        v_depth: Tensor | None = None,
        stats: DensityStats | None,
        camera_grad: bool = False,
    ) -> CameraGrad | None:
        out = self._output
        if out is None:
            raise RuntimeError("backward_adam needs a render before it")
        pairs = [(out.image, self.v_image if v_image is None else v_image), (out.alpha, v_alpha), (out.depth, v_depth)]
        pairs = [(tensor[0], v) for tensor, v in pairs if v is not None]
        # Where no splat is visible the outputs have no graph, and no parameter a gradient.
        pairs = [(tensor, v) for tensor, v in pairs if tensor.requires_grad]
        if pairs:
            torch.autograd.backward([tensor for tensor, _ in pairs], [v for _, v in pairs])
        with torch.no_grad():
            self._update(params, adam, hyper, out.radii[0] > 0)
            if stats is not None:
                self._count(stats, out)
        pose_grad = self._pose.grad
        self._output = None
        if not camera_grad:
            return None
        return _PoseGrad(torch.zeros(4, 4) if pose_grad is None else pose_grad)

    def _update(self, params: Mapping[str, Tensor], adam: AdamState, hyper: AdamHyper, visible: Tensor) -> None:
        adam.step += 1
        rows = torch.nonzero(visible)[:, 0]
        count = max(1, visible.numel())
        for name in PARAMETER_NAMES:
            gradient = self._leaves[name].grad
            value = params[name][rows]
            grad = torch.zeros_like(value) if gradient is None else gradient[rows]
            if name == "logit_opacities" and hyper.opacity_reg:
                opacity = torch.sigmoid(value)
                grad = grad + hyper.opacity_reg / count * opacity * (1 - opacity)
            if name == "log_scales" and hyper.scale_reg:
                grad = grad + hyper.scale_reg / (3 * count) * value.exp()
            new, m, v = reference.adam_step(
                value, grad, adam.m[name][rows], adam.v[name][rows], adam.step, hyper.lr[name],
                hyper.beta1, hyper.beta2, hyper.eps,
            )  # fmt: skip
            params[name][rows], adam.m[name][rows], adam.v[name][rows] = new, m, v

    def _count(self, stats: DensityStats, out: Rasterization) -> None:
        half = torch.tensor([self._settings.width / 2, self._settings.height / 2])
        visible = out.radii[0] > 0
        if self._gradients.plain.numel():
            stats.grad += (self._gradients.plain[0] * half).norm(dim=1)
            stats.grad_abs += (self._gradients.absolute[0] * half).norm(dim=1)
        stats.visible += visible.float()
        stats.weight_sum += out.weight_sum[0]
        torch.maximum(stats.weight_max, out.weight_max[0], out=stats.weight_max)
        torch.maximum(stats.radius_max_px, out.radii[0], out=stats.radius_max_px)

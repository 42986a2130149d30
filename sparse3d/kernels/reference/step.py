# SPDX-License-Identifier: Apache-2.0
"""One training step: render, loss, backward with Adam. What the trainer asks of it, and the plain-torch version.

`ReferenceStep` is the reference back end and the oracle of tests; the CPU's is `kernels.workspace.StepWorkspace`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.kernels import reference
from sparse3d.kernels.records import AdamHyper, AdamState, DensityStats, PhotometricLoss, Rasterization, RasterSettings
from sparse3d.kernels.step import StepRendering
from sparse3d.splats import PARAMETER_NAMES


class _Image(NamedTuple):
    image: Tensor
    alpha: Tensor
    depth: Tensor | None


class ReferenceStep:
    """The step in plain torch with autograd: slow, exact, any size that fits memory."""

    def __init__(self) -> None:
        self.v_image: Tensor | None = None
        self.last = PhotometricLoss()
        self._leaves: dict[str, Tensor] = {}
        self._output: Rasterization | None = None

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
        # The statistics come with the picture here; whether they are wanted is known only in the backward pass.
        self._settings = replace(settings, stats=True)
        self._gradients = reference.Means2dGradients()
        leaves = self._leaves
        output = reference.rasterize(
            leaves["means"],
            leaves["quats_wxyz"],
            leaves["log_scales"],
            leaves["logit_opacities"],
            leaves["sh0"],
            leaves["shN"],
            self._pose[None],
            intrinsics[None],
            background[None],
            self._settings,
            means2d_gradients=self._gradients,
        )
        self._output = output
        depth = output.depth[0].detach() if settings.depth else None
        return _Image(output.image[0].detach(), output.alpha[0].detach(), depth)

    def photometric(
        self, target: Tensor, mask: Tensor | None, ssim_weight: float, image: Tensor | None = None
    ) -> float:
        if self._output is None:
            raise DataError("ReferenceStep: photometric needs a render before it")
        leaf = (self._output.image[0] if image is None else image).detach().clone().requires_grad_()
        loss = reference.l1_ssim_loss(leaf, target, mask, ssim_weight)
        (self.v_image,) = torch.autograd.grad(loss, leaf)
        error = (leaf.detach() - target) ** 2
        mean = error.mean() if mask is None else (error * mask[..., None]).sum() / (3 * mask.sum()).clamp(min=1e-12)
        self.last = PhotometricLoss(loss=float(loss.detach()), squared_error=float(mean))
        return self.last.loss

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
        out = self._output
        if out is None:
            raise DataError("ReferenceStep: backward_adam needs a render before it")
        pairs = [(out.image, self.v_image if v_image is None else v_image), (out.alpha, v_alpha), (out.depth, v_depth)]
        pairs = [(tensor[0], v) for tensor, v in pairs if v is not None]
        # Where no splat is visible the outputs have no graph, and no parameter a gradient.
        pairs = [(tensor, v) for tensor, v in pairs if tensor.requires_grad]
        if pairs:
            torch.autograd.backward([tensor for tensor, _ in pairs], [v for _, v in pairs])
        with torch.no_grad():
            self._update(params, params if at is None else at, adam, hyper, out.radii[0] > 0)
            if stats is not None:
                self._count(stats, out)
        pose_grad = self._pose.grad
        self._output = None
        if not camera_grad:
            return None
        return torch.zeros(3, 4) if pose_grad is None else pose_grad[:3]

    def _update(
        self,
        params: Mapping[str, Tensor],
        at: Mapping[str, Tensor],
        adam: AdamState,
        hyper: AdamHyper,
        visible: Tensor,
    ) -> None:
        adam.step += 1
        rows = torch.nonzero(visible)[:, 0]
        count = max(1, visible.numel())
        for name in PARAMETER_NAMES:
            gradient = self._leaves[name].grad
            value = params[name][rows]
            grad = torch.zeros_like(value) if gradient is None else gradient[rows]
            if name == "logit_opacities":
                # d ln(c o) / d logit is 1 - o of the splat's own opacity, whatever constant c was shown.
                rendered = self._leaves[name].detach()[rows]
                own = torch.sigmoid(-at[name][rows])
                grad = grad * (own / torch.sigmoid(-rendered).clamp(min=1e-30))
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
        torch.maximum(stats.radius_max, out.radii[0], out=stats.radius_max)

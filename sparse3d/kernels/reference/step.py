# SPDX-License-Identifier: Apache-2.0
"""The training step on splats in plain torch with autograd: slow, exact, any size that fits memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.kernels import reference
from sparse3d.kernels.records import (
    AdamHyper,
    AdamState,
    DensityStats,
    OutputGradients,
    Rasterization,
    RasterSettings,
    SplatGradients,
    View,
)
from sparse3d.splats import PARAMETER_NAMES


class _Image(NamedTuple):
    image: Tensor
    alpha: Tensor
    depth: Tensor | None


class ReferenceSplatStep:
    """`kernels.step.SplatStep`, the oracle of tests."""

    def __init__(self) -> None:
        self._leaves: dict[str, Tensor] = {}
        self._output: Rasterization | None = None

    def render(self, params: Mapping[str, Tensor], view: View, background: Tensor, settings: RasterSettings) -> _Image:
        self._leaves = {name: params[name].detach().clone().requires_grad_() for name in PARAMETER_NAMES}
        self._pose = view.cam_from_world.detach().clone().requires_grad_()
        # The statistics come with the picture here; whether they are wanted is known only in the backward pass.
        self._settings = replace(settings, stats=True)
        self._gradients = reference.Means2dGradients()
        leaves = self._leaves
        output = reference.rasterize(
            leaves["means"], leaves["quats_wxyz"], leaves["log_scales"], leaves["logit_opacities"], leaves["sh0"],
            leaves["shN"], self._pose[None], view.intrinsics[None], background[None], self._settings,
            means2d_gradients=self._gradients,
        )  # fmt: skip
        self._output = output
        depth = output.depth[0].detach() if settings.depth else None
        return _Image(output.image[0].detach(), output.alpha[0].detach(), depth)

    def backward(
        self, params: Mapping[str, Tensor], gradients: OutputGradients, *, splats: bool = True, camera: bool = False
    ) -> SplatGradients:
        del params
        self._run("backward", gradients)
        found = {
            name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in self._leaves.items()
        }
        return SplatGradients(found if splats else None, self._camera_gradient() if camera else None)

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
        out = self._run("backward_adam", gradients)
        with torch.no_grad():
            self._update(params, params if at is None else at, adam, hyper, out.radii[0] > 0)
            if stats is not None:
                self._count(stats, out)
        return self._camera_gradient() if camera else None

    def _run(self, call: str, gradients: OutputGradients) -> Rasterization:
        """The backward pass of the last rendering, which is given up."""
        out, self._output = self._output, None
        if out is None:
            raise DataError(f"{call} needs a render before it")
        pairs = [(out.image, gradients.image), (out.alpha, gradients.alpha), (out.depth, gradients.depth)]
        # Where no splat is visible the outputs have no graph, and no parameter a gradient.
        wanted = [(tensor[0], v) for tensor, v in pairs if v is not None and tensor.requires_grad]
        if wanted:
            torch.autograd.backward([tensor for tensor, _ in wanted], [v for _, v in wanted])
        return out

    def _camera_gradient(self) -> Tensor:
        return torch.zeros_like(self._pose[:3]) if self._pose.grad is None else self._pose.grad[:3]

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
        half = out.image.new_tensor([self._settings.width / 2, self._settings.height / 2])
        visible = out.radii[0] > 0
        if self._gradients.plain.numel():
            stats.grad += (self._gradients.plain[0] * half).norm(dim=1)
            stats.grad_abs += (self._gradients.absolute[0] * half).norm(dim=1)
        stats.visible += visible.float()
        stats.weight_sum += out.weight_sum[0]
        torch.maximum(stats.weight_max, out.weight_max[0], out=stats.weight_max)
        torch.maximum(stats.radius_max, out.radii[0], out=stats.radius_max)

# SPDX-License-Identifier: Apache-2.0
"""Colour variance along the rays: splats that blend into one pixel should agree on its colour (Sparfels, Jena et al.
2025: E[c^2] - E[c]^2 of the colours by their blending weights, with a weight that falls to 0 along a cosine).

Where a floater and the surface behind it mix to the right colour in one photo, they have different colours and are seen
apart in the next: the variance is what tells such a mixture from one surface.

The loss is the mean over pixels and channels of E2 - E1^2 / A = sum w (c - m)^2, with m = E1 / A. One channel a step, a
random one, takes one more rendering, of c^2 and c as colours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from sparse3d.conventions import SH_C0
from sparse3d.kernels.reference import sh_basis
from sparse3d.kernels.types import RasterSettings
from sparse3d.kernels.workspace import AdamHyper, AdamState
from sparse3d.splats import PARAMETER_NAMES
from sparse3d.train.shots import Shot
from sparse3d.train.step import StepRendering, TrainingStep
from sparse3d.train.terms.config import TermsConfig
from sparse3d.train.views import View

# Below this alpha a pixel has no mean colour to speak of.
_ALPHA_MIN = 1e-4


class RayVariance:
    """The term of one run. generator: draws the channel of each step; the terms' own."""

    def __init__(self, cfg: TermsConfig, generator: torch.Generator) -> None:
        self._weight, self._generator = cfg.ray_variance, generator

    def pull(
        self,
        kernels: TrainingStep,
        params: Mapping[str, Tensor],
        shown: Mapping[str, Tensor],
        adam: AdamState,
        shot: Shot,
        settings: RasterSettings,
        progress: float,
    ) -> None:
        """Before the step renders a photo: add the term's gradient to the moments of `adam`, in place.

        The first moment is then as if the gradient had been part of the step's; in the second one the product of the
        two gradients is left out, which lengthens a step by sqrt(2) at most. Renders, so what `kernels` rendered before
        is gone. The way of colours over directions to positions is left out.
        """
        if self._weight <= 0.0 or shot.position is None:
            return
        channel = int(torch.randint(3, (1,), generator=self._generator))
        weight = self._weight * 0.5 * (1.0 + math.cos(math.pi * progress))
        basis, color = colors_of(shown, shot.view, settings.sh_degree, channel)
        view, grey = shot.view, replace(settings, sh_degree=0, depth=False, stats=False)
        moments = in_place_of_colors(params, color)
        rendering = kernels.render(
            {**moments, "logit_opacities": shown["logit_opacities"]},
            view.cam_from_world, view.intrinsics, torch.zeros(3), grey,
        )  # fmt: skip
        v_image, v_alpha = variance_vjp(rendering, shot.mask, weight)
        # Adam from zero at rate zero moves nothing, and leaves (1 - beta1) g and (1 - beta2) g^2.
        probe, hyper = AdamState.zeros(moments), AdamHyper(lr=dict.fromkeys(PARAMETER_NAMES, 0.0))
        kernels.backward_adam(moments, probe, hyper, v_image=v_image, v_alpha=v_alpha)
        for name in ("means", "quats_wxyz", "log_scales", "logit_opacities"):
            adam.m[name].add_(probe.m[name] / hyper.beta1)
            adam.v[name].add_(probe.v[name] / hyper.beta2)
        # Of c^2 and c to c, and on to the coefficients; a colour below 0 shows as 0 and is not pulled.
        v_square, v_plain, _ = (probe.m["sh0"][:, 0] / ((1.0 - hyper.beta1) * SH_C0)).unbind(1)
        v_color = torch.where(color > 0, 2.0 * color * v_square + v_plain, 0.0)
        for number, column in enumerate(basis.unbind(1)):
            name, row = ("sh0", 0) if number == 0 else ("shN", number - 1)
            gradient = v_color * column
            adam.m[name][:, row, channel] += gradient * ((1.0 - hyper.beta1) / hyper.beta1)
            adam.v[name][:, row, channel] += gradient * gradient * ((1.0 - hyper.beta2) / hyper.beta2)


def colors_of(shown: Mapping[str, Tensor], view: View, degree: int, channel: int) -> tuple[Tensor, Tensor]:
    """The SH basis [N,K] in the directions from the view's camera, and one channel [N] of the colours seen there, 0 or
    more."""
    rotation, translation = view.cam_from_world[:3, :3], view.cam_from_world[:3, 3]
    # Sums term by term, here and below: matmul's and sum's bits depend on the number of threads.
    centre = [-sum(float(rotation[row, axis]) * float(translation[row]) for row in range(3)) for axis in range(3)]
    x, y, z = (shown["means"][:, axis] - centre[axis] for axis in range(3))
    length = torch.sqrt(x * x + y * y + z * z).clamp(min=1e-12)
    basis = sh_basis(torch.stack([x / length, y / length, z / length], dim=1), degree)
    color = basis[:, 0] * shown["sh0"][:, 0, channel] + 0.5
    for number in range(1, basis.shape[1]):
        color = color + basis[:, number] * shown["shN"][:, number - 1, channel]
    return basis, color.clamp(min=0.0)


def in_place_of_colors(params: Mapping[str, Tensor], color: Tensor) -> dict[str, Tensor]:
    """The splats with the colour (c^2, c, 0) of `color` c [N] from all sides."""
    values = torch.stack([color * color, color, torch.zeros_like(color)], dim=1)
    sh0 = ((values - 0.5) / SH_C0)[:, None].contiguous()
    return {**params, "sh0": sh0, "shN": torch.zeros(len(color), 0, 3)}


def variance_vjp(rendering: StepRendering, mask: Tensor | None, weight: float) -> tuple[Tensor, Tensor]:
    """Gradients to the image [H,W,3] of (c^2, c, 0) over black and to alpha [H,W], of `weight` times the mean over the
    pixels (by mask [H,W]) of the variance. With m = E1 / A they are 1, -2 m and m^2."""
    alpha = rendering.alpha.clamp(min=_ALPHA_MIN)
    mean = rendering.image[..., 1] / alpha
    count = alpha.numel() if mask is None else max(float(mask.double().numpy().sum()), 1.0)
    share = torch.full_like(alpha, weight / count) if mask is None else mask * (weight / count)
    return torch.stack([share, -2.0 * mean * share, torch.zeros_like(share)], dim=2), mean * mean * share

# SPDX-License-Identifier: Apache-2.0
"""What goes into the rasteriser beside tensors, and what comes out: shared by the reference and every back end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparse3d import conventions
from sparse3d.camera import Camera


@dataclass(frozen=True)
class RasterSettings:
    """How to rasterise.

    sh_degree: highest degree evaluated (0 to 4; coefficients above it are ignored and get zero gradient).
    antialias: scale opacity by sqrt(det(cov2d) / det(cov2d + low pass)), Mip-Splatting's 2D compensation.
    near: splats with camera z below it are culled, world units.
    depth: also produce expected and median depth (zeros otherwise).
    stats: also produce per-splat contribution statistics and absolute gradients (zeros otherwise).
    """

    width: int
    height: int
    sh_degree: int = 3
    antialias: bool = False
    near: float = conventions.NEAR_PLANE
    depth: bool = False
    stats: bool = False


class Rasterization(NamedTuple):
    """C views of one scene.

    image [C,H,W,3]: sum of weight * colour + transmittance * background, not clamped.
    alpha [C,H,W]: 1 - final transmittance.
    depth [C,H,W]: expected depth, sum of weight * z (NOT divided by alpha: divide where alpha > 0 for a depth map).
    median_depth [C,H,W]: z of the splat at which transmittance first falls to 0.5 or below, 0 where it never does; no
    gradient. means2d [C,N,2] pixels and radii [C,N] pixels (0: culled), no gradient; weight_sum [C,N] and weight_max
    [C,N]: sum and maximum over pixels of the blending weight alpha * transmittance (settings.stats; no gradient).
    """

    image: Tensor
    alpha: Tensor
    depth: Tensor
    median_depth: Tensor
    means2d: Tensor
    radii: Tensor
    weight_sum: Tensor
    weight_max: Tensor


@dataclass
class AdamState:
    """First and second moments, one tensor a parameter and shaped like it, and the number of steps done."""

    m: dict[str, Tensor]
    v: dict[str, Tensor]
    step: int = 0

    @classmethod
    def zeros(cls, params: Mapping[str, Tensor]) -> AdamState:
        return cls(
            {k: torch.zeros_like(p) for k, p in params.items()}, {k: torch.zeros_like(p) for k, p in params.items()}
        )


@dataclass(frozen=True)
class AdamHyper:
    """Adam's settings for one step. opacity_reg and scale_reg weigh mean(opacity) and mean(scale) (3DGS-MCMC, eq. 10);
    their gradient reaches the splats that the step sees."""

    lr: Mapping[str, float]
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-15
    opacity_reg: float = 0.0
    scale_reg: float = 0.0


@dataclass
class DensityStats:
    """Running sums over steps for density control, [N] each.

    grad_abs, grad: norm of the image-plane gradient of the means, absolute (AbsGS) and plain, in normalised image units
    (pixels times half the image size); visible: steps in which the splat was seen; weight_sum, weight_max: blending
    weight over pixels; radius_max: pixels.
    """

    grad_abs: Tensor
    grad: Tensor
    visible: Tensor
    weight_sum: Tensor
    weight_max: Tensor
    radius_max: Tensor

    @classmethod
    def zeros(cls, count: int) -> DensityStats:
        return cls(*(torch.zeros(count) for _ in range(6)))

    def tensors(self) -> list[Tensor]:
        return [self.grad_abs, self.grad, self.visible, self.weight_sum, self.weight_max, self.radius_max]


@dataclass
class PhotometricLoss:
    """Numbers of the last photometric call: means over (mask-weighted) pixels."""

    loss: float = 0.0
    l1: float = 0.0
    ssim: float = 0.0
    squared_error: float = 0.0


@dataclass(frozen=True)
class View:
    """One camera at one image scale: cam_from_world [4,4], intrinsics [4] fx fy cx cy in px, float32."""

    width: int
    height: int
    cam_from_world: Tensor
    intrinsics: Tensor


def view_of(camera: Camera) -> View:
    return View(
        camera.width,
        camera.height,
        torch.from_numpy(camera.cam_from_world.astype(np.float32)),
        torch.tensor([camera.fx, camera.fy, camera.cx, camera.cy], dtype=torch.float32),
    )


def with_pose(view: View, cam_from_world: Tensor) -> View:
    return replace(view, cam_from_world=cam_from_world)

# SPDX-License-Identifier: Apache-2.0
"""The records that cross the border to the kernels, the same for every back end."""

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


@dataclass(frozen=True)
class View:
    """A camera as tensors: size in px, cam_from_world [4,4], intrinsics [4] fx fy cx cy in px, float32."""

    width: int
    height: int
    cam_from_world: Tensor
    intrinsics: Tensor


def view_of(camera: Camera, device: torch.device | str = "cpu") -> View:
    return View(
        camera.width,
        camera.height,
        torch.from_numpy(camera.cam_from_world.astype(np.float32)).to(device),
        torch.tensor([camera.fx, camera.fy, camera.cx, camera.cy], dtype=torch.float32, device=device),
    )


def cut(view: View, x: int, y: int, width: int, height: int) -> View:
    """The part of a view from pixel (x, y) on."""
    intrinsics = view.intrinsics.clone()
    intrinsics[2] -= x
    intrinsics[3] -= y
    return replace(view, width=width, height=height, intrinsics=intrinsics)


def with_pose(view: View, cam_from_world: Tensor) -> View:
    return replace(view, cam_from_world=cam_from_world)


@dataclass
class OutputGradients:
    """Gradients of the loss to the outputs of one rendering; None is zero. Training terms add to them.

    image [H,W,3], alpha [H,W], depth [H,W] (the depth that is not divided by alpha).
    """

    image: Tensor | None = None
    alpha: Tensor | None = None
    depth: Tensor | None = None

    def add(self, *, image: Tensor | None = None, alpha: Tensor | None = None, depth: Tensor | None = None) -> None:
        for name, value in (("image", image), ("alpha", alpha), ("depth", depth)):
            if value is not None:
                before = getattr(self, name)
                setattr(self, name, value if before is None else before + value)


@dataclass(frozen=True)
class PhotometricLoss:
    """L1 and SSIM of two images: means over (mask-weighted) pixels, and the gradient v_image [H,W,3] of `loss` to the
    first image, a buffer that the next call reuses."""

    loss: float
    l1: float
    ssim: float
    squared_error: float
    v_image: Tensor


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
    def zeros(cls, count: int, device: torch.device | str = "cpu") -> DensityStats:
        return cls(*(torch.zeros(count, device=device) for _ in range(6)))

    def tensors(self) -> list[Tensor]:
        return [self.grad_abs, self.grad, self.visible, self.weight_sum, self.weight_max, self.radius_max]

    def select(self, rows: Tensor) -> DensityStats:
        """The sums of the splats at `rows`."""
        return DensityStats(*(tensor[rows] for tensor in self.tensors()))


class SplatGradients(NamedTuple):
    """Of one view: to the splats' raw parameters by name, and [3,4] to cam_from_world's [R | t], its entries taken as
    independent. None where it was not asked for."""

    params: dict[str, Tensor] | None
    camera: Tensor | None

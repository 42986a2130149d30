# SPDX-License-Identifier: Apache-2.0
"""What goes into the rasteriser beside tensors, and what comes out: shared by the reference and every back end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from sparse3d import conventions


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

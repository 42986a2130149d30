# SPDX-License-Identifier: Apache-2.0
"""What a photo's camera sees of each splat: blending weights, depths, and sums of pixel maps over a splat's footprint.

A picture is a sum of blending weight times colour, so the gradient of sum(map * picture) to a splat's colour is the
map summed over the splat's footprint with its blending weights. One backward pass sums three maps for all splats.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparse3d.conventions import NEAR_PLANE, SH_C0
from sparse3d.geometry.quaternions import rotation_from_quats
from sparse3d.judge.photos import PhotoView
from sparse3d.kernels import Rasterization, RasterSettings, rasterize
from sparse3d.kernels.records import View
from sparse3d.splats import Splats

# Below the clamp of alpha at 0.99, where the kernels give no gradient to opacity.
_OPAQUE_LOGIT = 4.18


def look(
    splats: Splats,
    view: View,
    background: Tensor,
    *,
    near: float = NEAR_PLANE,
    stats: bool = False,
    backend: str | None = None,
) -> Rasterization:
    """The view's rendering, of one camera, no gradients; with depths and the statistics of weights where `stats`."""
    with torch.no_grad():
        return _rasterize(splats, view, background, near=near, stats=stats, backend=backend)


def footprint_sums(splats: Splats, view: View, maps: Tensor, *, backend: str | None = None) -> Tensor:
    """[M,N] sum over pixels of blending weight times each of the maps [M,H,W]; 0 for what the view does not see."""
    sh0 = torch.zeros_like(splats.sh0).requires_grad_()
    no_rest = torch.zeros(splats.num_splats, 0, 3)
    grey = Splats(
        splats.means, splats.quats_wxyz, splats.log_scales, splats.logit_opacities, sh0, no_rest, splats.antialias
    )
    image = _rasterize(grey, view, torch.zeros(3), backend=backend).image
    out = torch.zeros(len(maps), splats.num_splats)
    for first in range(0, len(maps), 3):
        group = maps[first : first + 3]
        v_image = torch.zeros_like(image)
        v_image[0, :, :, : len(group)] = group.permute(1, 2, 0)
        (gradient,) = torch.autograd.grad(image, sh0, v_image, retain_graph=True)
        out[first : first + 3] = gradient[:, 0, : len(group)].T / SH_C0
    return out


def removal_costs(
    splats: Splats, photo: PhotoView, *, probes: int = 8, seed: int = 0, backend: str | None = None
) -> tuple[Tensor, Tensor]:
    """(linear [N], square [N]): the photo's summed squared error changes by their sum when that splat alone goes.

    A pixel's colour is affine in each splat's alpha, so without the splat it is C - D with D = alpha dC/dalpha, and
    the error (C - photo)^2 changes by D^2 - 2 D (C - photo). The second part is a gradient to opacity; the sum of D^2
    is estimated as the mean of (sum of z D)^2 over `probes` fields z of random signs (Hutchinson 1990), with a
    relative deviation of sqrt(2 / probes) at most. Opacities count as 0.985 at most.
    """
    logits = splats.logit_opacities.detach().clamp(max=_OPAQUE_LOGIT).requires_grad_()
    shown = Splats(splats.means, splats.quats_wxyz, splats.log_scales, logits, splats.sh0, splats.shN, splats.antialias)
    image = _rasterize(shown, photo.view, photo.background, backend=backend).image
    residual = image[0].detach() - photo.image
    weight = torch.ones(residual.shape[:2]) if photo.mask is None else photo.mask
    transparency = 1.0 - torch.sigmoid(logits.detach())

    def change(v_image: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(image, logits, v_image[None], retain_graph=True)
        return gradient / transparency

    linear = -change(2.0 * residual * weight[..., None])
    generator = torch.Generator().manual_seed(seed)
    root = weight.sqrt()[..., None]
    square = torch.zeros_like(linear)
    for _ in range(probes):
        signs = torch.randint(0, 2, residual.shape, generator=generator).float() * 2.0 - 1.0
        square += change(signs * root) ** 2
    return linear, square / max(probes, 1)


def depths_in(splats: Splats, view: View) -> Tensor:
    """[N] z of the splats' centres in the camera's frame. Sums in a fixed order: the same bits on any number of
    threads."""
    row = view.cam_from_world[2]
    x, y, z = splats.means.unbind(1)
    return x * row[0] + y * row[1] + z * row[2] + row[3]


def spreads_in(splats: Splats, view: View) -> Tensor:
    """[N] standard deviation of each splat along the camera's axis, world units."""
    row = view.cam_from_world[2]
    rotation = rotation_from_quats(splats.quats_wxyz)
    axes = rotation[:, 0] * row[0] + rotation[:, 1] * row[1] + rotation[:, 2] * row[2]
    x, y, z = (axes * splats.scales).unbind(1)
    return torch.sqrt(x * x + y * y + z * z)


def centre_in_picture(seen: Rasterization, view: View) -> Tensor:
    """[N] bool: the splat is drawn, and its centre lies inside the picture."""
    x, y = seen.means2d[0].unbind(1)
    return (seen.radii[0] > 0) & (x >= 0) & (x <= view.width) & (y >= 0) & (y <= view.height)


def _rasterize(
    splats: Splats,
    view: View,
    background: Tensor,
    *,
    near: float = NEAR_PLANE,
    stats: bool = False,
    backend: str | None = None,
) -> Rasterization:
    settings = RasterSettings(
        view.width, view.height, sh_degree=splats.sh_degree, antialias=splats.antialias, near=near, depth=stats,
        stats=stats,
    )  # fmt: skip
    return rasterize(
        splats.means, splats.quats_wxyz, splats.log_scales, splats.logit_opacities, splats.sh0, splats.shN,
        view.cam_from_world[None], view.intrinsics[None], background[None], settings, backend=backend,
    )  # fmt: skip

# SPDX-License-Identifier: Apache-2.0
"""From 3D Gaussians to 2D ones: activation, camera frame, EWA projection (Zwicker et al. 2001), culling, colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from sparse3d.conventions import ALPHA_MIN, FOV_CLAMP, LOW_PASS_PX2
from sparse3d.formulas.harmonics import evaluate_sh
from sparse3d.geometry.quaternions import rotation_from_quats
from sparse3d.kernels.records import RasterSettings

# The ratio under the square root of the antialias compensation is kept at or above this, so that the gradient of the
# root is finite. It changes no picture: a ratio below ALPHA_MIN^2 = 1.5e-5 brings any opacity under ALPHA_MIN, and
# the splat is culled.
COMPENSATION_FLOOR = 1e-12


class Projection(NamedTuple):
    """N splats as one camera sees them; rows of culled splats hold whatever came out, finite or not.

    means2d [N,2] px; depths [N] camera z; cov2d [N,3] (xx, xy, yy) px^2 with the low-pass; conics [N,3] its inverse
    (xx, xy, yy); opacities [N] in 0..1 with the compensation; colors [N,3] before the clamp at zero; half_sizes
    [N,2] px, of the box around the ellipse alpha = 1/255; visible [N] bool.
    """

    means2d: Tensor
    depths: Tensor
    cov2d: Tensor
    conics: Tensor
    opacities: Tensor
    colors: Tensor
    half_sizes: Tensor
    visible: Tensor


def project(
    params: Mapping[str, Tensor], cam_from_world: Tensor, intrinsics: Tensor, settings: RasterSettings
) -> Projection:
    """Project raw splats into one camera.

    params: the raw tensors of `Splats` by name; cam_from_world [4,4], of which the upper 3x4 entries are read and
    taken as independent (the camera centre is -R^T t); intrinsics [4] fx, fy, cx, cy in px.

    Culled (visible is False): camera z below `settings.near`; opacity after compensation below 1/255; det <= 0; the
    box around the ellipse alpha = 1/255 does not touch [0,W] x [0,H]; any of the projected quantities is not finite
    (the colour before its clamp is one of them).
    """
    rotation, translation = cam_from_world[:3, :3], cam_from_world[:3, 3]
    fx, fy, cx, cy = intrinsics.unbind()
    means = params["means"]
    points_cam = _transform(means, rotation, translation)
    x, y, z = points_cam.unbind(-1)
    means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], dim=-1)
    jacobian_x, jacobian_y = _jacobian(points_cam, rotation, intrinsics, settings)

    # cov2d = (J W R S)(J W R S)^T: a product with its own transpose, so that rounding cannot make it indefinite.
    scales = params["log_scales"].exp()
    axes = rotation_from_quats(params["quats_wxyz"]) * scales[:, None, :]
    half_x = (jacobian_x[:, :, None] * axes).sum(1)
    half_y = (jacobian_y[:, :, None] * axes).sum(1)
    raw_xx, raw_xy, raw_yy = (half_x * half_x).sum(1), (half_x * half_y).sum(1), (half_y * half_y).sum(1)
    xx, yy = raw_xx + LOW_PASS_PX2, raw_yy + LOW_PASS_PX2
    # |half_x cross half_y|^2 = xx yy - xy^2 without the cancellation that needles suffer in float32.
    normal = torch.linalg.cross(half_x, half_y)
    raw_det = (normal * normal).sum(1)
    det = raw_det + LOW_PASS_PX2 * (raw_xx + raw_yy) + LOW_PASS_PX2**2
    conics = torch.stack([yy / det, -raw_xy / det, xx / det], dim=-1)

    opacities = torch.sigmoid(params["logit_opacities"])
    if settings.antialias:
        opacities = opacities * torch.sqrt(torch.clamp(raw_det / det, min=COMPENSATION_FLOOR))

    offsets = means + (translation[:, None] * rotation).sum(0)  # mean - camera centre
    dirs = offsets / torch.sqrt((offsets * offsets).sum(1, keepdim=True))
    colors = evaluate_sh(dirs, params["sh0"], params["shN"], settings.sh_degree)

    with torch.no_grad():
        cov2d = torch.stack([xx, raw_xy, yy], dim=-1)
        extent = 2 * torch.log(opacities / ALPHA_MIN)
        half_sizes = torch.sqrt(cov2d[:, ::2] * extent[:, None])
        seen = Projection(means2d, z, cov2d, conics, opacities, colors, half_sizes, det > 0)
        visible = seen.visible & _on_picture(seen, settings)
    return seen._replace(visible=visible)


def _jacobian(
    points_cam: Tensor, rotation: Tensor, intrinsics: Tensor, settings: RasterSettings
) -> tuple[Tensor, Tensor]:
    """Two rows [N,3] of J W (equation 29 of EWA splatting), at the slopes x/z and y/z kept near the field of view."""
    x, y, z = points_cam.unbind(-1)
    fx, fy, cx, cy = intrinsics.unbind()
    # gsplat's asymmetric form of the 3DGS clamp: the margin is added to the image's own edges, which respects the
    # principal point. Equals 1.3 x the field of view when the point is central.
    margin_x = (FOV_CLAMP - 1) * 0.5 * settings.width / fx
    margin_y = (FOV_CLAMP - 1) * 0.5 * settings.height / fy
    slope_x = torch.clamp(x / z, min=-(cx / fx + margin_x), max=(settings.width - cx) / fx + margin_x)
    slope_y = torch.clamp(y / z, min=-(cy / fy + margin_y), max=(settings.height - cy) / fy + margin_y)
    # -fx * tx / z^2 with tx = z * slope_x.
    jacobian_x = fx / z[:, None] * (rotation[0] - slope_x[:, None] * rotation[2])
    jacobian_y = fy / z[:, None] * (rotation[1] - slope_y[:, None] * rotation[2])
    return jacobian_x, jacobian_y


def _on_picture(seen: Projection, settings: RasterSettings) -> Tensor:
    """[N] bool: none of the other reasons to cull (see `project`)."""
    low, high = seen.means2d - seen.half_sizes, seen.means2d + seen.half_sizes
    visible = (seen.depths >= settings.near) & (seen.opacities >= ALPHA_MIN)
    visible &= (high[:, 0] >= 0) & (high[:, 1] >= 0) & (low[:, 0] <= settings.width) & (low[:, 1] <= settings.height)
    columns = [
        seen.means2d, seen.depths[:, None], seen.cov2d, seen.conics, seen.opacities[:, None], seen.colors,
        seen.half_sizes,
    ]  # fmt: skip
    return visible & torch.isfinite(torch.cat(columns, dim=1)).all(1)


def _transform(points: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """R p + t without a matmul, so that float32 results do not depend on torch's choice of kernel."""
    return (points[:, None, :] * rotation[None]).sum(2) + translation

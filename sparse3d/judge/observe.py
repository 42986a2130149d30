# SPDX-License-Identifier: Apache-2.0
"""What a photo's camera sees of each splat: depths, sums of pixel maps over a splat's footprint, costs of removal."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.geometry.quaternions import rotation_from_quats
from sparse3d.judge.photos import PhotoView
from sparse3d.kernels import Rasterization
from sparse3d.render.probe import ColourProbe, OpacityProbe, Seeing, picture, random_signs
from sparse3d.splats import Splats


def look(splats: Splats, camera: Camera, how: Seeing) -> Rasterization:
    """The rendering of one camera, no gradients."""
    with torch.no_grad():
        return picture(splats, camera, how)


def look_closely(splats: Splats, camera: Camera, background: Tensor, backend: str | None) -> Rasterization:
    """`look` with depths and the statistics of weights."""
    return look(splats, camera, Seeing(background, stats=True, depth=True, backend=backend))


def footprint_sums(splats: Splats, camera: Camera, maps: Tensor, *, backend: str | None = None) -> Tensor:
    """[M,N] sum over pixels of blending weight times each of the maps [M,H,W]; 0 for what the view does not see."""
    probe = ColourProbe(splats, camera, backend)
    out = maps.new_zeros(len(maps), splats.num_splats)
    if probe.sees_nothing:
        return out
    for first in range(0, len(maps), 3):
        group = maps[first : first + 3]
        three = maps.new_zeros(*maps.shape[1:], 3)
        three[:, :, : len(group)] = group.permute(1, 2, 0)
        out[first : first + 3] = probe.sums(three)[:, : len(group)].T
    return out


def removal_costs(
    splats: Splats, photo: PhotoView, *, probes: int = 8, seed: int = 0, backend: str | None = None
) -> tuple[Tensor, Tensor]:
    """(linear [N], square [N]): the photo's summed squared error changes by their sum when that splat alone goes.

    Without the splat a pixel is C - D (`render.probe`), so the error (C - photo)^2 changes by D^2 - 2 D (C - photo).
    The sum of D^2 is the mean of (sum of z D)^2 over `probes` fields z of random signs, with a relative deviation of
    sqrt(2 / probes) at most.
    """
    probe = OpacityProbe(splats)
    seen = probe.look(photo.camera, Seeing(photo.background, backend=backend))
    residual = seen.image[0].detach() - photo.image
    weight = torch.ones_like(residual[..., 0]) if photo.mask is None else photo.mask
    linear = -probe.changes(seen, 2.0 * residual * weight[..., None])[0]
    generator = torch.Generator().manual_seed(seed)
    root = weight.sqrt()[..., None]
    square = torch.zeros_like(linear)
    for _ in range(probes):
        signs = random_signs(photo.camera.height, photo.camera.width, generator)
        square += probe.changes(seen, signs * root)[0] ** 2
    return linear, square / max(probes, 1)


def depths_in(splats: Splats, camera: Camera) -> Tensor:
    """[N] z of the splats' centres in the camera's frame. Sums in a fixed order: the same bits on any number of
    threads."""
    row = _forward_axis(camera, splats.means)
    x, y, z = splats.means.unbind(1)
    return x * row[0] + y * row[1] + z * row[2] + row[3]


def spreads_in(splats: Splats, camera: Camera) -> Tensor:
    """[N] standard deviation of each splat along the camera's axis, world units."""
    row = _forward_axis(camera, splats.means)
    rotation = rotation_from_quats(splats.quats_wxyz)
    axes = rotation[:, 0] * row[0] + rotation[:, 1] * row[1] + rotation[:, 2] * row[2]
    x, y, z = (axes * splats.scales).unbind(1)
    return torch.sqrt(x * x + y * y + z * z)


def centre_in_picture(seen: Rasterization, camera: Camera) -> Tensor:
    """[N] bool: the splat is drawn, and its centre lies inside the picture."""
    x, y = seen.means2d[0].unbind(1)
    return (seen.radii[0] > 0) & (x >= 0) & (x <= camera.width) & (y >= 0) & (y <= camera.height)


def _forward_axis(camera: Camera, like: Tensor) -> Tensor:
    """[4] the third row of cam_from_world, in the type and on the device of `like`."""
    return torch.from_numpy(camera.cam_from_world[2]).to(like)

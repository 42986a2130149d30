# SPDX-License-Identifier: Apache-2.0
"""Splats and a camera to a picture: for evaluation, videos and viewers; `rasterize_views` with gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.conventions import NEAR_PLANE
from sparse3d.errors import UsageError
from sparse3d.kernels import Rasterization, rasterize
from sparse3d.kernels.records import RasterSettings
from sparse3d.splats import Splats

__all__ = ["RenderOptions", "Rendering", "background_tensor", "rasterize_views", "render", "render_many"]

_NAMED = {"black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0)}


@dataclass(frozen=True)
class Rendering:
    """One view, float32. image [H,W,3] over the background, not clamped; alpha [H,W]; depth and median_depth [H,W] in
    world units along the camera's z, 0 where nothing is seen (expected depth is divided by alpha), zeros unless asked
    for."""

    image: Tensor
    alpha: Tensor
    depth: Tensor
    median_depth: Tensor


@dataclass(frozen=True)
class RenderOptions:
    """background: "black", "white" or three numbers in 0..1. sh_degree: highest degree used, None for all there are.
    backend: "cpu" or "reference", None chooses by the device."""

    background: str | Sequence[float] = "black"
    depth: bool = False
    sh_degree: int | None = None
    near: float = NEAR_PLANE
    backend: str | None = None


def render(splats: Splats, camera: Camera, options: RenderOptions | None = None) -> Rendering:
    """The picture that `camera` sees."""
    return next(render_many(splats, [camera], options))


def render_many(
    splats: Splats, cameras: Iterable[Camera], options: RenderOptions | None = None, *, batch: int = 1
) -> Iterator[Rendering]:
    """One Rendering a camera, in order. `batch` cameras of one size go to the kernels in one call."""
    options = options or RenderOptions()
    group: list[Camera] = []
    for camera in cameras:
        if group and (len(group) >= batch or (camera.width, camera.height) != (group[0].width, group[0].height)):
            yield from _render_group(splats, group, options)
            group = []
        group.append(camera)
    if group:
        yield from _render_group(splats, group, options)


@torch.no_grad()
def _render_group(splats: Splats, cameras: list[Camera], options: RenderOptions) -> list[Rendering]:
    settings = RasterSettings(
        cameras[0].width,
        cameras[0].height,
        sh_degree=splats.sh_degree if options.sh_degree is None else min(options.sh_degree, splats.sh_degree),
        antialias=splats.antialias,
        near=options.near,
        depth=options.depth,
    )
    out = rasterize_views(
        splats, cameras, background_tensor(options.background, splats.means.device), settings, options.backend
    )
    depth = out.depth
    if options.depth:
        depth = depth / torch.where(out.alpha > 0, out.alpha, torch.ones_like(out.alpha))
    return [Rendering(out.image[i], out.alpha[i], depth[i], out.median_depth[i]) for i in range(len(cameras))]


def rasterize_views(
    splats: Splats, cameras: Sequence[Camera], background: Tensor, settings: RasterSettings, backend: str | None = None
) -> Rasterization:
    """Views of cameras of the size in `settings` over `background` [3]; autograd reaches the splats' tensors that ask
    for it."""
    device = splats.means.device
    poses = torch.from_numpy(np.stack([camera.cam_from_world for camera in cameras]).astype(np.float32)).to(device)
    intrinsics = torch.tensor([[c.fx, c.fy, c.cx, c.cy] for c in cameras], dtype=torch.float32, device=device)
    return rasterize(
        splats.means,
        splats.quats_wxyz,
        splats.log_scales,
        splats.logit_opacities,
        splats.sh0,
        splats.shN,
        poses,
        intrinsics,
        background.expand(len(cameras), 3).contiguous(),
        settings,
        backend=backend,
    )


def background_tensor(background: str | Sequence[float], device: torch.device | str = "cpu") -> Tensor:
    """[3] float32 of a colour by name or value."""
    if isinstance(background, str):
        if background not in _NAMED:
            raise UsageError(f"unknown background {background!r}; give {' or '.join(_NAMED)} or three numbers in 0..1")
        background = _NAMED[background]
    return torch.tensor([float(value) for value in background], dtype=torch.float32, device=device)

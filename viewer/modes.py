# SPDX-License-Identifier: Apache-2.0
"""What a picture shows: colour, or depth, normals, opacity, support by photos, ellipsoids, points."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.conventions import SH_C0
from sparse3d.render import Rendering, RenderOptions, render
from sparse3d.splats import Splats

COLOUR, DEPTH, NORMALS, OPACITY = "Colour", "Depth", "Normals", "Opacity"
SUPPORT, ELLIPSOIDS, POINTS, DIFFERENCE = "Photos per splat", "Ellipsoids", "Points", "Difference to photo"
MODES = (COLOUR, DEPTH, NORMALS, OPACITY, SUPPORT, ELLIPSOIDS, POINTS, DIFFERENCE)
_Pixels = NDArray[np.uint8]

# From near or few to far or many: dark blue, blue green, green, yellow; rising in lightness, told apart in grey too.
_RAMP = np.array([[38, 20, 80], [45, 90, 150], [35, 155, 135], [140, 205, 80], [250, 235, 90]], dtype=np.float64)
# Photos per splat at and above which the ramp ends.
_MANY_PHOTOS = 8
# The share of a scene's size that a point is wide, and the logit of an opacity that hides what is behind.
_POINT_SHARE, _SOLID = 0.0006, 6.0
_SEEN_ALPHA = 0.5


@dataclass(frozen=True)
class Look:
    """How to draw: a mode of MODES, the colour behind the splats (0..1), the highest SH degree used (None: all)."""

    mode: str = COLOUR
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    sh_degree: int | None = None


@dataclass(frozen=True)
class Picture:
    """image [H,W,3] uint8; depth [H,W] float32 along the camera's z in world units, infinite where nothing is seen, or
    None where it was not asked for."""

    image: _Pixels
    depth: NDArray[np.float32] | None


def draw(splats: Splats, camera: Camera, look: Look, *, depth: bool = False) -> Picture:
    """The picture of splats that `dressed` has prepared for the look's mode."""
    wants = depth or look.mode in (DEPTH, NORMALS)
    drawn = render(splats, camera, RenderOptions(look.background, depth=wants, sh_degree=look.sh_degree))
    far = np.where(drawn.alpha.numpy() >= _SEEN_ALPHA, drawn.median_depth.numpy(), np.inf) if wants else None
    return Picture(_image(drawn, camera, look, far), far.astype(np.float32) if depth and far is not None else None)


def _image(drawn: Rendering, camera: Camera, look: Look, far: NDArray[np.floating] | None) -> _Pixels:
    if look.mode == OPACITY:
        return np.repeat(_bytes(drawn.alpha)[..., None], 3, axis=2)
    if far is None or look.mode not in (DEPTH, NORMALS):
        return _bytes(drawn.image)
    behind = np.asarray(look.background) * 255.0
    seen = np.isfinite(far) & (far > 0)
    colours = _depth_colours(far, seen) if look.mode == DEPTH else _normal_colours(far, camera)
    return np.where(seen[..., None], colours, behind).round().clip(0, 255).astype(np.uint8)


def dressed(splats: Splats, mode: str, support: Tensor | None, size: float) -> Splats:
    """The splats as a mode draws them; `support` [N] photos per splat; `size` of the scene in world units."""
    if mode == SUPPORT and support is not None:
        shares = support.to(torch.float64).clamp(max=_MANY_PHOTOS).numpy() / _MANY_PHOTOS
        colours = torch.from_numpy((ramp(shares) / 255.0).astype(np.float32)).to(splats.means.device)
        return replace(splats, sh0=((colours - 0.5) / SH_C0)[:, None, :].contiguous(), shN=splats.shN[:, :0])
    if mode == ELLIPSOIDS:
        return replace(splats, logit_opacities=torch.full_like(splats.logit_opacities, _SOLID))
    if mode == POINTS:
        return replace(
            splats,
            log_scales=torch.full_like(splats.log_scales, math.log(_POINT_SHARE * size)),
            logit_opacities=torch.full_like(splats.logit_opacities, _SOLID),
        )
    return splats


def ramp(shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """[..., 3] colours 0..255 of values 0..1."""
    at = np.linspace(0.0, 1.0, len(_RAMP))
    return np.stack([np.interp(shares, at, _RAMP[:, channel]) for channel in range(3)], axis=-1)


def _depth_colours(far: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of 1/depth between its 2nd and 98th percentile in the picture: the nearest is brightest."""
    near = 1.0 / np.where(seen, far, 1.0)
    if not seen.any():
        return ramp(np.zeros_like(near))
    low, high = np.percentile(near[seen], (2.0, 98.0))
    return ramp(((near - low) / max(high - low, 1e-12)).clip(0.0, 1.0))


def _normal_colours(far: NDArray[np.floating], camera: Camera) -> NDArray[np.float64]:
    """Of the surface that the depths describe: red right, green up, blue towards the camera."""
    ys, xs = np.mgrid[: camera.height, : camera.width] + 0.5
    depth = np.where(np.isfinite(far), far, 0.0)
    points = np.stack([(xs - camera.cx) / camera.fx * depth, (ys - camera.cy) / camera.fy * depth, depth], axis=-1)
    if min(points.shape[:2]) < 2:
        return np.full(points.shape, 127.5)
    normals = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
    lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = normals / np.maximum(lengths, 1e-20)
    normals = np.where((normals * points).sum(axis=-1, keepdims=True) > 0, -normals, normals)
    return (normals * (1.0, -1.0, -1.0) + 1.0) * 127.5


def _bytes(values: Tensor) -> _Pixels:
    return (values.clamp(0.0, 1.0) * 255.0).round().byte().numpy()

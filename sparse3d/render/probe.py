# SPDX-License-Identifier: Apache-2.0
"""What one camera sees of each splat, asked of a differentiable picture.

A picture is a sum of blending weight times colour, so the gradient of sum(map * picture) to a splat's colour is the map
summed over the splat's footprint with its blending weights. A pixel's colour is affine in each splat's alpha, so
without the splat it changes by D = alpha dC/dalpha, a gradient to opacity. And for a map z of random signs over the
pixels, a gradient of sum(z * picture) squares, on average, to the sum over pixels of the squared derivative (Hutchinson
1990): sums of squares for all splats from one backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.conventions import NEAR_PLANE, SH_C0
from sparse3d.kernels import Rasterization, RasterSettings
from sparse3d.render import rasterize_views
from sparse3d.splats import Splats

# Below the clamp of alpha at 0.99, where the kernels give no gradient to opacity.
_OPAQUE_LOGIT = 4.18


@dataclass(frozen=True)
class Seeing:
    """How `picture` draws. background [3] (None: black); stats, depth: as in RasterSettings; near: world units;
    backend: None chooses by the device."""

    background: Tensor | None = None
    stats: bool = False
    depth: bool = False
    near: float = NEAR_PLANE
    backend: str | None = None


def picture(splats: Splats, camera: Camera, how: Seeing | None = None) -> Rasterization:
    """One view, of all SH degrees there are; autograd reaches the splats' tensors that ask for it."""
    how = how or Seeing()
    settings = RasterSettings(
        camera.width, camera.height, sh_degree=splats.sh_degree, antialias=splats.antialias, near=how.near,
        depth=how.depth, stats=how.stats,
    )  # fmt: skip
    background = splats.means.new_zeros(3) if how.background is None else how.background
    return rasterize_views(splats, [camera], background, settings, how.backend)


def random_signs(height: int, width: int, generator: torch.Generator) -> Tensor:
    """[H,W,3] of -1 and 1."""
    return torch.randint(0, 2, (height, width, 3), generator=generator, device=generator.device).float() * 2.0 - 1.0


class ColourProbe:
    """One view of splats without colour: `sums` says what of a map over the pixels each splat covers."""

    def __init__(self, splats: Splats, camera: Camera, backend: str | None = None) -> None:
        self._sh0 = torch.zeros_like(splats.sh0).requires_grad_()
        grey = replace(splats, sh0=self._sh0, shN=splats.shN.new_zeros(splats.num_splats, 0, 3))
        self._image = picture(grey, camera, Seeing(backend=backend)).image

    @property
    def sees_nothing(self) -> bool:
        return not self._image.requires_grad

    def sums(self, maps: Tensor) -> Tensor:
        """[N,3] sums over pixels of blending weight times each channel of maps [H,W,3]. Only where something is
        seen."""
        (gradient,) = torch.autograd.grad(self._image, self._sh0, maps[None], retain_graph=True)
        return gradient[:, 0] / SH_C0


class OpacityProbe:
    """Splats whose every opacity asks what the picture would be without it. Opacities count as 0.985 at most."""

    def __init__(self, splats: Splats, *, shape: bool = False) -> None:
        """shape: `changes` also gives gradients to means and log scales."""
        logits = splats.logit_opacities.detach().clamp(max=_OPAQUE_LOGIT)
        # numpy: torch's sigmoid gives other bits at the end of each thread's share.
        odds = np.exp(logits.cpu().numpy().astype(np.float64))
        self._transparency = torch.from_numpy(1.0 / (1.0 + odds)).float().to(logits.device)
        self._leaves = [logits.requires_grad_()]
        self._shown = replace(splats, logit_opacities=logits)
        if shape:
            means, scales = (t.detach().clone().requires_grad_() for t in (splats.means, splats.log_scales))
            self._leaves += [means, scales]
            self._shown = replace(self._shown, means=means, log_scales=scales)

    def look(self, camera: Camera, how: Seeing) -> Rasterization:
        return picture(self._shown, camera, how)

    def changes(self, seen: Rasterization, maps: Tensor) -> list[Tensor]:
        """[N] by how much the sum of maps [H,W,3] times the picture falls when each splat alone goes; then, where
        `shape`, that sum's gradients [N,3] to means and to log scales."""
        v_logit, *v_shape = torch.autograd.grad(seen.image, self._leaves, maps[None], retain_graph=True)
        return [v_logit / self._transparency, *v_shape]


def weight_squares(
    splats: Splats, camera: Camera, *, probes: int, generator: torch.Generator, backend: str | None = None
) -> Tensor:
    """[N] sum over pixels of the squared blending weight, estimated from 3 * probes signs: a splat whose colour changes
    by d changes the picture by d^2 times it. The relative deviation is sqrt(2 / (3 * probes)) at most."""
    probe = ColourProbe(splats, camera, backend)
    total = splats.means.new_zeros(splats.num_splats)
    for _ in range(0 if probe.sees_nothing else probes):
        r, g, b = probe.sums(random_signs(camera.height, camera.width, generator)).unbind(1)
        total += r * r + g * g + b * b
    return total / (3 * probes)

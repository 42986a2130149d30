# SPDX-License-Identifier: Apache-2.0
"""How one camera sees splats: a differentiable picture, and what random probes of its gradient say.

For a map z of random signs over the pixels, the gradient of sum(z * picture) to a parameter squares, on average, to the
sum over pixels of the squared derivative (Hutchinson 1990): sums of squares for all splats from one backward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.conventions import SH_C0
from sparse3d.kernels import Rasterization, RasterSettings
from sparse3d.render import rasterize_views
from sparse3d.splats import Splats


def picture(
    splats: Splats,
    camera: Camera,
    *,
    background: Tensor | None = None,
    stats: bool = False,
    depth: bool = False,
    backend: str | None = None,
) -> Rasterization:
    """One view over `background` [3] (black), of all SH degrees there are; autograd reaches the splats' tensors that
    ask for it."""
    settings = RasterSettings(
        camera.width, camera.height, sh_degree=splats.sh_degree, antialias=splats.antialias, depth=depth, stats=stats
    )
    return rasterize_views(splats, [camera], torch.zeros(3) if background is None else background, settings, backend)


def random_signs(height: int, width: int, generator: torch.Generator) -> Tensor:
    """[H,W,3] of -1 and 1."""
    return torch.randint(0, 2, (height, width, 3), generator=generator).float() * 2.0 - 1.0


def weight_squares(
    splats: Splats, camera: Camera, *, probes: int, generator: torch.Generator, backend: str | None = None
) -> Tensor:
    """[N] sum over pixels of the squared blending weight, estimated from 3 * probes signs: a splat whose colour changes
    by d changes the picture by d^2 times it. The relative deviation is sqrt(2 / (3 * probes)) at most."""
    sh0 = torch.zeros_like(splats.sh0).requires_grad_()
    no_rest = torch.zeros(splats.num_splats, 0, 3)
    grey = Splats(
        splats.means, splats.quats_wxyz, splats.log_scales, splats.logit_opacities, sh0, no_rest, splats.antialias
    )
    image = picture(grey, camera, backend=backend).image
    total = torch.zeros(splats.num_splats)
    if not image.requires_grad:
        return total
    for _ in range(probes):
        signs = random_signs(camera.height, camera.width, generator)
        (gradient,) = torch.autograd.grad(image, sh0, signs[None], retain_graph=True)
        r, g, b = (gradient[:, 0] / SH_C0).unbind(1)
        total += r * r + g * g + b * b
    return total / (3 * probes)

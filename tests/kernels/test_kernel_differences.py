# SPDX-License-Identifier: Apache-2.0
"""Second witness for the kernels themselves: central differences in float32, with steps so large that rounding stays
below a percent, on a scene where every pair is far from every cutoff."""

from __future__ import annotations

import pytest
import torch
from parity import Backend, render_with_gradients, upstream_for
from synthetic import make_smooth_scene

STEPS = {
    "means": 1e-2,
    "quats_wxyz": 1e-2,
    "log_scales": 1e-2,
    "logit_opacities": 3e-2,
    "sh0": 3e-2,
    "shN": 3e-2,
    "cam_from_world": 3e-3,
    "background": 3e-2,
}


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("name", STEPS)
def test_gradients_equal_central_differences(backend: Backend, name: str, antialias: bool) -> None:
    scene = make_smooth_scene(33, num_splats=5, sh_degree=3, antialias=antialias).to(torch.float32)
    upstream = upstream_for(scene, 6)
    tensors = scene.tensors()
    _, gradients = render_with_gradients(backend.rasterize, scene, upstream)
    generator = torch.Generator().manual_seed(7)
    step = STEPS[name]
    for _ in range(4):
        # A random direction checks all entries at once; the last row of the pose is no parameter.
        direction = torch.randn(tensors[name].shape, generator=generator)
        if name == "cam_from_world":
            direction[:, 3] = 0
        direction = direction / direction.abs().max()
        losses = []
        for sign in (1, -1):
            moved = {**tensors, name: tensors[name] + sign * step * direction}
            losses.append(float(upstream.loss(_double(backend.rasterize(*scene.with_tensors(moved).arguments())))))
        numeric = (losses[0] - losses[1]) / (2 * step)
        along = float((gradients[name].double() * direction.double()).sum())
        size = float((gradients[name].double() ** 2).sum().sqrt() * (direction.double() ** 2).mean().sqrt())
        assert size > 0
        assert abs(numeric - along) <= 0.02 * size, f"{name}: difference {numeric:.5f}, gradient {along:.5f}"


def _double(rendering):
    """The sum of the loss in float64: float32 outputs, but no further rounding."""
    return rendering._replace(**{part: getattr(rendering, part).double() for part in ("image", "alpha", "depth")})

# SPDX-License-Identifier: Apache-2.0
"""Needles: splats many tiles long and thinner than a pixel, whose response a tile away lies far below the smallest
single-precision number. Every SIMD level against the float64 reference."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from parity import (
    Backend,
    assert_gradients_close,
    boundary_band,
    render_with_gradients,
    typical_row_error,
    upstream_for,
)
from synthetic import SyntheticScene, make_scene, pair_table

from sparse3d.kernels import reference
from sparse3d.splats import PARAMETER_NAMES

# Rounding of a needle's narrow direction grows with its length; the bug that these tests were written for gave pixels
# of any value, infinities among them.
IMAGE_TOLERANCE = 1e-3
GRADIENT_TOLERANCE = 2e-3
TYPICAL_ROW_TOLERANCE = 2e-3


def needles(
    seed: int, *, count: int = 120, width: int = 64, height: int = 48, opaque: float = 0.3, antialias: bool = False
) -> SyntheticScene:
    """Needles in all directions about the viewing axis and tilted against it: standard deviation 8 to 80 px along, at
    most a thousandth of a pixel across (a third where antialiasing would fade them to nothing)."""
    scene = make_scene(
        seed, num_splats=count, sh_degree=1, width=width, height=height, opaque=opaque, behind=0, tiny=0, huge=0,
        antialias=antialias,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed + 1000)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)

    along = torch.exp(uniform(math.log(0.5), math.log(5.0)))
    across = torch.full_like(along, 0.02) if antialias else along * 1e-5
    log_scales = torch.stack([along, across, across], dim=1).log()
    turn, tilt = uniform(0.0, math.pi), uniform(-0.6, 0.6)
    # About z by `turn` after about y by `tilt`.
    z, y = torch.zeros(count, 4, dtype=torch.float64), torch.zeros(count, 4, dtype=torch.float64)
    z[:, 0], z[:, 3] = (turn / 2).cos(), (turn / 2).sin()
    y[:, 0], y[:, 2] = (tilt / 2).cos(), (tilt / 2).sin()
    quats = torch.stack(
        [z[:, 0] * y[:, 0], -z[:, 3] * y[:, 2], z[:, 0] * y[:, 2], z[:, 3] * y[:, 0]], dim=1
    )  # fmt: skip
    params = {**scene.params, "log_scales": log_scales, "quats_wxyz": quats}
    return replace(scene, params=params).to(torch.float32).to(torch.float64)


SCENES = {
    "64x48": lambda: needles(1),
    "antialias": lambda: needles(2, antialias=True),
    "wide": lambda: needles(3, width=80, height=33),
    "one-tile": lambda: needles(4, width=16, height=16),
    "opaque": lambda: needles(5, opaque=1.0),
}


@pytest.mark.parametrize("name", SCENES)
def test_outputs_and_gradients_match_float64(cpu_backend: Backend, name: str) -> None:
    scene = SCENES[name]()
    cutoff, _ = boundary_band(scene)
    assert cutoff.double().mean() < 0.3, "the boundary band hides too much of the picture"
    upstream = upstream_for(scene, seed=5, keep=~cutoff)
    expected, v_expected = render_with_gradients(reference.rasterize, scene, upstream)
    found, v_found = render_with_gradients(cpu_backend.rasterize, scene.to(torch.float32), upstream)

    for part in ("image", "alpha"):
        difference = (getattr(found, part).double() - getattr(expected, part)).abs()[~cutoff].max()
        assert difference <= IMAGE_TOLERANCE, f"{part} differs by {difference:.2e}"
    assert_gradients_close(v_found, v_expected, GRADIENT_TOLERANCE, cpu_backend.differentiated)
    for argument in PARAMETER_NAMES:
        typical = typical_row_error(v_found[argument], v_expected[argument])
        assert typical <= TYPICAL_ROW_TOLERANCE, f"{argument}: a tenth of the gradients is off by {typical:.2e} or more"


@pytest.mark.parametrize("name", SCENES)
def test_the_scenes_hold_what_they_are_for(name: str) -> None:
    """Pairs inside one tile whose response lies below every single-precision number, at needles that are seen."""
    table = pair_table(SCENES[name]())
    seen = table.response.amax(dim=0) > 0.1
    assert seen.sum() >= 10
    assert (table.response[:, seen] < 2.0**-150).double().mean() > 0.05


def test_a_needle_leaves_the_rest_of_its_tile_alone(cpu_backend: Backend) -> None:
    """One needle across the picture on black, in 64 directions: away from it every pixel is exactly black."""
    pool = needles(6, count=64)
    params = pool.params
    params["means"] = torch.zeros_like(params["means"])
    params["logit_opacities"] = torch.full_like(params["logit_opacities"], 2.0)
    for k in range(64):
        turn = math.pi * k / 64
        params["quats_wxyz"][k] = torch.tensor([math.cos(turn / 2), 0.0, 0.0, math.sin(turn / 2)], dtype=torch.float64)
        scene = replace(pool.select(torch.tensor([k])), background=torch.zeros_like(pool.background))
        away = (pair_table(scene).response[:, 0] < 1e-3).reshape(1, scene.settings.height, scene.settings.width)
        found = cpu_backend.rasterize(*scene.to(torch.float32).arguments())
        assert away.double().mean() > 0.5
        assert found.alpha[away].abs().max() == 0
        assert found.image[away].abs().max() == 0
        assert found.alpha.max() > 0.3

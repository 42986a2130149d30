# SPDX-License-Identifier: Apache-2.0
"""First witness: every back end against the float64 reference, outputs and all gradients."""

from __future__ import annotations

import pytest
import torch
from parity import (
    Backend,
    assert_gradients_close,
    boundary_band,
    relative_error,
    render_with_gradients,
    typical_row_error,
    upstream_for,
)
from synthetic import SyntheticScene, make_scene, pair_table

from sparse3d import conventions
from sparse3d.kernels import reference
from sparse3d.splats import PARAMETER_NAMES

# Measured for the float32 reference on an AVX-512 Xeon, worst of the scenes below: image 1.3e-5, depth 2.3e-5,
# gradients 4e-5 of a tensor's largest entry.
IMAGE_TOLERANCE = 5e-5
DEPTH_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 2e-4
# Nearly all splats' own gradient rows are as good as float32 gets; single ones are differences of large numbers.
TYPICAL_ROW_TOLERANCE = 3e-4

SCENES = {
    "plain": lambda: make_scene(1),
    "antialias": lambda: make_scene(2, antialias=True),
    "two-cameras": lambda: make_scene(3, num_cameras=2, num_splats=120),
    "degree-0": lambda: make_scene(4, sh_degree=0),
    "degree-1": lambda: make_scene(5, sh_degree=1, num_splats=100),
    "degree-2": lambda: make_scene(6, sh_degree=2, num_splats=100),
    "degree-4": lambda: make_scene(7, sh_degree=4, num_splats=100),
    "lower-degree-than-stored": lambda: make_scene(8, num_splats=100).with_settings(sh_degree=1),
    "needles": lambda: make_scene(9, anisotropy=1.8, antialias=True),
    "opaque": lambda: make_scene(10, num_splats=400, opaque=0.9, scale=0.15),
    "odd-size": lambda: make_scene(11, width=53, height=37),
    "one-row": lambda: make_scene(12, width=17, height=1, scale=0.2),
    "one-column": lambda: make_scene(13, width=1, height=17, scale=0.2),
    "one-pixel": lambda: make_scene(14, width=1, height=1, scale=0.2),
    "one-tile": lambda: make_scene(15, width=16, height=16, scale=0.15),
    "no-depth": lambda: make_scene(16, num_splats=100).with_settings(depth=False, stats=False),
}


@pytest.mark.parametrize("name", SCENES)
def test_outputs_and_gradients_match_float64(backend: Backend, name: str) -> None:
    scene = SCENES[name]()
    cutoff, median_band = boundary_band(scene)
    upstream = upstream_for(scene, seed=5, keep=~cutoff)
    expected, v_expected = render_with_gradients(reference.rasterize, scene, upstream)
    found, v_found = render_with_gradients(backend.rasterize, scene.to(torch.float32), upstream)

    assert found.image.dtype == torch.float32
    assert cutoff.double().mean() < (0.1 if cutoff.numel() > 100 else 0.3), (
        "the boundary band hides too much of the picture"
    )
    for part, tolerance in (("image", IMAGE_TOLERANCE), ("alpha", IMAGE_TOLERANCE), ("depth", DEPTH_TOLERANCE)):
        difference = (getattr(found, part) - getattr(expected, part))[~cutoff].abs().max()
        assert difference <= tolerance, f"{part} differs by {difference:.2e}"
    exact = ~(cutoff | median_band)
    torch.testing.assert_close(
        found.median_depth.double()[exact], expected.median_depth[exact], rtol=1e-5, atol=1e-5, msg="median depth"
    )
    _assert_same_culling(found.radii, expected.radii)
    seen = expected.radii > 0
    torch.testing.assert_close(found.means2d.double()[seen], expected.means2d[seen], rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(found.radii.double()[seen], expected.radii[seen], rtol=1e-4, atol=1e-3)
    assert_gradients_close(v_found, v_expected, GRADIENT_TOLERANCE, backend.differentiated)
    for argument in PARAMETER_NAMES:
        typical = typical_row_error(v_found[argument], v_expected[argument])
        assert typical <= TYPICAL_ROW_TOLERANCE, f"{argument}: a tenth of the gradients is off by {typical:.2e} or more"


def _assert_same_culling(found: torch.Tensor, expected: torch.Tensor) -> None:
    differing = (found > 0) != (expected > 0)
    assert differing.sum() == 0, (
        f"{int(differing.sum())} splats culled differently, radii {found[differing][:5]}, {expected[differing][:5]}"
    )


@pytest.mark.parametrize("name", ["plain", "antialias", "opaque"])
def test_contribution_statistics_match_float64(backend: Backend, name: str) -> None:
    scene = SCENES[name]()
    expected = reference.rasterize(*scene.arguments())
    found = backend.rasterize(*scene.to(torch.float32).arguments())
    # A pair on the cutoff adds or misses up to 1/255 to one splat's sum; the sums are tens of pixels.
    assert (found.weight_sum - expected.weight_sum).abs().max() <= 2 * conventions.ALPHA_MIN
    assert (found.weight_max - expected.weight_max).abs().max() <= 1.1 * conventions.ALPHA_MIN
    assert expected.weight_sum.max() > 1
    assert relative_error(found.weight_sum.sum(1), expected.alpha.sum((1, 2))) < 1e-3, "weights must add up to alpha"


def test_flips_at_cutoffs_are_few_small_and_unbiased(backend: Backend) -> None:
    differences, pixels = [], 0
    for seed in range(20, 24):
        scene = make_scene(seed, num_splats=300)
        expected = reference.rasterize(*scene.arguments())
        found = backend.rasterize(*scene.to(torch.float32).arguments())
        cutoff, _ = boundary_band(scene)
        differences.append((found.alpha - expected.alpha)[cutoff])
        pixels += cutoff.numel()
    difference = torch.cat(differences)
    assert 20 <= difference.numel() < 0.1 * pixels, "the band must be there, and small"
    # A whole splat is at most 1/255 at its edge; at the stop, the pixel's last splat is at most 1e-4 / 0.01.
    assert difference.abs().max() <= 0.01
    flips = difference[difference.abs() > 5e-4]
    assert flips.numel() <= 0.1 * difference.numel(), (
        f"{flips.numel()} flips in {difference.numel()} pixels of the band"
    )
    assert difference.mean().abs() < 5e-4, f"flips lean to one side: {difference.mean():.2e}"


def test_scenes_are_not_trivial() -> None:
    for name, make in SCENES.items():
        scene: SyntheticScene = make()
        rendering, gradients = render_with_gradients(reference.rasterize, scene, upstream_for(scene, seed=5))
        assert 0.01 < rendering.alpha.mean() < 0.9999, f"{name}: mean alpha {rendering.alpha.mean()}"
        assert (rendering.radii == 0).any(), f"{name}: nothing culled"
        assert (rendering.radii > 0).any(), f"{name}: everything culled"
        for argument, gradient in gradients.items():
            assert gradient.numel() == 0 or gradient.abs().max() > 0, f"{name}: no gradient to {argument}"
        culled = (rendering.radii == 0).all(0)
        assert (gradients["means"][culled] == 0).all(), f"{name}: a culled splat has a gradient"


def test_scenes_reach_every_cutoff() -> None:
    """The clamps and the early stop are exercised, and a 16x16 tile holds more splats than one pass of 256 pixels."""
    table = pair_table(make_scene(10, num_splats=400, opaque=0.9, scale=0.15))
    assert (table.response > conventions.ALPHA_MAX).sum() > 50
    assert (table.response < conventions.ALPHA_MIN).sum() > 50
    assert (table.transmittance[:, -1] < conventions.TRANSMITTANCE_STOP).sum() > 50
    assert (table.projection.colors[table.index] < 0).sum() > 20

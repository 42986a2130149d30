# SPDX-License-Identifier: Apache-2.0
"""The reference's own witnesses: a literal loop over splats and pixels, differences, and what must not matter."""

from __future__ import annotations

import math

import pytest
import torch
from parity import render_with_gradients, upstream_for
from synthetic import (
    SEPARATION,
    SyntheticScene,
    make_scene,
    make_separated_scene,
    make_smooth_scene,
    margin_to_cutoffs,
    pair_table,
)
from torch import Tensor

from sparse3d.kernels import reference


def _blend_pixel(seen: reference.Projection, order: list[int], x: float, y: float, background: Tensor) -> tuple:
    """The conventions of DESIGN.md as one reads them: one pixel, one splat after the other."""
    color, depth, transmittance, median = [0.0] * 3, 0.0, 1.0, 0.0
    weights = {}
    for splat in order:
        dx, dy = x - float(seen.means2d[splat, 0]), y - float(seen.means2d[splat, 1])
        a, b, c = (float(value) for value in seen.conics[splat])
        response = float(seen.opacities[splat]) * math.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
        if response < 1 / 255:
            continue
        alpha = min(0.99, response)
        if transmittance * (1 - alpha) < 1e-4:
            break
        weight = alpha * transmittance
        for channel in range(3):
            color[channel] += weight * max(0.0, float(seen.colors[splat, channel]))
        depth += weight * float(seen.depths[splat])
        weights[splat] = weight
        crossed = transmittance > 0.5
        transmittance *= 1 - alpha
        if crossed and transmittance <= 0.5:
            median = float(seen.depths[splat])
    pixel = [value + transmittance * float(ground) for value, ground in zip(color, background, strict=True)]
    return pixel, 1 - transmittance, depth, median, weights


@pytest.mark.parametrize("antialias", [False, True])
def test_rasterize_equals_a_literal_loop(antialias: bool) -> None:
    scene = make_scene(31, num_splats=80, width=13, height=9, scale=0.15, opaque=0.6, antialias=antialias)
    found = reference.rasterize(*scene.arguments())
    seen = reference.project(scene.params, scene.cam_from_world[0], scene.intrinsics[0], scene.settings)
    order = sorted((i for i in range(80) if seen.visible[i]), key=lambda i: (float(seen.depths[i]), i))
    sums, largest = torch.zeros(80, dtype=torch.float64), torch.zeros(80, dtype=torch.float64)
    for row in range(9):
        for column in range(13):
            pixel, alpha, depth, median, weights = _blend_pixel(
                seen, order, column + 0.5, row + 0.5, scene.background[0]
            )
            torch.testing.assert_close(found.image[0, row, column], torch.tensor(pixel, dtype=torch.float64))
            assert float(found.alpha[0, row, column]) == pytest.approx(alpha, abs=1e-12)
            assert float(found.depth[0, row, column]) == pytest.approx(depth, abs=1e-12)
            assert float(found.median_depth[0, row, column]) == median
            for splat, weight in weights.items():
                sums[splat] += weight
                largest[splat] = max(float(largest[splat]), weight)
    torch.testing.assert_close(found.weight_sum[0], sums)
    torch.testing.assert_close(found.weight_max[0], largest)
    assert (found.alpha > 1 - 2e-3).any(), "no pixel comes near the stop"
    assert (found.median_depth == 0).any()
    assert (found.median_depth > 0).any()


def test_a_splat_outside_the_ellipse_box_has_no_pixel() -> None:
    """half_sizes are the extent of alpha = 1/255: no response at or above it lies outside, some lies just inside."""
    scene = make_scene(32, num_splats=120)
    table = pair_table(scene)
    seen = table.projection
    ys, xs = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    centres = torch.stack([xs.reshape(-1), ys.reshape(-1)], -1)
    distance = (centres[:, None] - seen.means2d[table.index]).abs() / seen.half_sizes[table.index]
    inside = (distance <= 1).all(-1)
    assert (table.response[~inside] < 1 / 255).all()
    reach = torch.where(table.response >= 1 / 255, distance.amax(-1), torch.zeros_like(table.response))
    assert reach.max() > 0.97


def _differences(scene: SyntheticScene, seed: int, step: float, relative: float) -> None:
    """Every entry of every input: central difference against autograd."""
    upstream = upstream_for(scene, seed)
    rendering, gradients = render_with_gradients(reference.rasterize, scene, upstream)
    assert (rendering.radii > 0).any()
    tensors = scene.tensors()
    for name, value in tensors.items():
        numbers = torch.zeros_like(value)
        for entry in range(value.numel()):
            losses = []
            for sign in (1, -1):
                moved = value.clone()
                moved.view(-1)[entry] += sign * step
                losses.append(
                    upstream.loss(reference.rasterize(*scene.with_tensors({**tensors, name: moved}).arguments()))
                )
            numbers.view(-1)[entry] = (losses[0] - losses[1]) / (2 * step)
        scale = gradients[name].abs().max()
        assert name in ("shN", "cam_from_world") or (gradients[name] != 0).double().mean() > 0.3, name
        error = (numbers - gradients[name]).abs().max() / scale
        assert error < relative, f"{name}: finite differences differ by {error:.1e} of the largest entry {scale:.2e}"


@pytest.mark.parametrize("antialias", [False, True])
def test_gradients_equal_finite_differences_without_cutoffs(antialias: bool) -> None:
    degree = 1 if antialias else 4  # One of the two is enough for the high degrees: they have the most entries.
    _differences(
        make_smooth_scene(33, num_splats=3, sh_degree=degree, antialias=antialias), 1, step=1e-5, relative=1e-7
    )


@pytest.mark.parametrize("antialias", [False, True])
def test_gradients_equal_finite_differences_with_every_cutoff_passed(antialias: bool) -> None:
    scene = make_separated_scene(42, antialias=antialias)
    assert margin_to_cutoffs(scene) > SEPARATION
    table = pair_table(scene)
    assert (table.response < 1 / 255).any()
    assert (table.response > 0.99).any()
    assert (table.transmittance[:, -1] < 1e-4).any()
    assert (table.projection.colors[table.index] < 0).any()
    _differences(scene, 2, step=1e-6, relative=1e-6)


def test_smooth_scene_has_a_splat_beyond_the_field_of_view() -> None:
    """Otherwise the clamp of the Jacobian would not be under the finite differences."""
    scene = make_smooth_scene(33)
    seen = reference.project(scene.params, scene.cam_from_world[0], scene.intrinsics[0], scene.settings)
    width = scene.settings.width
    assert seen.visible.all()
    assert ((seen.means2d[:, 0] - width / 2).abs() > 1.35 * width / 2).any()
    assert (pair_table(scene).response > 1.5 / 255).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cutting_into_rectangles_changes_nothing(dtype: torch.dtype) -> None:
    scene = make_scene(35, num_splats=150, num_cameras=2).to(dtype)
    upstream = upstream_for(scene, 3)
    whole, v_whole = render_with_gradients(
        lambda *args: reference.rasterize(*args, pairs_at_once=1 << 40), scene, upstream
    )
    cut, v_cut = render_with_gradients(lambda *args: reference.rasterize(*args, pairs_at_once=500), scene, upstream)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    for name in v_whole:
        assert (v_whole[name] - v_cut[name]).abs().max() <= tolerance * v_whole[name].abs().max(), name
    for part, (a, b) in zip(whole._fields, zip(whole, cut, strict=True), strict=True):
        assert (a - b).abs().max() <= tolerance * a.abs().max(), part
    assert torch.equal(whole.alpha, cut.alpha)


def test_ties_in_depth_go_by_index() -> None:
    """Two coplanar splats: the first in the arrays is in front, whatever its colour."""
    scene = make_scene(36, num_splats=2, sh_degree=0, behind=0, tiny=0, huge=0, opaque=0)
    pose = torch.eye(4, dtype=torch.float64)[None]
    means = torch.tensor([[0.0, 0.0, 4.0], [0.05, 0.0, 4.0]], dtype=torch.float64)
    params = {
        **scene.params,
        "means": means,
        "log_scales": torch.zeros(2, 3).double() - 1,
        "logit_opacities": means[:, 0] * 0,
    }
    for swap in ([0, 1], [1, 0]):
        colors = torch.tensor([[[1.0, 0, 0]], [[0, 0, 1.0]]], dtype=torch.float64)[swap]
        view = SyntheticScene({**params, "sh0": colors}, pose, scene.intrinsics, scene.background * 0, scene.settings)
        view = view.select(torch.tensor([0, 1]))
        image = reference.rasterize(*view.arguments()).image[0]
        red, blue = image[..., 0].sum(), image[..., 2].sum()
        assert (red > blue) == (swap == [0, 1])


def test_means2d_gradients_sum_what_pixels_say() -> None:
    """plain is the gradient through the 2D mean; absolute is never smaller, clearly larger where pixels disagree."""
    scene = make_scene(37, num_splats=60)
    upstream = upstream_for(scene, 4)
    collector = reference.Means2dGradients()
    leaves = {name: value.clone().requires_grad_() for name, value in scene.tensors().items()}
    rendering = reference.rasterize(*scene.with_tensors(leaves).arguments(), means2d_gradients=collector)
    upstream.loss(rendering).backward()
    # A shift of the principal point moves all 2D means by the same, and nothing else inside the field of view.
    inside = collector.plain[0].sum(0)
    assert (collector.absolute >= collector.plain.abs() - 1e-12).all()
    assert collector.absolute.sum() > 2 * collector.plain.abs().sum()
    assert leaves["intrinsics"].grad is not None
    torch.testing.assert_close(
        inside, leaves["intrinsics"].grad[0, 2:], rtol=0.05, atol=0.05 * float(inside.abs().max())
    )

# SPDX-License-Identifier: Apache-2.0
"""Poison values, values on a threshold, ugly sizes, no splats: every back end stays finite and culls by the one rule
(a splat with any projected quantity that is not finite has radius 0, no pixel and no gradient)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from parity import (
    Backend,
    assert_gradients_close,
    boundary_band,
    relative_error,
    render_with_gradients,
    upstream_for,
)
from synthetic import SyntheticScene, make_scene

from sparse3d import conventions
from sparse3d.errors import DataError
from sparse3d.kernels import rasterize, reference
from sparse3d.kernels.records import RasterSettings
from sparse3d.splats import PARAMETER_NAMES

NAN, INF = math.nan, math.inf
VICTIM = 7


def _small_scene() -> SyntheticScene:
    """40 ordinary splats, and the victim in front of them in the middle of the picture."""
    scene = make_scene(41, num_splats=40, width=40, height=24, scale=0.15, behind=0, tiny=0, huge=0, sh_degree=1)
    params = {name: value.clone() for name, value in scene.params.items()}
    params["means"][VICTIM] = torch.tensor([0.0, 0.0, -1.5])
    params["logit_opacities"][VICTIM] = 1.0
    return scene.with_params(**params)


def _poisoned(name: str, column: int | None, value: float) -> SyntheticScene:
    scene = _small_scene()
    poisoned = scene.params[name].clone()
    row = poisoned.view(poisoned.shape[0], -1)[VICTIM]
    if column is None:
        row[:] = value
    else:
        row[column] = value
    return scene.with_params(**{name: poisoned}).to(torch.float32)


CULLED = {
    **{f"{name}=nan": (name, 0, NAN) for name in PARAMETER_NAMES},
    "means z=nan": ("means", 2, NAN),
    "means=inf": ("means", 0, INF),
    "means=-inf": ("means", 1, -INF),
    "quats=inf": ("quats_wxyz", 2, INF),
    "quats=0": ("quats_wxyz", None, 0.0),
    "quats denormal": ("quats_wxyz", None, 1e-40),
    "log_scales=inf": ("log_scales", 1, INF),
    "log_scales=1000": ("log_scales", 0, 1000.0),
    "all log_scales=nan": ("log_scales", None, NAN),
    "logit=-inf": ("logit_opacities", None, -INF),
    "logit=-1e30": ("logit_opacities", None, -1e30),
    "sh0=inf": ("sh0", 1, INF),
    "shN=-inf": ("shN", 5, -INF),
    "means far away": ("means", 0, 1e30),
}


@pytest.mark.parametrize("what", CULLED)
def test_a_poisoned_splat_is_as_if_it_were_not_there(backend: Backend, what: str) -> None:
    scene = _poisoned(*CULLED[what])
    others = torch.tensor([i for i in range(40) if i != VICTIM])
    upstream = upstream_for(scene, 1)
    found, v_found = render_with_gradients(backend.rasterize, scene, upstream)
    without, v_without = render_with_gradients(backend.rasterize, scene.select(others), upstream)
    healthy, _ = render_with_gradients(backend.rasterize, _small_scene().to(torch.float32), upstream)
    assert (healthy.image - without.image).abs().max() > 0.05, "the victim is not seen even when it is well"

    assert found.radii[0, VICTIM] == 0
    assert found.weight_sum[0, VICTIM] == 0
    for part in ("image", "alpha", "depth", "median_depth"):
        torch.testing.assert_close(getattr(found, part), getattr(without, part), rtol=0, atol=1e-6)
    for name in PARAMETER_NAMES:
        assert (v_found[name][VICTIM] == 0).all(), f"{name} of the culled splat has a gradient"
        torch.testing.assert_close(v_found[name][others], v_without[name], rtol=1e-4, atol=1e-5)
    for name in ("cam_from_world", "background"):
        torch.testing.assert_close(v_found[name], v_without[name], rtol=1e-4, atol=1e-3)


HARMLESS = {
    "log_scales=-inf": ("log_scales", 0, -INF),
    "all log_scales=-1000": ("log_scales", None, -1000.0),
    "logit=inf": ("logit_opacities", None, INF),
    "logit=200": ("logit_opacities", None, 200.0),
    "sh0 denormal": ("sh0", None, 1e-41),
    "means denormal": ("means", 0, 1e-41),
    "quats large": ("quats_wxyz", 0, 1e15),
    "quats small": ("quats_wxyz", None, 1e-15),
    "log_scales wide": ("log_scales", 0, 12.0),
    "needle": ("log_scales", 0, -12.0),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_an_extreme_splat_that_has_a_finite_picture_is_drawn(backend: Backend, what: str) -> None:
    scene = _poisoned(*HARMLESS[what])
    exact = scene.to(torch.float64)
    cutoff, _ = boundary_band(exact)
    upstream = upstream_for(scene, 2, keep=~cutoff)
    expected, v_expected = render_with_gradients(reference.rasterize, exact, upstream)
    found, v_found = render_with_gradients(backend.rasterize, scene, upstream)
    assert expected.radii[0, VICTIM] > 0
    assert found.radii[0, VICTIM] > 0
    assert (found.image - expected.image)[~cutoff].abs().max() < 1e-4
    ordinary = torch.arange(40) != VICTIM
    for name in PARAMETER_NAMES:
        assert torch.isfinite(v_found[name]).all(), name
        assert relative_error(v_found[name][ordinary], v_expected[name][ordinary]) < 1e-3, name


def test_random_poison_agrees_with_the_float32_reference(backend: Backend) -> None:
    """Any value anywhere: the same splats are culled, the picture is finite and the same."""
    # Magnitudes are either ordinary or far beyond where float32 squares overflow or vanish.
    values = [0.0, -0.0, 1e-41, -1e-41, 1e30, -1e30, NAN, INF, -INF, 200.0, -200.0, 1.0]
    for seed in range(6):
        scene = make_scene(100 + seed, num_splats=60, width=19, height=21, scale=0.2, sh_degree=2).to(torch.float32)
        generator = torch.Generator().manual_seed(seed)
        params = {name: value.clone() for name, value in scene.params.items()}
        poisons = {}
        for row in range(0, 60, 2):
            name = PARAMETER_NAMES[int(torch.randint(6, (1,), generator=generator))]
            flat = params[name].view(60, -1)
            column = int(torch.randint(flat.shape[1], (1,), generator=generator))
            flat[row, column] = values[int(torch.randint(len(values), (1,), generator=generator))]
            poisons[row] = f"{name}[{column}] = {float(flat[row, column])}"
        scene = scene.with_params(**params)
        upstream = upstream_for(scene, seed)
        expected, _ = render_with_gradients(reference.rasterize, scene, upstream)
        found, v_found = render_with_gradients(backend.rasterize, scene, upstream)
        differing = torch.nonzero((found.radii[0] > 0) != (expected.radii[0] > 0))[:, 0].tolist()
        assert not differing, (
            f"seed {seed}: culled differently: {[(row, poisons[row]) for row in differing if row in poisons]}"
        )
        assert (expected.radii == 0).sum() > 5
        assert (expected.radii > 0).sum() > 20
        assert torch.isfinite(found.image).all()
        # Flips at the cutoffs are up to 1/255 times the brightest colour.
        # Where a colour of 1e30 is seen only the order of magnitude can be compared.
        ordinary_pixels = (expected.image.abs() < 10) & (found.image.abs() < 10)
        assert ordinary_pixels.double().mean() > 0.3
        difference = (found.image - expected.image).abs()[ordinary_pixels]
        assert difference.max() < 0.05
        assert difference.mean() < 2e-4
        culled = expected.radii[0] == 0
        ordinary = torch.arange(60) % 2 == 1
        for name in PARAMETER_NAMES:
            assert (v_found[name][culled] == 0).all(), f"seed {seed}: culled splats have a gradient to {name}"
            assert torch.isfinite(v_found[name][ordinary]).all(), f"seed {seed}: {name}"


def _facing(means: list[list[float]], width: int = 20, height: int = 20, **settings: Any) -> SyntheticScene:
    """Round splats of standard deviation 0.05 before a camera at the origin without rotation."""
    n = len(means)
    options: dict[str, Any] = {"dtype": torch.float32}
    params = {
        "means": torch.tensor(means, **options),
        "quats_wxyz": torch.tensor([[1.0, 0, 0, 0]], **options).repeat(n, 1),
        "log_scales": torch.full((n, 3), math.log(0.05), **options),
        "logit_opacities": torch.full((n,), 2.0, **options),
        "sh0": torch.ones(n, 1, 3, **options),
        "shN": torch.zeros(n, 0, 3, **options),
    }
    return SyntheticScene(
        params,
        torch.eye(4, **options)[None],
        torch.tensor([[20.0, 20.0, width / 2, height / 2]], **options),
        torch.zeros(1, 3, **options),
        RasterSettings(width, height, sh_degree=0, depth=True, stats=True, **settings),
    )


def _render(backend: Backend, scene: SyntheticScene):
    return backend.rasterize(*scene.arguments())


def test_a_splat_on_the_near_plane_is_kept_and_one_before_it_is_culled(backend: Backend) -> None:
    below = float(torch.nextafter(torch.tensor(0.5), torch.tensor(0.0)))
    found = _render(backend, _facing([[0, 0, 0.5], [0, 0, below], [0, 0, 0], [0, 0, -0.5]], near=0.5))
    assert (found.radii[0] > 0).tolist() == [True, False, False, False]


def test_opacity_around_the_threshold(backend: Backend) -> None:
    """Just above 1/255 a splat is kept and draws at most the pixel at its centre; just below it is culled."""
    scene = _facing([[0.125, 0.125, 5.0], [0.125, 0.125, 5.0]])
    logit = math.log(conventions.ALPHA_MIN / (1 - conventions.ALPHA_MIN))
    scene.params["logit_opacities"][:] = torch.tensor([logit - 1e-3, logit + 1e-3])
    found = _render(backend, scene)
    assert (found.radii[0] > 0).tolist() == [False, True]
    assert (found.alpha > 0).sum() == 1
    assert found.alpha[0, 10, 10] == pytest.approx(conventions.ALPHA_MIN, rel=2e-3)


def test_alpha_is_clamped_and_has_no_gradient_there(backend: Backend) -> None:
    scene = _facing([[0.125, 0.125, 5.0]])
    scene.params["logit_opacities"][0] = 12.0
    leaf = scene.params["logit_opacities"].requires_grad_()
    found = _render(backend, scene)
    centre = found.alpha[0, 10, 10]
    assert float(centre.detach()) == pytest.approx(conventions.ALPHA_MAX, abs=1e-6)
    (v_clamped,) = torch.autograd.grad(centre, leaf, retain_graph=True)
    assert v_clamped == 0
    (v_free,) = torch.autograd.grad(found.alpha[0, 10, 11], leaf)
    assert v_free > 0


def test_the_stop_leaves_the_splat_out_and_keeps_the_earlier_ones(backend: Backend) -> None:
    """0.98 leaves 0.02, then 4e-4; a third would leave 8e-6, so only two of six are blended at the common centre."""
    scene = _facing([[0.125, 0.125, 5.0 + 0.01 * i] for i in range(6)], width=1, height=1)
    scene.intrinsics[0, 2:] = 0.0  # The centre of the only pixel is where the splats are.
    scene.params["logit_opacities"][:] = math.log(0.98 / 0.02)
    scene.params["means"][:, :2] *= scene.params["means"][:, 2:] / 5.0
    found = _render(backend, scene)
    assert float(found.alpha) == pytest.approx(1 - 0.02**2, abs=1e-6)
    assert (found.weight_max[0, 2:] == 0).all()
    assert float(found.weight_max[0, 1]) == pytest.approx(0.98 * 0.02, rel=1e-4)
    assert float(found.median_depth) == 5.0


def test_a_splat_that_only_touches_the_border_is_kept(backend: Backend) -> None:
    """Its centre is outside, its ellipse reaches the first columns; a little further out it is culled."""
    reach = float(_render(backend, _facing([[0.0, 0.0, 5.0]])).radii[0, 0])
    inside, outside = ((-10 - reach + shift) / 20 * 5 for shift in (0.7, -0.3))
    found = _render(backend, _facing([[inside, 0.125, 5.0], [outside, 0.125, 5.0]]))
    assert (found.radii[0] > 0).tolist() == [True, False]
    assert (found.alpha[0, :, 0] > 0).any()
    assert (found.alpha[0, :, 1:] == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (17, 1), (16, 16), (257, 257), (15, 33)], ids=str)
def test_ugly_sizes(backend: Backend, size: tuple[int, int]) -> None:
    scene = make_scene(43, num_splats=30, width=size[1], height=size[0], sh_degree=1)
    cutoff, _ = boundary_band(scene)
    expected = reference.rasterize(*scene.arguments())
    found = backend.rasterize(*scene.to(torch.float32).arguments())
    assert found.image.shape == (1, *size, 3)
    assert expected.alpha.max() > 0.05
    assert (found.image - expected.image)[~cutoff].abs().max() < 1e-4


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_splats(backend: Backend, count: int) -> None:
    scene = make_scene(44, num_splats=8, num_cameras=2, width=21, height=18, behind=0, tiny=0, huge=0, scale=0.3)
    scene = scene.select(torch.arange(count)).to(torch.float32)
    found, gradients = render_with_gradients(backend.rasterize, scene, upstream_for(scene, 3))
    assert found.means2d.shape == (2, count, 2)
    assert gradients["shN"].shape == (count, 15, 3)
    if count == 0:
        assert torch.equal(found.image, scene.background[:, None, None].expand(2, 18, 21, 3))
        assert (found.alpha == 0).all()
        assert (found.median_depth == 0).all()
        assert (gradients["cam_from_world"] == 0).all()
    else:
        assert (found.alpha > 0).any()
        assert gradients["means"].abs().max() > 0


def test_a_scene_without_a_visible_splat_is_the_background(backend: Backend) -> None:
    scene = _small_scene()
    behind = scene.params["means"] - 30 * scene.cam_from_world[0, 2, :3]
    scene = scene.with_params(means=behind).to(torch.float32)
    found, gradients = render_with_gradients(backend.rasterize, scene, upstream_for(scene, 3))
    assert torch.equal(found.image, scene.background[:, None, None].expand(1, 24, 40, 3))
    for name in PARAMETER_NAMES:
        assert (gradients[name] == 0).all()
    assert (gradients["background"] != 0).all()


def test_more_splats_in_a_tile_than_one_pass_holds(backend: Backend) -> None:
    """1,500 faint splats over a single 16x16 tile: every pixel blends hundreds before it stops."""
    scene = make_scene(45, num_splats=1500, width=16, height=16, scale=0.4, opaque=0, huge=0, tiny=0, sh_degree=0)
    scene = scene.with_params(logit_opacities=-3.5 + 0.1 * scene.params["logit_opacities"])
    scene = scene.to(torch.float32).to(torch.float64)
    cutoff, _ = boundary_band(scene, band=1e-4)
    assert cutoff.double().mean() < 0.6
    upstream = upstream_for(scene, 4, keep=~cutoff)
    expected, v_expected = render_with_gradients(reference.rasterize, scene, upstream)
    found, v_found = render_with_gradients(backend.rasterize, scene.to(torch.float32), upstream)
    assert (expected.alpha > 0.99).double().mean() > 0.5
    assert (found.image - expected.image)[~cutoff].abs().max() < 2e-4
    assert_gradients_close(v_found, v_expected, 2e-3, backend.differentiated)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sh_degree": 5}, "sh_degree is 5, expected 0 to 4"),
        ({"sh_degree": 3}, "sh_degree 3 needs more than the 3 coefficients in shN"),
    ],
)
def test_a_degree_that_cannot_be_is_refused(backend: Backend, change: dict, words: str) -> None:
    scene = _small_scene().with_settings(**change).to(torch.float32)
    with pytest.raises(DataError, match=words):
        _render(backend, scene)


def test_poison_in_a_coefficient_that_is_not_evaluated_does_not_cull(backend: Backend) -> None:
    scene = _poisoned("shN", 0, NAN).with_settings(sh_degree=0)
    found = _render(backend, scene)
    assert found.radii[0, VICTIM] > 0
    assert torch.isfinite(found.image).all()


def test_more_pairs_than_can_be_numbered_end_in_a_sentence() -> None:
    """Counted before any buffer is made: splats that fill an enormous image must not overflow the slots' numbers."""
    count = 140
    means = torch.zeros(count, 3)
    means[:, 2] = 5.0
    quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1)
    with pytest.raises(DataError, match=r"140 splats cover more than 2\^31 tiles of a 65535x65535 image"):
        rasterize(
            means, quats, torch.full((count, 3), 8.0), torch.zeros(count), torch.zeros(count, 1, 3),
            torch.zeros(count, 0, 3), torch.eye(4)[None], torch.tensor([[1000.0, 1000.0, 30000.0, 30000.0]]),
            torch.zeros(1, 3), RasterSettings(65535, 65535, 0), backend="cpu",
        )  # fmt: skip

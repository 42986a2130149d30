# SPDX-License-Identifier: Apache-2.0
"""Density policies alone: what they add, move and remove, and that the optimiser follows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sparse3d.errors import UsageError
from sparse3d.kernels.records import AdamState, DensityStats
from sparse3d.train.config import DensityConfig
from sparse3d.train.splats.density import POLICIES, DensityUpdate, RefineContext
from sparse3d.train.splats.density.mcmc import relocated
from sparse3d.train.splats.density.policy import sample_rows
from sparse3d.train.splats.follow import follow

CONTEXT = RefineContext(step=100, steps=1000, interval=100, extent=1.0, image_side_px=64)
NAMES = ("means", "quats_wxyz", "log_scales", "logit_opacities", "sh0", "shN")


def make_params(count: int = 40, seed: int = 0) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {
        "means": torch.randn(count, 3, generator=g),
        "quats_wxyz": torch.randn(count, 4, generator=g),
        "log_scales": torch.full((count, 3), math.log(0.005)),
        "logit_opacities": torch.rand(count, generator=g) * 2 - 1,
        "sh0": torch.randn(count, 1, 3, generator=g),
        "shN": torch.randn(count, 3, 3, generator=g),
    }


def make_stats(count: int, pulled: dict[int, float]) -> DensityStats:
    """Every splat seen four times; `pulled` has the mean absolute gradient of some rows."""
    stats = DensityStats.zeros(count)
    stats.visible += 4
    stats.weight_max += 0.5
    for row, pull in pulled.items():
        stats.grad_abs[row] = 4 * pull
    return stats


def generator(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def refine(
    cfg: DensityConfig, params: dict[str, Tensor], stats: DensityStats, context: RefineContext = CONTEXT
) -> DensityUpdate | None:
    before = {name: tensor.clone() for name, tensor in params.items()}
    update = POLICIES[cfg.policy](cfg, 4.0).step(params, stats, context, generator())
    for name in NAMES:
        assert torch.equal(params[name], before[name]), f"{name} of the argument was changed"
    if update is not None:
        count = len(update.source_row)
        assert update.source_row.dtype == torch.int64
        assert update.is_new.shape == (count,)
        assert all(tensor.shape[0] == count and tensor.is_contiguous() for tensor in update.params.values())
        assert int(update.source_row.max()) < params["means"].shape[0]
        old = ~update.is_new
        # What is neither new nor a sharer of opacity is where it was.
        for name in ("means", "quats_wxyz", "sh0", "shN"):
            assert torch.equal(update.params[name][old], params[name][update.source_row[old]]), name
    return update


def test_a_small_pulled_splat_is_cloned():
    params = make_params()
    update = refine(DensityConfig(grad_threshold=1e-3), params, make_stats(40, {7: 2e-3, 8: 5e-4}))
    assert update is not None
    assert (update.added, update.removed) == (1, 0)
    assert update.source_row.tolist() == [*range(40), 7]
    assert update.is_new.tolist() == [False] * 40 + [True]
    assert torch.equal(update.params["means"][40], params["means"][7])
    # Two of them together are as opaque as the one before.
    old = torch.sigmoid(params["logit_opacities"][7])
    new = torch.sigmoid(update.params["logit_opacities"][[7, 40]])
    assert torch.allclose(1 - (1 - new[0]) * (1 - new[1]), old, atol=1e-6)


def test_a_large_pulled_splat_is_split_within_its_own_ellipsoid():
    params = make_params()
    params["log_scales"][3] = torch.tensor([0.3, 0.02, 0.02]).log()
    update = refine(DensityConfig(grad_threshold=1e-3), params, make_stats(40, {3: 2e-3}))
    assert update is not None
    assert update.added == 1
    assert update.source_row.tolist() == [i for i in range(40) if i != 3] + [3, 3]
    assert update.is_new.tolist() == [False] * 39 + [True, True]
    assert torch.allclose(update.params["log_scales"][39:], params["log_scales"][3] - math.log(1.6))
    from sparse3d.geometry.quaternions import rotation_from_quats

    rotation = rotation_from_quats(params["quats_wxyz"][3:4])[0]
    offsets = (update.params["means"][39:] - params["means"][3]) @ rotation
    in_sigmas = offsets / torch.tensor([0.3, 0.02, 0.02])
    assert in_sigmas.abs().max() < 5
    assert in_sigmas.abs().max() > 0.05


def test_transparent_oversized_and_useless_splats_are_removed():
    params = make_params()
    params["logit_opacities"][0] = math.log(0.004 / 0.996)
    params["log_scales"][1, 2] = math.log(0.6)
    stats = make_stats(40, {0: 1.0})
    stats.radius_max[2] = 60.0
    stats.weight_max[3] = 1e-4
    stats.weight_max[4] = 0.0
    stats.visible[4] = 0.0
    cfg = DensityConfig(prune_scale=0.5, prune_radius=0.9, prune_weight=1e-3)
    update = refine(cfg, params, stats)
    assert update is not None
    assert (update.added, update.removed) == (0, 4)
    assert update.source_row.tolist() == list(range(4, 40))


def test_the_scene_is_never_emptied():
    params = make_params(5)
    params["logit_opacities"][:] = -20
    update = refine(DensityConfig(), params, make_stats(5, {}))
    assert update is None or len(update.source_row) == 5


@pytest.mark.parametrize("cap", [40, 43, 60])
def test_the_cap_holds_and_the_hardest_pulled_go_first(cap: int):
    pulled = {row: 1e-2 + 1e-4 * row for row in range(20)}
    cfg = DensityConfig(cap=cap, grad_threshold=1e-3, growth=1.0)
    update = refine(cfg, make_params(), make_stats(40, pulled))
    expected = sorted(pulled, key=lambda row: -pulled[row])[: cap - 40]
    if cap == 40:
        assert update is None
    else:
        assert update is not None
        assert sorted(update.source_row[40:].tolist()) == sorted(expected)
        assert len(update.source_row) == min(cap, 60)


def test_more_initial_splats_than_the_cap_stay():
    assert refine(DensityConfig(cap=10, grad_threshold=1e-3), make_params(), make_stats(40, {1: 1.0})) is None


def test_equal_pulls_are_chosen_in_the_order_of_rows():
    cfg = DensityConfig(cap=43, grad_threshold=1e-3)
    update = refine(cfg, make_params(), make_stats(40, dict.fromkeys(range(30, 10, -1), 5e-3)))
    assert update is not None
    assert update.source_row[40:].tolist() == [11, 12, 13]


@pytest.mark.parametrize("control", ["none", "decay", "reset"])
def test_opacity_control(control: str):
    cfg = DensityConfig(opacity_control=control, opacity_reset_every=0.2)  # type: ignore[arg-type]
    params = make_params()
    update = refine(cfg, params, make_stats(40, {}), replace(CONTEXT, step=200))
    before = torch.sigmoid(params["logit_opacities"])
    if control == "none":
        assert update is None
        return
    assert update is not None
    after = torch.sigmoid(update.params["logit_opacities"])
    if control == "decay":
        assert torch.allclose(after, before * cfg.opacity_decay, atol=1e-6)
        assert update.reset_moments == ()
    else:
        assert torch.allclose(after, torch.full_like(after, 0.01), atol=1e-6)
        assert update.reset_moments == ("logit_opacities",)
        later = refine(cfg, params, make_stats(40, {}), replace(CONTEXT, step=300))
        assert later is None or later.reset_moments == ()


def test_moments_follow_the_index_map():
    params = make_params()
    params["log_scales"][3] = math.log(0.2)
    update = refine(DensityConfig(grad_threshold=1e-3), params, make_stats(40, {3: 2e-3, 9: 2e-3}))
    assert update is not None
    adam = AdamState.zeros(params)
    for index, name in enumerate(NAMES):
        rows = torch.arange(40, dtype=torch.float32).reshape(-1, *[1] * (params[name].ndim - 1))
        adam.m[name] += rows + index
        adam.v[name] += rows * 2 + index
    adam.step = 17
    moved = follow(adam, update)
    assert moved.step == 17
    for index, name in enumerate(NAMES):
        assert moved.m[name].shape == update.params[name].shape
        expected = torch.where(update.is_new, torch.tensor(0.0), update.source_row + float(index))
        assert torch.equal(moved.m[name].reshape(len(expected), -1)[:, 0], expected), name
        assert bool((moved.v[name][update.is_new] == 0).all())
    reset = follow(adam, replace(update, reset_moments=("logit_opacities",)))
    assert bool((reset.m["logit_opacities"] == 0).all())
    assert bool((reset.m["sh0"] != 0).any())


@pytest.mark.parametrize("policy", ["adaptive", "mcmc"])
def test_the_same_generator_gives_the_same_change_on_any_number_of_threads(policy: str):
    count = 60_000
    params = make_params(count)
    params["log_scales"][::3] = math.log(0.1)
    params["logit_opacities"][::5] = -8
    stats = make_stats(count, {})
    stats.grad_abs += torch.rand(count, generator=generator(1)) * 8e-3
    cfg = DensityConfig(policy=policy, grad_threshold=1e-3, cap=70_000)
    before = torch.get_num_threads()
    updates = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            update = POLICIES[policy](cfg, 4.0).step(params, stats, CONTEXT, generator())
            assert update is not None
            noisy = {name: tensor.clone() for name, tensor in update.params.items()}
            POLICIES[policy](cfg, 4.0).after_step(noisy, 1e-4, generator())
            updates.append((update, noisy))
    finally:
        torch.set_num_threads(before)
    for update, noisy in updates[1:]:
        assert torch.equal(update.source_row, updates[0][0].source_row)
        for name in NAMES:
            assert torch.equal(update.params[name], updates[0][0].params[name]), name
            assert torch.equal(noisy[name], updates[0][1][name]), name


def test_mcmc_moves_the_dead_onto_the_living_and_grows_to_the_cap():
    params = make_params()
    dead = [2, 5, 11]
    params["logit_opacities"][dead] = -9
    update = refine(DensityConfig(policy="mcmc", mcmc_growth=0.5, cap=50), params, make_stats(40, {}))
    assert update is not None
    assert (update.moved, update.added, len(update.source_row)) == (3, 10, 50)
    sources = update.source_row[dead].tolist()
    assert not set(sources) & set(dead)
    for row, source in zip(dead, sources, strict=True):
        assert torch.equal(update.params["means"][row], params["means"][source])
    assert bool(update.is_new[dead].all())
    assert bool(update.is_new[40:].all())
    assert bool(update.is_new[update.source_row[update.is_new]].all()), "a source keeps moments of what it was"
    untouched = ~update.is_new
    assert torch.equal(
        update.params["logit_opacities"][untouched], params["logit_opacities"][update.source_row[untouched]]
    )


def test_relocated_copies_look_like_the_one_before():
    """Equation 9 keeps the integral over a line through the centre: compared with a numerical integral."""
    for opacity, share in ((0.3, 2), (0.9, 3), (0.05, 7)):
        new, factor = relocated(np.array([opacity]), np.array([float(share)]))
        x = np.linspace(-12, 12, 20001)
        before = opacity * np.exp(-0.5 * x**2)
        one = new * np.exp(-0.5 * (x / factor) ** 2)
        after = 1 - (1 - one) ** share
        assert np.isclose(after.max(), opacity, rtol=1e-6)
        assert np.isclose(after.sum(), before.sum(), rtol=1e-3), (opacity, share)


def test_mcmc_noise_moves_faint_splats_along_their_long_axis():
    params = make_params(2000)
    params["logit_opacities"][:1000] = 3.0
    params["logit_opacities"][1000:] = -7.0
    params["quats_wxyz"][:] = torch.tensor([1.0, 0, 0, 0])
    params["log_scales"][:] = torch.tensor([0.2, 0.01, 0.01]).log()
    before = params["means"].clone()
    POLICIES["mcmc"](DensityConfig(policy="mcmc"), 4.0).after_step(params, 1e-5, generator())
    moved = params["means"] - before
    assert bool((moved[:1000] == 0).all())
    spread = moved[1000:].std(dim=0)
    # Covariance times noise: variances as 0.04 to 0.0001.
    assert float(spread[0] / spread[1]) == pytest.approx(400, rel=0.1)


def test_sampling_is_in_proportion_to_the_weights():
    rows = sample_rows(torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0]), 20_000, generator())
    counts = torch.bincount(rows, minlength=5) / 20_000
    assert torch.allclose(counts, torch.tensor([0, 0.25, 0, 0.75, 0]), atol=0.02)


def test_an_unknown_policy_names_the_nearest():
    with pytest.raises(UsageError, match=r"unknown density policy 'adaptiv'; did you mean 'adaptive'\?"):
        POLICIES["adaptiv"]

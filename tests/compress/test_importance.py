# SPDX-License-Identifier: Apache-2.0
"""What each splat is worth, against pictures with and without it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparse3d.compress.importance import Measuring, importance
from sparse3d.compress.prune import keep_most, prune, rows_within, scores, visible_rows
from sparse3d.errors import UsageError
from sparse3d.kernels import cpu
from sparse3d.render import render
from tests.compress.scene import ball, joined, squared_error
from tests.train import tiny


def test_a_hidden_splat_is_worth_nothing():
    """Inside of an opaque ball, and behind every camera."""
    inside = tiny.true_splats().select(torch.tensor([0]))
    hidden = joined(inside, inside)
    hidden.means[0] = 0.0
    hidden.log_scales[:] = -4.0
    hidden.means[1] = torch.tensor([0.0, 500.0, 0.0])
    splats = joined(ball(1.0, 600), hidden)
    found = importance(splats, tiny.cameras(), Measuring(fisher=True))
    assert not found.weight[-2:].any()
    assert not found.sensitivity[-2:].any()
    assert not found.hits[-2:].any()
    assert found.fisher is not None
    assert torch.isinf(found.fisher[-2:]).all()
    assert torch.isfinite(found.fisher[:600]).float().mean() > 0.95
    assert 600 not in visible_rows(found)
    assert prune(splats, found, 601).num_splats <= 600


def test_sensitivity_is_the_squared_change_without_the_splat():
    splats, cameras = tiny.true_splats(), tiny.cameras()
    found = importance(splats, cameras, Measuring(probes=40))
    true = []
    for row in range(0, splats.num_splats, 10):
        keep = torch.ones(splats.num_splats, dtype=torch.bool)
        keep[row] = False
        true.append(squared_error(splats.select(keep), splats))
    estimated = found.sensitivity[::10].numpy()
    assert np.std(true) > 1.0
    assert np.corrcoef(estimated, true)[0, 1] > 0.98
    assert np.median(np.abs(estimated - true) / np.maximum(true, 1e-3)) < 0.15


def test_weights_and_hits_are_those_of_the_views():
    splats, cameras = tiny.true_splats(), tiny.cameras()
    whole = importance(splats, cameras, Measuring(probes=1))
    halves = [importance(splats, part, Measuring(probes=1)) for part in (cameras[:4], cameras[4:])]
    assert torch.allclose(whole.weight, halves[0].weight + halves[1].weight, rtol=1e-5)
    assert torch.equal(whole.peak, torch.maximum(halves[0].peak, halves[1].peak))
    assert torch.equal(whole.hits, halves[0].hits + halves[1].hits)
    assert int(whole.hits.max()) <= len(cameras)
    # The weights of a pixel sum to its alpha.
    alpha = sum(float(render(splats, camera).alpha.sum()) for camera in cameras)
    assert float(whole.weight.sum()) == pytest.approx(alpha, rel=1e-3)


def test_pruning_by_worth_costs_less_than_by_chance():
    splats, cameras = tiny.true_splats(), tiny.cameras()
    found = importance(splats, cameras, Measuring(fisher=True))
    chance = torch.rand(150, generator=torch.Generator().manual_seed(0))
    cost = {
        name: squared_error(splats.select(keep_most(score, 100)), splats)
        for name, score in {
            "random": chance,
            "sensitivity": scores(splats, found, "sensitivity"),
            "contribution": scores(splats, found, "contribution"),
            "fisher": scores(splats, found, "fisher"),
        }.items()
    }
    assert cost["sensitivity"] < 0.3 * cost["random"]
    assert cost["contribution"] < 0.7 * cost["random"]
    assert cost["fisher"] < cost["random"]
    assert squared_error(prune(splats, found, 100), splats) == pytest.approx(cost["contribution"])


def test_rows_stay_in_order_and_ties_fall_to_the_first():
    assert keep_most(torch.tensor([1.0, 3.0, 3.0, 3.0, 2.0]), 2).tolist() == [1, 2]
    assert keep_most(torch.tensor([5.0, -1.0, 7.0]), 9).tolist() == [0, 1, 2]
    assert keep_most(torch.tensor([1.0]), 0).tolist() == []
    with pytest.raises(UsageError, match="--max-splats -1"):
        keep_most(torch.tensor([1.0]), -1)


def test_masked_pixels_do_not_count():
    splats, cameras = tiny.true_splats(), tiny.cameras()[:1]
    assert not importance(splats, cameras, masks=[torch.zeros(64, 64)]).sensitivity.any()
    left = torch.zeros(64, 64)
    left[:, :32] = 1.0
    parts = [importance(splats, cameras, Measuring(probes=60), masks=[m]).sensitivity.sum() for m in (left, 1.0 - left)]
    whole = importance(splats, cameras, Measuring(probes=60)).sensitivity.sum()
    assert float(sum(parts)) == pytest.approx(float(whole), rel=0.1)


def test_bounds_of_opacity_and_size():
    splats = tiny.true_splats()
    splats.logit_opacities[3] = -9.0
    splats.log_scales[5] = 4.0
    splats.means[7, 1] = torch.nan
    kept = rows_within(splats, min_opacity=0.01, max_scale=10.0)
    assert sorted({*range(150)} - {*kept.tolist()}) == [3, 5, 7]
    assert len(rows_within(splats)) == 149
    with pytest.raises(UsageError, match="in order"):
        rows_within(splats, min_scale=2.0, max_scale=1.0)


def test_a_view_is_needed():
    with pytest.raises(UsageError, match="at least one view"):
        importance(tiny.true_splats(), [])


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_bits_on_any_number_of_threads(threads: int):
    splats, cameras = tiny.true_splats(), tiny.cameras()[:3]
    results = []
    for count in (2, threads):
        cpu.set_threads(count)
        found = importance(splats, cameras, Measuring(fisher=True))
        assert found.fisher is not None
        results.append((found.weight, found.peak, found.hits, found.sensitivity, found.fisher))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))

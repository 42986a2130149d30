# SPDX-License-Identifier: Apache-2.0
"""Merging splats: moments, mass, and what it does to pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse3d.compress.merge import masses, merge_pairs, merge_to
from sparse3d.compress.prune import keep_most
from sparse3d.errors import UsageError
from sparse3d.geometry.quaternions import rotation_from_quats
from sparse3d.splats import Splats
from tests.compress.scene import joined, squared_error
from tests.train import tiny

FIRST, SECOND = np.array([0]), np.array([1])


def covariances(splats: Splats) -> torch.Tensor:
    rotation = rotation_from_quats(splats.quats_wxyz.double())
    return rotation @ torch.diag_embed((2 * splats.log_scales.double()).exp()) @ rotation.transpose(1, 2)


def test_the_merged_splat_has_the_moments_and_the_mass_of_both():
    pair = tiny.true_splats().select(torch.tensor([4, 9]))
    pair = replace(pair, logit_opacities=torch.tensor([-1.0, 0.5]))
    one = merge_pairs(pair, FIRST, SECOND)
    mass = masses(pair)
    share = torch.from_numpy(mass / mass.sum())[:, None]
    mean = (share * pair.means).sum(0)
    apart = pair.means - mean
    second = (share[:, :, None] * (covariances(pair) + apart[:, :, None] * apart[:, None, :])).sum(0)
    assert torch.allclose(one.means[0].double(), mean, atol=1e-6)
    assert torch.allclose(covariances(one)[0], second, rtol=1e-4, atol=1e-8)
    assert masses(one).sum() == pytest.approx(mass.sum(), rel=1e-4)
    assert torch.allclose(one.sh0[0, 0].double(), (share * pair.sh0[:, 0]).sum(0), atol=1e-6)


def test_equal_splats_in_one_place_hold_back_as_much_light_as_before():
    single = tiny.true_splats().select(torch.tensor([4]))
    single = replace(single, logit_opacities=torch.tensor([0.0]))
    one = merge_pairs(joined(single, single), FIRST, SECOND)
    assert torch.allclose(covariances(one), covariances(single), rtol=1e-4)
    # Two of opacity 1/2 let a quarter through.
    assert float(one.opacities[0]) == pytest.approx(0.75, abs=1e-4)


def test_near_duplicates_merge_and_the_picture_stays():
    splats = replace(tiny.true_splats(), logit_opacities=tiny.true_splats().logit_opacities - 3.0)
    halved = replace(splats, logit_opacities=torch.logit(1 - torch.sqrt(1 - splats.opacities)))
    moved = replace(halved, means=halved.means + 1e-3)
    double = joined(halved, moved)
    merged = merge_to(double, 150)
    assert merged.num_splats == 150
    change = squared_error(merged, double)
    half = squared_error(double.select(keep_most(torch.arange(300).float(), 150)), double)
    assert change < 0.05 * half
    assert masses(merged).sum() == pytest.approx(masses(double).sum(), rel=0.02)


def test_merging_costs_less_than_leaving_out_by_chance():
    splats = tiny.true_splats()
    chance = torch.rand(150, generator=torch.Generator().manual_seed(0))
    left_out = squared_error(splats.select(keep_most(chance, 110)), splats)
    assert squared_error(merge_to(splats, 110), splats) < 0.7 * left_out


def test_the_end_of_merging():
    splats = tiny.true_splats()
    assert merge_to(splats, 150) is splats
    assert merge_to(splats, 1).num_splats == 1
    again = merge_to(splats, 40)
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(merge_to(splats, 40).named(), again.named(), strict=True))
    with pytest.raises(UsageError, match="--max-splats 0"):
        merge_to(splats, 0)

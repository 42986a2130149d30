# SPDX-License-Identifier: Apache-2.0
"""Harmonics that splats share: few sets, chosen by what the views see of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sparse3d.compress import sh_shared
from sparse3d.compress.palette import palette
from sparse3d.compress.sh_limits import ShLimits
from sparse3d.compress.sh_shared import share_harmonics
from sparse3d.errors import UsageError
from sparse3d.render.probe import picture
from sparse3d.splats import Splats
from tests.train import tiny

COUNT = 12


@pytest.fixture(scope="module")
def splats() -> Splats:
    """Every second of them has no harmonics."""
    made = tiny.true_splats()
    g = torch.Generator().manual_seed(4)
    shN = 0.3 * torch.randn(made.num_splats, 8, 3, generator=g)
    shN[::2] = 0.0
    return replace(made, shN=shN)


@pytest.fixture(scope="module")
def kept(splats: Splats) -> torch.Tensor:
    return (splats.shN != 0).any(dim=2)


def error(splats: Splats, found: Splats) -> float:
    """Mean squared change of the pictures."""
    pairs = [(picture(s, camera).image for s in (splats, found)) for camera in tiny.cameras()]
    return sum(float(((a - b) ** 2).mean()) for a, b in pairs) / len(pairs)


def test_few_sets_and_none_where_there_was_none(splats: Splats, kept: torch.Tensor):
    shared, limits = share_harmonics(splats, kept, tiny.cameras(), COUNT)
    sets = torch.unique(shared.shN.flatten(1), dim=0)
    assert len(sets) == COUNT
    assert not shared.shN[::2].any()
    assert torch.equal(shared.sh0[::2], splats.sh0[::2])
    assert torch.allclose(limits.of(shared).shN, shared.shN, atol=1e-6)


def test_pictures_change_less_than_with_a_palette_of_coefficients(splats: Splats, kept: torch.Tensor):
    shared, _ = share_harmonics(splats, kept, tiny.cameras(), COUNT)
    plain = palette(splats.shN.flatten(1), COUNT).decoded().reshape(splats.shN.shape)
    assert error(splats, shared) < 0.5 * error(splats, replace(splats, shN=plain))


def test_the_limits_hold_the_sets_together(splats: Splats, kept: torch.Tensor):
    shared, limits = share_harmonics(splats, kept, tiny.cameras(), COUNT)
    g = torch.Generator().manual_seed(1)
    trained = replace(shared, shN=shared.shN + 0.1 * torch.randn(shared.shN.shape, generator=g))
    rows = torch.arange(5, splats.num_splats)
    again = limits.select(rows).of(trained.select(rows))
    assert len(torch.unique(again.shN.flatten(1), dim=0)) <= COUNT
    assert not again.shN[rows % 2 == 0].any()
    assert not torch.equal(again.shN, shared.select(rows).shN)
    assert limits.group is not None
    assert limits.weight is not None
    members = torch.nonzero(limits.group == limits.group[1])[:, 0]
    share = (limits.weight[members] + 1e-12) / (limits.weight[members] + 1e-12).sum()
    mean = (trained.shN[members] * share[:, None, None]).sum(dim=0)
    assert torch.allclose(limits.of(trained).shN[1], mean, atol=1e-6)


def test_limits_of_degrees_only(splats: Splats, kept: torch.Tensor):
    everything = ShLimits(torch.ones_like(kept))
    assert everything.unlimited
    assert everything.of(splats) is splats
    noisy = replace(splats, shN=splats.shN + 1.0)
    assert not ShLimits(kept).of(noisy).shN[::2].any()
    assert torch.equal(ShLimits(kept).of(noisy).shN[1::2], noisy.shN[1::2])


def test_the_same_bits_for_any_number_of_threads(splats: Splats, kept: torch.Tensor):
    before, made = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(share_harmonics(splats, kept, tiny.cameras(), COUNT)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(made[0].shN, made[1].shN)
    assert torch.equal(made[0].sh0, made[1].sh0)


def test_splats_are_compared_in_blocks(splats: Splats, kept: torch.Tensor, monkeypatch: pytest.MonkeyPatch):
    whole, _ = share_harmonics(splats, kept, tiny.cameras(), COUNT)
    monkeypatch.setattr(sh_shared, "_BLOCK", 16)
    blocks, _ = share_harmonics(splats, kept, tiny.cameras(), COUNT)
    assert torch.allclose(blocks.shN, whole.shN, atol=1e-5)


def test_as_many_sets_as_splats_change_nothing(splats: Splats, kept: torch.Tensor):
    shared, limits = share_harmonics(splats, kept, tiny.cameras(), 200)
    assert shared is splats
    assert limits.group is None


def test_what_cannot_be_meant(splats: Splats, kept: torch.Tensor):
    with pytest.raises(UsageError, match="give 2 or more"):
        share_harmonics(splats, kept, tiny.cameras(), 1)
    with pytest.raises(UsageError, match="0 views"):
        share_harmonics(splats, kept, [], 10)

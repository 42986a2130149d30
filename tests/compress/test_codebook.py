# SPDX-License-Identifier: Apache-2.0
"""Codebooks: against Lloyd-Max from quantiles, the true optimum of small cases, and what a price on bits does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sparse3d.compress import codebook as module
from sparse3d.compress.codebook import BINS, Codebook, codebook
from sparse3d.errors import DataError


def made(n: int, seed: int = 0) -> Tensor:
    """Heavy tails and a peak at 0, as SH coefficients have."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, generator=g) ** 3 * 0.1


def lloyd_max(x: Tensor, count: int, steps: int) -> float:
    entries = torch.quantile(x.double(), (torch.arange(count) + 0.5).double() / count)
    for _ in range(steps):
        labels = torch.bucketize(x.double(), (entries[1:] + entries[:-1]) / 2)
        size = torch.bincount(labels, minlength=count)
        sums = torch.zeros(count, dtype=torch.float64).index_add_(0, labels, x.double())
        entries = torch.where(size > 0, sums / size.clamp(min=1), entries)
    labels = torch.bucketize(x.double(), (entries[1:] + entries[:-1]) / 2)
    return float(((x - entries[labels]) ** 2).mean())


def entropy(found: Codebook) -> float:
    p = torch.bincount(found.labels.long()).double() / len(found.labels)
    p = p[p > 0]
    return float(-(p * p.log2()).sum())


@pytest.mark.parametrize("n", [BINS // 2, 20_000])
def test_error_is_below_lloyd_max(n: int) -> None:
    x = made(n)
    found = codebook(x)
    assert found.entries.shape == (256,)
    assert (found.entries[1:] >= found.entries[:-1]).all()
    assert found.labels.dtype == torch.uint8
    assert found.mse == pytest.approx(float(((x - found.decoded()).double() ** 2).mean()), rel=1e-3)
    assert found.mse < 0.95 * lloyd_max(x, 256, 30)
    nearest = (x[:, None] - found.entries[None]).abs().min(1).values
    torch.testing.assert_close((x - found.decoded()).abs(), nearest, rtol=1e-5, atol=1e-7)


def test_small_case_is_optimal() -> None:
    x = torch.tensor([0.0, 0.1, 0.2, 1.0, 1.2, 5.0, 5.1, 9.0])
    found = codebook(x, 4)
    torch.testing.assert_close(found.entries, torch.tensor([0.1, 1.1, 5.05, 9.0]))
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 2, 2, 3]


def test_weights_are_repetitions() -> None:
    x = made(600)
    times = torch.arange(600) % 3
    weighted = codebook(x, 16, weights=times.float())
    repeated = codebook(x.repeat_interleave(times), 16)
    torch.testing.assert_close(weighted.entries, repeated.entries)
    assert weighted.mse == pytest.approx(repeated.mse, rel=1e-6)


def test_a_price_on_bits_buys_entropy() -> None:
    x = made(20_000)
    free, cheap, cheaper = (codebook(x, price=p) for p in (0.0, 1.0, 3.0))
    assert entropy(free) > entropy(cheap) > entropy(cheaper)
    assert free.mse < cheap.mse < cheaper.mse
    # The bargain: a bit saved costs less error than a codebook of half the entries, which saves about one.
    half = codebook(x, 128)
    few = codebook(x, price=10.0)
    assert entropy(few) < entropy(half)
    assert few.mse < half.mse * 4 ** (entropy(half) - entropy(few)) * 0.95
    assert (few.entries[1:] >= few.entries[:-1]).all()
    assert few.mse == pytest.approx(float(((x - few.decoded()).double() ** 2).mean()), rel=1e-3)


def test_few_and_equal_numbers() -> None:
    few = codebook(torch.tensor([3.0, -1.0, 3.0, 0.5]))
    assert few.mse == 0.0
    assert few.decoded().tolist() == [3.0, -1.0, 3.0, 0.5]
    same = codebook(torch.full((9,), -2.5), price=1.0)
    assert same.entries.tolist() == [-2.5] * 256
    assert same.labels.tolist() == [0] * 9
    none = codebook(torch.zeros(0))
    assert none.entries.shape == (256,)
    assert none.labels.shape == (0,)
    weightless = codebook(made(50), 4, weights=torch.zeros(50))
    assert torch.isfinite(weightless.entries).all()


def test_a_large_offset_keeps_the_digits() -> None:
    x = made(5000)
    moved = codebook((x.double() + 100.0).float())
    assert moved.mse < 1.5 * codebook(x).mse + 1e-10


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_many_numbers_in_groups_are_as_good(monkeypatch: pytest.MonkeyPatch, offset: float) -> None:
    x, weights = made(20_000) + offset, torch.rand(20_000, generator=torch.Generator().manual_seed(4))
    weights[::3] = 0
    exact = codebook(x, weights=weights)
    monkeypatch.setattr(module, "MANY", 1000)
    grouped = codebook(x, weights=weights)
    for found in (exact, grouped):
        errors = (x.double() - found.decoded().double()) ** 2
        assert float((errors * weights).sum() / weights.sum()) == pytest.approx(found.mse, rel=1e-2)
    assert grouped.mse < 1.001 * exact.mse
    # The nearest entry, but for numbers that share a group with the edge between two.
    best = (x[:, None] - grouped.entries).abs().amin(dim=1)
    excess = (x - grouped.decoded()).abs() - best
    assert bool((excess <= (x - x.mean()).abs() / 1024 + 1e-6).all())
    assert (grouped.entries[1:] >= grouped.entries[:-1]).all()


def test_same_bits_again() -> None:
    x = made(3000)
    a, b = codebook(x, price=1.0), codebook(x, price=1.0)
    assert torch.equal(a.entries, b.entries)
    np.testing.assert_array_equal(a.labels.numpy(), b.labels.numpy())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="number 1 of 2 is not finite"):
        codebook(torch.tensor([0.0, float("nan")]))
    with pytest.raises(DataError, match="so 1 to 256"):
        codebook(torch.zeros(3), 257)
    with pytest.raises(DataError, match="weights must be 3 finite numbers"):
        codebook(torch.zeros(3), weights=torch.ones(2))
    with pytest.raises(DataError, match=r"must be \[M\]"):
        codebook(torch.zeros(3, 2))

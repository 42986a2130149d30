# SPDX-License-Identifier: Apache-2.0
"""Palettes: against plain Lloyd in torch, what weights, warm starts and equal vectors do, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import sparse3d.compress.palette as module
from sparse3d.compress.palette import palette
from sparse3d.errors import DataError
from sparse3d.kernels import cpu


def made(n: int, dim: int, seed: int = 0) -> Tensor:
    """Vectors whose spread falls from one number to the next, as that of SH coefficients, about clumps."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(60, dim, generator=g)
    x = centres[torch.randint(60, (n,), generator=g)] + 0.4 * torch.randn(n, dim, generator=g)
    return x * torch.linspace(1.0, 0.1, dim) + 3.0


def error(vectors: Tensor, entries: Tensor, labels: Tensor) -> float:
    return float(((vectors.double() - entries[labels].double()) ** 2).sum(1).mean())


def plain_lloyd(vectors: Tensor, count: int, steps: int) -> float:
    """From vectors drawn at random."""
    g = torch.Generator().manual_seed(1)
    entries = vectors[torch.randperm(len(vectors), generator=g)[:count]].double()
    x = vectors.double()
    for _ in range(steps):
        labels = torch.cdist(x, entries).argmin(1)
        size = torch.bincount(labels, minlength=count).clamp(min=1)
        sums = torch.zeros_like(entries).index_add_(0, labels, x)
        entries = torch.where((torch.bincount(labels, minlength=count) > 0)[:, None], sums / size[:, None], entries)
    return float((torch.cdist(x, entries).min(1).values ** 2).mean())


@pytest.mark.parametrize(("n", "dim", "count"), [(2000, 9, 64), (1500, 24, 700), (1200, 45, 300)])
def test_error_is_below_plain_lloyds(n: int, dim: int, count: int) -> None:
    x = made(n, dim)
    found = palette(x, count)
    assert found.entries.shape == (count, dim)
    assert found.labels.dtype == torch.int64
    assert torch.bincount(found.labels, minlength=count).min() > 0
    assert found.mse == pytest.approx(error(x, found.entries, found.labels), rel=1e-4)
    assert found.mse < plain_lloyd(x, count, 10)


def test_labels_are_the_nearest_entries() -> None:
    x = made(1500, 24)
    found = palette(x, 200)
    distance = torch.cdist(x.double(), found.entries.double())
    nearest = distance.min(1).values
    torch.testing.assert_close(distance[torch.arange(1500), found.labels], nearest, rtol=1e-4, atol=1e-5)


def test_the_search_near_groups_is_nearly_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x = made(6000, 24)
    exact = palette(x, 1500)
    monkeypatch.setattr(module, "EXACT_ENTRIES", 0)
    near = palette(x, 1500)
    assert near.mse < 1.01 * exact.mse


def test_more_iterations_are_not_worse() -> None:
    x = made(3000, 9)
    errors = [palette(x, 200, iterations=k).mse for k in (0, 1, 4, 16)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.95 * errors[0]


def test_warm_start_goes_on_where_it_was() -> None:
    x = made(3000, 9)
    first = palette(x, 200, iterations=2)
    again = palette(x, 200, iterations=0, warm=first.entries)
    assert again.mse == pytest.approx(first.mse, rel=1e-5)
    assert palette(x, 200, iterations=4, warm=first.entries).mse < first.mse
    moved = palette(x + 0.01, 200, iterations=3, warm=first.entries)
    assert moved.mse < 1.02 * first.mse


def test_entries_that_lose_their_vectors_move_to_the_largest_errors() -> None:
    x = made(500, 9)
    warm = torch.cat([x[:10], torch.full((10, 9), 1e3)])
    found = palette(x, 20, warm=warm)
    assert torch.bincount(found.labels, minlength=20).min() > 0
    assert found.entries.abs().max() < 100


def test_weights_are_repetitions() -> None:
    x = made(400, 9)
    times = torch.arange(400) % 4
    weighted = palette(x, 50, weights=times.float())
    repeated = palette(x.repeat_interleave(times, dim=0), 50)
    assert weighted.mse == pytest.approx(repeated.mse, rel=0.05)
    # Vectors of weight 0 have an entry, and pull at none.
    far = palette(torch.cat([x, torch.full((1, 9), 99.0)]), 50, weights=torch.cat([torch.ones(400), torch.zeros(1)]))
    assert far.entries.max() < 50
    assert 0 <= far.labels[-1] < 50


def test_equal_vectors_and_few_vectors_are_kept_exactly() -> None:
    x = made(30, 9)
    few = palette(x.repeat(5, 1), 100)
    assert few.entries.shape == (30, 9)
    torch.testing.assert_close(few.decoded(), x.repeat(5, 1), rtol=1e-6, atol=1e-6)
    same = palette(torch.full((50, 24), 0.25), 1024)
    assert same.entries.shape == (1, 24)
    torch.testing.assert_close(same.decoded(), torch.full((50, 24), 0.25))
    # -0 and 0 are one number.
    assert palette(torch.tensor([[0.0, 1.0], [-0.0, 1.0]]), 8).entries.shape == (1, 2)


def test_no_vectors_and_no_numbers() -> None:
    none = palette(torch.zeros(0, 45), 1024)
    assert none.entries.shape == (0, 45)
    assert none.labels.shape == (0,)
    empty = palette(torch.zeros(7, 0), 4)
    assert empty.entries.shape == (1, 0)
    assert empty.labels.tolist() == [0] * 7


def test_equal_hashes_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_hash_rows", lambda values: values[:, 0].astype("uint64"))
    x = made(40, 9)
    torch.testing.assert_close(palette(x, 64).decoded(), x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [2.0**-90, 2.0**90])
def test_very_small_and_very_large_numbers(scale: float) -> None:
    x = made(300, 9)
    assert palette(x * scale, 40).mse == pytest.approx(palette(x, 40).mse * scale**2, rel=1e-4)


@pytest.mark.parametrize("threads", [2, 3])
def test_same_bits_for_any_number_of_threads(threads: int) -> None:
    x = made(4000, 24)
    try:
        cpu.set_threads(1)
        one = palette(x, 2500, weights=torch.linspace(0, 1, 4000))
        cpu.set_threads(threads)
        many = palette(x, 2500, weights=torch.linspace(0, 1, 4000))
    finally:
        cpu.set_threads(0)
    assert torch.equal(one.entries, many.entries)
    assert torch.equal(one.labels, many.labels)


def test_neighbours_in_a_palette_are_alike() -> None:
    entries = palette(made(3000, 9), 500).entries
    along = ((entries[1:] - entries[:-1]) ** 2).sum(1).mean()
    spread = 2 * entries.var(dim=0).sum()
    assert along < 0.4 * spread


def test_what_cannot_be_is_refused() -> None:
    x = made(10, 9)
    bad = x.clone()
    bad[4, 2] = float("nan")
    with pytest.raises(DataError, match="vector 4 of 10 has a number that is not finite"):
        palette(bad, 4)
    with pytest.raises(DataError, match="1 is the least"):
        palette(x, 0)
    with pytest.raises(DataError, match=r"must be \[N,D\]"):
        palette(x[0], 4)
    with pytest.raises(DataError, match="weights must be 10 finite numbers"):
        palette(x, 4, weights=-torch.ones(10))
    with pytest.raises(DataError, match=r"warm entries must be \[1 to 4, 9\]"):
        palette(x, 4, warm=x)
    with pytest.raises(DataError, match="warm entries have a number that is not finite"):
        palette(x, 4, warm=bad[4:6])

# SPDX-License-Identifier: Apache-2.0
"""The compression kernels against plain torch and numpy, at every SIMD level of this machine."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from parity import Backend

from sparse3d.errors import DataError
from sparse3d.kernels import cpu
from sparse3d.kernels.cpu import compress as kernels


def made(n: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """Vectors in clumps of several sizes."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((40, dim)) * 2
    return (centres[rng.integers(0, 40, n)] + rng.standard_normal((n, dim)) * 0.3).astype(np.float32)


def distances(vectors: NDArray[np.float32], entries: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = torch.from_numpy(vectors).double(), torch.from_numpy(entries).double()
    return ((a[:, None] - b[None]) ** 2).sum(-1).numpy()


# One vector; fewer entries than a block; sizes that are no multiple of any tile; a row that needs no padding.
SIZES = [(1, 1, 9), (33, 5, 24), (517, 131, 45), (1030, 67, 16), (300, 300, 1)]


@pytest.mark.parametrize(("n", "p", "dim"), SIZES)
def test_assign_finds_the_nearest(cpu_backend: Backend, n: int, p: int, dim: int) -> None:
    vectors, entries = made(n, dim), made(p, dim, seed=1)
    truth = distances(vectors, entries)
    labels, errors = kernels.assign(kernels.padded(vectors), kernels.padded(entries), dim)
    found = truth[np.arange(n), labels]
    np.testing.assert_allclose(found, truth.min(axis=1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(errors, found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n", "p", "dim"), SIZES)
def test_near_assignment_without_a_cut_is_exact(cpu_backend: Backend, n: int, p: int, dim: int) -> None:
    vectors, entries = made(n, dim), made(p, dim, seed=1)
    rows, cells = kernels.padded(vectors), kernels.padded(entries)
    start = np.random.default_rng(2).integers(0, p, n).astype(np.int32)
    order = np.argsort(vectors[:, 0], kind="stable").astype(np.int32)
    labels, errors, cut = kernels.assign_near(rows, cells, dim, start, order, p)
    truth = distances(vectors, entries)
    assert cut == 0
    np.testing.assert_allclose(truth[np.arange(n), labels], truth.min(axis=1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(errors, truth[np.arange(n), labels], rtol=1e-4, atol=1e-5)


def test_near_assignment_with_a_cut_never_gets_worse(cpu_backend: Backend) -> None:
    vectors, entries = made(900, 24), made(400, 24, seed=1)
    rows, cells = kernels.padded(vectors), kernels.padded(entries)
    order, _ = kernels.split(rows, 24, None, 900, 0)
    start = np.random.default_rng(2).integers(0, 400, 900).astype(np.int32)
    labels, _, cut = kernels.assign_near(rows, cells, 24, start, order, 8)
    truth = distances(vectors, entries)
    before, after = truth[np.arange(900), start], truth[np.arange(900), labels]
    assert cut > 0
    assert (after <= before + 1e-4).all()
    assert after.mean() < 0.5 * before.mean()


def test_the_first_of_equal_entries_is_taken(cpu_backend: Backend) -> None:
    entries = np.repeat(made(7, 9), 9, axis=0)
    labels, errors = kernels.assign(kernels.padded(entries), kernels.padded(entries), 9)
    np.testing.assert_array_equal(labels, np.arange(63) // 9 * 9)
    assert not errors.any()


def test_update_is_the_weighted_mean_in_double(cpu_backend: Backend) -> None:
    vectors, dim = made(400, 45), 45
    rows = kernels.padded(vectors)
    weights = np.random.default_rng(3).uniform(0, 2, 400).astype(np.float32)
    labels = np.random.default_rng(4).integers(0, 29, 400)
    order = np.argsort(labels, kind="stable").astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=30))]).astype(np.int32)
    before = kernels.padded(made(30, dim, seed=5))
    out = kernels.update(rows, before, dim, weights, order, starts)
    for p in range(29):
        mean = np.average(vectors[labels == p].astype(np.float64), axis=0, weights=weights[labels == p])
        np.testing.assert_allclose(out[p, :dim], mean, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(out[29], before[29])


def test_split_cuts_into_cells_of_small_error(cpu_backend: Backend) -> None:
    vectors = made(2000, 9)
    order, starts = kernels.split(kernels.padded(vectors), 9, None, 40, 0)
    assert len(starts) == 41
    np.testing.assert_array_equal(np.sort(order), np.arange(2000))
    assert (np.diff(starts) > 0).all()
    cells = [vectors[order[a:b]].astype(np.float64) for a, b in pairwise(starts)]
    within = sum(((c - c.mean(axis=0)) ** 2).sum() for c in cells)
    whole = ((vectors - vectors.mean(axis=0, dtype=np.float64)) ** 2).sum()
    # The clumps themselves leave 0.022 of the whole.
    assert within < 0.08 * whole


def test_split_stops_where_cells_have_no_error(cpu_backend: Backend) -> None:
    vectors = np.repeat(made(5, 9), 20, axis=0)
    _, starts = kernels.split(kernels.padded(vectors), 9, None, 50, 0)
    assert len(starts) == 6


@pytest.mark.parametrize("threads", [2, 3])
def test_same_bits_for_any_number_of_threads(cpu_backend: Backend, threads: int) -> None:
    vectors = made(5000, 24)
    rows = kernels.padded(vectors)

    def everything() -> list[np.ndarray]:
        order, starts = kernels.split(rows, 24, None, 700, 0)
        entries = kernels.update(rows, kernels.padded(vectors[:700]), 24, None, order, starts)
        start = np.zeros(5000, np.int32)
        labels, errors, _ = kernels.assign_near(rows, entries, 24, start, order, 64)
        sorter = kernels.GridSorter(vectors[:, :8], 80, 63, np.arange(5000, dtype=np.int32))
        for radius in (20, 9, 3, 1):
            sorter.round(radius, 2, radius)
        return [order, starts, entries, labels, errors, *kernels.assign(rows, entries, 24), sorter.cells]

    try:
        cpu.set_threads(1)
        one = everything()
        cpu.set_threads(threads)
        many = everything()
    finally:
        cpu.set_threads(0)
    for a, b in zip(one, many):
        np.testing.assert_array_equal(a, b)


def test_intervals_are_the_best_of_all_cuts(cpu_backend: Backend) -> None:
    rng = np.random.default_rng(7)
    x, w = np.sort(rng.standard_normal(60)), rng.uniform(0.1, 3, 60)
    sums = np.zeros((61, 3))
    sums[1:] = np.cumsum(np.stack([w, w * x, w * x * x], axis=1), axis=0)

    def error(a: int, b: int) -> float:
        s = sums[b] - sums[a]
        return s[2] - s[1] ** 2 / s[0]

    # The plain dynamic programme, every beginning tried.
    best = [0.0] + [np.inf] * 60
    for _ in range(6):
        best = [np.inf] + [min(best[a] + error(a, b) for a in range(b)) for b in range(1, 61)]
    starts = kernels.intervals(sums, 6)
    found = sum(error(int(a), int(b)) for a, b in pairwise(starts))
    assert starts[0] == 0
    assert starts[-1] == 60
    assert found == pytest.approx(best[60], rel=1e-10)


def test_grid_rounds_lower_the_roughness(cpu_backend: Backend) -> None:
    rng = np.random.default_rng(8)
    x = rng.uniform(-1, 1, (590, 3)).astype(np.float32)
    sorter = kernels.GridSorter(x, 25, 24, np.arange(590, dtype=np.int32))
    for radius in (12, 9, 7, 5, 4, 3, 2, 1, 1):
        sorter.round(radius, 4, radius)
    np.testing.assert_array_equal(np.sort(sorter.cells), np.arange(590))
    grid = np.full((600, 3), np.nan)
    grid[:590] = x[sorter.cells]
    grid = grid.reshape(24, 25, 3)
    rough = np.nanmean((grid[1:] - grid[:-1]) ** 2) + np.nanmean((grid[:, 1:] - grid[:, :-1]) ** 2)
    # A random order has 4 times the variance of 1/3.
    assert rough < 0.25 * (4 / 3)


def test_rows_that_do_not_fit_are_refused() -> None:
    rows = kernels.padded(made(4, 9))
    with pytest.raises(DataError, match="not padded rows of 20 numbers"):
        kernels.assign(rows, rows, 20)
    with pytest.raises(DataError, match="4 vectors and no entry"):
        kernels.assign(rows, rows[:0], 9)
    with pytest.raises(DataError, match="16 numbers wide and entries 32"):
        kernels.assign(rows, kernels.padded(made(4, 24)), 9)
    with pytest.raises(DataError, match=r"labels must lie in 0\.\.3"):
        kernels.assign_near(rows, rows, 9, np.full(4, 4, np.int32), np.arange(4, dtype=np.int32), 4)
    with pytest.raises(DataError, match="weights must be contiguous float32"):
        kernels.split(rows, 9, np.ones(3, np.float32), 2, 0)
    with pytest.raises(DataError, match="3 bins cannot be cut into 4"):
        kernels.intervals(np.zeros((4, 3)), 4)
    with pytest.raises(DataError, match="do not fit a grid of 1x3"):
        kernels.GridSorter(made(4, 9), 1, 3, np.arange(4, dtype=np.int32))

# SPDX-License-Identifier: Apache-2.0
"""Orders: codes by hand, outliers, how smooth a sorted grid is, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sparse3d.bench.compress import made_splats
from sparse3d.compress.order import grid_order, image_features, morton_order
from sparse3d.errors import DataError
from sparse3d.kernels import cpu


def is_permutation(order: Tensor, n: int) -> bool:
    return order.dtype == torch.int64 and torch.equal(order.sort().values, torch.arange(n))


def roughness(x: Tensor, order: Tensor, width: int) -> float:
    """Mean squared step to the right and down, over twice the variance: about 1 where the order is random."""
    n = len(order)
    y = x[order].double()
    k = torch.arange(n)
    right = k[(k % width != width - 1) & (k + 1 < n)]
    down = k[k + width < n]
    steps = torch.cat([y[right + 1] - y[right], y[down + width] - y[down]])
    return float((steps**2).mean() / (2 * y.var(dim=0, correction=0).mean()))


def test_morton_order_of_a_cube_interleaves_bits() -> None:
    side = torch.arange(4.0)
    grid = torch.cartesian_prod(side, side, side)

    def code(x: int, y: int, z: int) -> int:
        return sum((x >> b & 1) << (3 * b + 2) | (y >> b & 1) << (3 * b + 1) | (z >> b & 1) << (3 * b) for b in (0, 1))

    shuffled = grid[torch.randperm(64, generator=torch.Generator().manual_seed(0))]
    codes = [code(*(int(v) for v in row)) for row in shuffled[morton_order(shuffled)]]
    assert codes == list(range(64))


def test_morton_order_is_robust_against_outliers() -> None:
    g = torch.Generator().manual_seed(1)
    cloud = torch.rand(5000, 3, generator=g)
    with_outliers = torch.cat([cloud, torch.tensor([[1e30, 0, 0], [-1e30, 5, 1e20]])])
    order = morton_order(with_outliers)
    assert is_permutation(order, 5002)

    def steps(order: Tensor) -> float:
        return float(cloud[order].diff(dim=0).norm(dim=1).mean())

    inside = order[order < 5000]
    assert steps(inside) == pytest.approx(steps(morton_order(cloud)), rel=0.05)
    assert steps(inside) < 0.15


def test_morton_order_of_little() -> None:
    assert morton_order(torch.zeros(0, 3)).shape == (0,)
    assert morton_order(torch.ones(4, 3)).tolist() == [0, 1, 2, 3]
    assert morton_order(torch.tensor([[5.0, 1.0, 2.0]])).tolist() == [0]


# A full grid, a last row in part, empty rows below, and one row only.
@pytest.mark.parametrize(("n", "width", "height"), [(900, 30, 30), (1110, 37, 31), (700, 40, 40), (500, 500, 1)])
def test_grid_order_is_smooth(n: int, width: int, height: int) -> None:
    x = torch.rand(n, 3, generator=torch.Generator().manual_seed(2))
    order = grid_order(x, width, height)
    assert is_permutation(order, n)
    assert roughness(x, torch.arange(n), width) > 0.9
    assert roughness(x, order, width) < (0.15 if height > 1 else 0.3)


def test_grid_order_unrolls_a_shuffled_picture() -> None:
    """Two features that fill a square can be laid out almost without error."""
    u, v = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 40), indexing="ij")
    x = torch.stack([u.reshape(-1), v.reshape(-1)], dim=1)
    x = x[torch.randperm(1600, generator=torch.Generator().manual_seed(3))]
    order = grid_order(x, 40, 40)
    # The true layout has steps of 1/39 in one of the two features.
    least = 0.5 * (1 / 39) ** 2 / (2 * float(x.double().var(dim=0, correction=0).mean()))
    assert roughness(x, order, 40) < 2.5 * least


def test_grid_order_depends_on_nothing_but_its_arguments() -> None:
    x = torch.randn(700, 8, generator=torch.Generator().manual_seed(4))
    try:
        found = []
        for threads in (1, 2, 3):
            cpu.set_threads(threads)
            found.append(grid_order(x, 27, 27))
    finally:
        cpu.set_threads(0)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], grid_order(x, 27, 27, seed=1))


def test_image_features_lay_near_splats_side_by_side() -> None:
    splats = made_splats(2500, 5)
    features = image_features(splats)
    assert features.shape == (2500, 10)
    order = grid_order(features, 50, 50)
    places = torch.sign(splats.means) * torch.log1p(splats.means.abs())
    assert roughness(places, order, 50) < 0.5 * roughness(places, morton_order(splats.means), 50)
    assert torch.isfinite(image_features(splats.select(torch.tensor([3])))).all()


def test_grid_order_of_little() -> None:
    assert grid_order(torch.zeros(0, 3), 4, 4).shape == (0,)
    assert grid_order(torch.zeros(1, 3), 1, 1).tolist() == [0]
    assert is_permutation(grid_order(torch.ones(17, 3), 4, 5), 17)
    assert is_permutation(grid_order(torch.rand(3, 16) * 1e30, 2, 2), 3)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="row 1 of 2 has a number that is not finite"):
        morton_order(torch.tensor([[0.0, 0, 0], [0, float("inf"), 0]]))
    with pytest.raises(DataError, match=r"must be \[N,3\]"):
        morton_order(torch.zeros(3, 2))
    with pytest.raises(DataError, match="10 vectors do not fit a grid of 3x3"):
        grid_order(torch.zeros(10, 3), 3, 3)
    with pytest.raises(DataError, match="D from 1 to 16"):
        grid_order(torch.zeros(10, 17), 4, 4)
    with pytest.raises(DataError, match="row 0 of 1"):
        grid_order(torch.full((1, 2), float("nan")), 1, 1)

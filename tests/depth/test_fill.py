# SPDX-License-Identifier: Apache-2.0
"""Filling in along the photo's surfaces."""

from __future__ import annotations

import numpy as np

from sparse3d.depth.fill import fill_edge_aware

H, W = 40, 60


def two_halves(step: int = 120) -> np.ndarray:
    rgb = np.full((H, W, 3), 60, np.uint8)
    rgb[:, W // 2 :] += step
    return rgb


def test_a_value_stays_on_its_side_of_an_edge() -> None:
    values, weight = np.zeros((H, W), np.float32), np.zeros((H, W), np.float32)
    for column, value in ((5, 1.0), (50, 3.0)):
        values[::7, column], weight[::7, column] = value, 1.0
    filled, arrived = fill_edge_aware(values, weight, two_halves())
    assert (arrived > 0).all()
    np.testing.assert_allclose(filled[:, : W // 2], 1.0, atol=0.01)
    np.testing.assert_allclose(filled[:, W // 2 :], 3.0, atol=0.01)
    # The same without an edge: a way from one to the other, never beyond them.
    mixed, _ = fill_edge_aware(values, weight, two_halves(0))
    assert 1.5 < mixed[20, 28] < 2.5
    assert mixed.min() >= 1.0 - 1e-5
    assert mixed.max() <= 3.0 + 1e-5


def test_known_values_are_kept() -> None:
    rng = np.random.default_rng(0)
    weight = (rng.random((H, W)) < 0.3).astype(np.float32) * rng.random((H, W), dtype=np.float32)
    rgb = rng.integers(0, 255, (H, W, 3)).astype(np.uint8)
    filled, arrived = fill_edge_aware(np.full((H, W), 0.37, np.float32), weight, rgb)
    np.testing.assert_allclose(filled[arrived > 0], 0.37, rtol=1e-5)
    # Two surfaces with an edge between them, each known everywhere.
    values = np.where(np.arange(W) < W // 2, 1.0, 3.0).astype(np.float32) * np.ones((H, 1), np.float32)
    filled, _ = fill_edge_aware(values, np.ones((H, W), np.float32), two_halves())
    np.testing.assert_allclose(filled, values, atol=0.02)


def test_less_arrives_the_farther_away_and_nothing_from_nothing() -> None:
    values, weight = np.zeros((H, W), np.float32), np.zeros((H, W), np.float32)
    none, arrived = fill_edge_aware(values, weight, two_halves(0))
    assert not none.any()
    assert not arrived.any()
    values[:, 0], weight[:, 0] = 2.0, 1.0
    _, arrived = fill_edge_aware(values, weight, two_halves(0), reach_px=8.0)
    assert (np.diff(arrived[H // 2]) < 0).all()
    _, wide = fill_edge_aware(values, weight, two_halves(0), reach_px=30.0)
    assert wide[H // 2, -1] > 2 * arrived[H // 2, -1]


def test_turned_pictures_are_filled_alike() -> None:
    values, weight = np.zeros((H, W), np.float32), np.zeros((H, W), np.float32)
    values[10, 12], weight[10, 12] = 2.0, 1.0
    values[30, 50], weight[30, 50] = 5.0, 1.0
    _, arrived = fill_edge_aware(values, weight, two_halves())
    flipped, flipped_arrived = fill_edge_aware(values[:, ::-1], weight[:, ::-1], two_halves()[:, ::-1])
    np.testing.assert_allclose(flipped_arrived[:, ::-1], arrived, rtol=1e-4, atol=1e-7)
    assert flipped.max() <= 5.0 + 1e-4

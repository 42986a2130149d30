# SPDX-License-Identifier: Apache-2.0
"""Selections by place, value and neighbourhood, and how they combine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sparse3d.edit import Context, Document, apply, preview, replay, rows_values
from sparse3d.edit.values import values_of
from sparse3d.errors import UsageError
from tests.edit.clouds import cloud

LEFT: dict[str, Any] = {"op": "select_range", "of": "x", "high": 0}
LOW: dict[str, Any] = {"op": "select_range", "of": "y", "high": 0}


@pytest.mark.parametrize(
    ("mode", "combine"),
    [
        ("replace", lambda left, low: low),
        ("add", lambda left, low: left | low),
        ("subtract", lambda left, low: left & ~low),
        ("intersect", lambda left, low: left & low),
    ],
)
def test_modes(mode: str, combine: Any) -> None:
    document = Document(cloud())
    x, y, _ = document.all_rows().means.numpy().T
    apply(document, LEFT)
    apply(document, {**LOW, "mode": mode})
    assert np.array_equal(document.selected, combine(x <= 0, y <= 0))
    apply(document, {"op": "invert_selection"})
    assert np.array_equal(document.selected, ~combine(x <= 0, y <= 0))
    assert apply(document, {"op": "select_none"}).count == (~combine(x <= 0, y <= 0)).sum()
    assert not document.selected.any()


def test_sphere_and_turned_box() -> None:
    document = Document(cloud(500))
    means = document.all_rows().means.numpy().astype(np.float64)
    apply(document, {"op": "select_sphere", "center": [0.2, 0, 0], "radius": 0.7})
    assert np.array_equal(document.selected, np.linalg.norm(means - [0.2, 0, 0], axis=1) <= 0.7)
    half = np.sqrt(0.5)
    eighth = [float(np.cos(np.pi / 8)), 0, 0, float(np.sin(np.pi / 8))]
    apply(document, {"op": "select_box", "center": [0, 0, 0], "size": [2, 0.5, 9], "quat_wxyz": eighth})
    along, across = half * (means[:, 0] + means[:, 1]), half * (means[:, 1] - means[:, 0])
    assert np.array_equal(document.selected, (abs(along) <= 1) & (abs(across) <= 0.25))


def test_values_are_those_of_the_splats() -> None:
    splats = cloud()
    np.testing.assert_allclose(values_of(splats, "opacity"), splats.opacities.numpy(), atol=1e-6)
    np.testing.assert_allclose(values_of(splats, "size"), splats.scales.max(1).values.numpy(), rtol=1e-5)
    np.testing.assert_allclose(values_of(splats, "green"), 0.5 + 0.28209479 * splats.sh0[:, 0, 1].numpy(), atol=1e-6)
    far = values_of(splats, "distance", point=(1, 2, 3))
    np.testing.assert_allclose(far, np.linalg.norm(splats.means.numpy() - [1, 2, 3], axis=1), rtol=1e-5)
    with pytest.raises(UsageError, match="choose one of opacity, size"):
        values_of(splats, "opacitie")


def test_given_values_select_and_replay_without_them() -> None:
    document = Document(cloud(50))
    confidence = np.arange(50) / 50
    context = Context(values={"confidence": confidence})
    apply(document, {"op": "select_range", "of": "confidence", "high": 0.3}, context)
    assert np.array_equal(document.selected, confidence <= 0.3)
    apply(document, {"op": "delete"})
    other = Document(cloud(50))
    replay(other, document.operations)
    assert np.array_equal(other.present, document.present)
    with pytest.raises(UsageError, match="give one for each"):
        apply(document, {"op": "select_range", "of": "confidence"}, Context(values={"confidence": confidence[:9]}))


def test_grow_and_shrink_go_by_neighbours() -> None:
    """On a line of splats each has four neighbours to each side."""
    splats = cloud(60)
    splats = replace(splats, means=torch.stack([torch.arange(60.0), torch.zeros(60), torch.zeros(60)], dim=1))
    document = Document(splats)
    apply(document, {"op": "select_range", "of": "x", "low": 20, "high": 30})
    apply(document, {"op": "grow_selection"})
    assert np.flatnonzero(document.selected).tolist() == list(range(16, 35))
    apply(document, {"op": "shrink_selection"})
    assert np.flatnonzero(document.selected).tolist() == list(range(20, 31))
    apply(document, {"op": "grow_selection", "steps": 2})
    assert np.flatnonzero(document.selected).tolist() == list(range(12, 39))


def test_flood_stops_at_a_gap_and_at_another_colour() -> None:
    splats = cloud(60, degree=0)
    place = torch.arange(60.0)
    place[40:] += 30.0
    splats.means[:] = torch.stack([place, torch.zeros(60), torch.zeros(60)], dim=1)
    splats.sh0[:] = 0.0
    splats.sh0[20:23] = 1.0
    document = Document(splats)
    op = {"op": "select_flood", "point": [30, 0.1, 0]}
    apply(document, {**op, "reach": 1.5})
    assert np.flatnonzero(document.selected).tolist() == list(range(23, 40))
    apply(document, {**op, "reach": 1.5, "tolerance": 1})
    assert np.flatnonzero(document.selected).tolist() == list(range(40))
    apply(document, {**op, "reach": 4.5})
    assert np.flatnonzero(document.selected).tolist() == [n for n in range(40) if not 20 <= n < 23]


def test_preview_changes_nothing() -> None:
    document = Document(cloud())
    apply(document, LEFT)
    operations = document.operations
    would = preview(document, LOW)
    assert np.array_equal(would, document.all_rows().means.numpy()[:, 1] <= 0)
    assert np.array_equal(preview(document, {"op": "delete"}), document.selected)
    assert document.operations == operations
    assert document.present.all()


def test_rows_of_another_document_are_refused() -> None:
    with pytest.raises(UsageError, match="the source has changed"):
        apply(Document(cloud(9)), {"op": "select_rows", "rows": rows_values(np.ones(8, bool))})

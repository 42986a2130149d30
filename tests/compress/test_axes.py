# SPDX-License-Identifier: Apache-2.0
"""Axes named anew: the same ellipsoids, with rotations as small as they can be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sparse3d.compress import axes
from sparse3d.compress.axes import with_axes_near
from sparse3d.geometry.quaternions import rotation_from_quats
from sparse3d.splats import Splats


def some(count: int = 500, seed: int = 3) -> Splats:
    g = torch.Generator().manual_seed(seed)
    return Splats(
        torch.randn(count, 3, generator=g), torch.randn(count, 4, generator=g) * 3, torch.randn(count, 3, generator=g),
        torch.zeros(count), torch.zeros(count, 1, 3), torch.zeros(count, 0, 3),
    )  # fmt: skip


def covariances(splats: Splats) -> torch.Tensor:
    axes = rotation_from_quats(splats.quats_wxyz.double()) * splats.log_scales.double().exp()[:, None]
    return axes @ axes.transpose(1, 2)


def test_the_ellipsoids_stay_and_turns_become_small():
    splats = some()
    named = with_axes_near(splats)
    assert torch.allclose(covariances(named), covariances(splats), rtol=1e-4, atol=1e-5)
    assert torch.equal(named.log_scales.sort(dim=1).values, splats.log_scales.sort(dim=1).values)
    # No rotation is farther than 62.8 degrees from the nearest of a cube's.
    assert float(named.quats_wxyz[:, 0].min()) > 0.853
    assert torch.allclose(named.quats_wxyz.norm(dim=1), torch.ones(500))
    assert torch.allclose(with_axes_near(named).quats_wxyz, named.quats_wxyz, atol=1e-6)


def test_back_to_the_axes_they_had():
    splats = some()
    unit = torch.nn.functional.normalize(splats.quats_wxyz, dim=1)
    back = with_axes_near(with_axes_near(splats), unit)
    assert torch.allclose(back.quats_wxyz, unit, atol=1e-6)
    assert torch.equal(back.log_scales, splats.log_scales)


def test_splats_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch):
    whole = with_axes_near(some())
    monkeypatch.setattr(axes, "_BLOCK", 64)
    blocks = with_axes_near(some())
    assert torch.equal(blocks.quats_wxyz, whole.quats_wxyz)
    assert torch.equal(blocks.log_scales, whole.log_scales)


def test_no_rotation_at_all_stays():
    splats = replace(some(2), quats_wxyz=torch.tensor([[0.0] * 4, [1e-6, 0.0, 0.0, 0.0]]))
    named = with_axes_near(splats)
    assert named.quats_wxyz.tolist() == [[0.0] * 4, [1.0, 0.0, 0.0, 0.0]]
    assert torch.equal(named.log_scales, splats.log_scales)

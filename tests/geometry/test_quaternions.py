# SPDX-License-Identifier: Apache-2.0
"""Rotation matrices of quaternions: known turns, and numpy and torch alike."""

from __future__ import annotations

import numpy as np
import torch

from sparse3d.geometry.quaternions import rotation_from_quats, rotation_from_unit_quats


def test_a_quarter_turn_about_each_axis() -> None:
    half = np.sqrt(0.5)
    turns = rotation_from_unit_quats(np.array([[half, half, 0, 0], [half, 0, half, 0], [half, 0, 0, half]]))
    expected = [
        [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
        [[0, 0, 1], [0, 1, 0], [-1, 0, 0]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
    ]
    np.testing.assert_allclose(turns, expected, atol=1e-15)
    np.testing.assert_array_equal(rotation_from_unit_quats(np.array([half, half, 0, 0])), turns[0])


def test_numpy_and_torch_agree() -> None:
    quats = np.random.default_rng(0).standard_normal((50, 4))
    unit = quats / np.linalg.norm(quats, axis=1, keepdims=True)
    of_torch = rotation_from_quats(torch.from_numpy(quats)).numpy()
    np.testing.assert_allclose(rotation_from_unit_quats(unit), of_torch, atol=1e-14)
    np.testing.assert_allclose(
        of_torch @ of_torch.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (50, 3, 3)), atol=1e-14
    )

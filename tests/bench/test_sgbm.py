# SPDX-License-Identifier: Apache-2.0
"""What we compare with is used as it should be: StereoSGBM finds the depth of a known scene, whichever way the
cameras stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparse3d.bench.sgbm import sgbm_depth
from sparse3d.kernels.cpu.mvs import DepthRange
from tests.load import board_scene


@pytest.mark.parametrize("roll_deg", [0, 90, 180])
@pytest.mark.parametrize("index", [0, 1])
def test_depth_of_a_pair(roll_deg: int, index: int) -> None:
    """Rolled cameras: base to the right, up, and to the left. Each photo as the first of its pair."""
    turn = np.deg2rad(roll_deg)
    roll = np.eye(4)
    roll[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    cameras = [replace(c, cam_from_world=roll @ c.cam_from_world) for c in board_scene.cameras(2, size=(200, 200))]
    seen = [board_scene.photograph(camera) for camera in cameras]
    depth = sgbm_depth(cameras, [rgb for rgb, _ in seen], index, DepthRange(1 / 10, 1 / 2))
    assert depth.shape == (200, 200)
    found = depth > 0
    assert found.mean() > 0.6
    error = np.abs(depth / seen[index][1] - 1)[found]
    assert np.median(error) < 0.01
    assert (error < 0.03).mean() > 0.9


def test_photos_from_one_place_have_no_depth() -> None:
    camera = board_scene.cameras(2, size=(64, 48))[0]
    rgb, _ = board_scene.photograph(camera)
    assert not sgbm_depth([camera, camera], [rgb, rgb], 0, DepthRange(0.1, 0.5)).any()

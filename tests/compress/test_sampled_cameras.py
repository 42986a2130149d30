# SPDX-License-Identifier: Apache-2.0
"""Cameras for a scene without photos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse3d.compress.importance import Measuring, importance
from sparse3d.compress.sampled_cameras import sample_cameras
from sparse3d.errors import DataError
from sparse3d.render import RenderOptions, render
from tests.compress.scene import ball, joined
from tests.train import tiny


def test_they_look_at_the_scene_from_many_sides():
    splats = tiny.true_splats()
    cameras = sample_cameras(splats, 12, side_px=40)
    assert len(cameras) == 12
    assert all((c.width, c.height) == (40, 40) for c in cameras)
    eyes = np.stack([c.position for c in cameras])
    assert np.linalg.norm(eyes, axis=1).max() < 8.0
    # Some from each side of each axis.
    assert (eyes.min(axis=0) < -0.4).all()
    assert (eyes.max(axis=0) > 0.4).all()
    filled = [float((render(splats, c).alpha > 0.5).float().mean()) for c in cameras]
    assert np.median(filled) > 0.5


def test_no_camera_stands_in_a_wall_of_far_splats():
    """One splat far off moves neither bounds nor cameras."""
    splats = tiny.true_splats()
    far = splats.select(torch.tensor([0]))
    far.means[:] = 1e4
    for a, b in zip(sample_cameras(splats, 6), sample_cameras(joined(splats, far), 6), strict=True):
        assert np.linalg.norm(a.position) < 10.0
        assert np.linalg.norm(b.position) < 10.0


def test_what_they_see_is_what_matters():
    """Splats inside of an opaque ball are worth nothing, those on it are."""
    inside = replace(tiny.true_splats(), means=tiny.true_splats().means * 0.2)
    splats = joined(ball(1.5, 2500), replace(inside, log_scales=inside.log_scales - 1.0))
    cameras = [c for c in sample_cameras(splats, 10, side_px=64) if np.linalg.norm(c.position) > 1.8]
    assert len(cameras) >= 3
    found = importance(splats, cameras, Measuring(probes=1))
    assert float(found.weight[2500:].sum()) < 0.01 * float(found.weight[:2500].sum())
    depths = [float(render(splats, c, RenderOptions(depth=True)).median_depth.max()) for c in cameras]
    assert min(depths) > 0.2


def test_they_are_the_same_every_time_and_need_a_splat():
    splats = tiny.true_splats()
    first, second = sample_cameras(splats, 5), sample_cameras(splats, 5)
    assert all(np.array_equal(a.cam_from_world, b.cam_from_world) for a, b in zip(first, second, strict=True))
    with pytest.raises(DataError, match="no visible splat"):
        sample_cameras(splats.select(torch.arange(0)))
    splats.means[:] = torch.nan
    with pytest.raises(DataError, match="no visible splat"):
        sample_cameras(splats)

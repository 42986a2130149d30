# SPDX-License-Identifier: Apache-2.0
"""How many photos support what is seen: a row of opaque discs, of which each photo shows its own part."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse3d.camera import Camera
from sparse3d.judge.coverage import EMPTY, CoverageCameras, coverage_cameras, coverage_record, support_levels
from sparse3d.judge.support import count_support, supports
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats

PLACES = (-2.0, -1.0, 0.0, 1.0, 2.0)


def discs(depth: float = 4.0) -> Splats:
    """Five opaque discs in a row across the view, grey."""
    count = len(PLACES)
    return Splats(
        means=torch.tensor([[x, 0.0, depth] for x in PLACES]),
        quats_wxyz=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1),
        log_scales=torch.log(torch.tensor([[0.15, 0.15, 0.01]])).repeat(count, 1),
        logit_opacities=torch.full((count,), 6.0),
        sh0=torch.zeros(count, 1, 3),
        shN=torch.zeros(count, 0, 3),
    )


def looking_ahead(x: float, width: int = 48) -> Camera:
    """A camera at x that looks along z; 48 px wide sees 2 units to each side at depth 4."""
    pose = np.eye(4)
    pose[0, 3] = -x
    return Camera(width, 48, 48.0, 48.0, width / 2, 24.0, pose)


def test_each_photo_supports_what_it_shows():
    cameras = [looking_ahead(-0.8), looking_ahead(0.0, width=20), looking_ahead(1.2)]
    # The second sees only the middle one; the others four each, of five.
    expected = [[1, 1, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 1]]
    assert [supports(discs(), camera).int().tolist() for camera in cameras] == [[*row] for row in expected]
    assert count_support(discs(), cameras).tolist() == np.sum(expected, axis=0).tolist()


def test_what_is_hidden_or_floats_is_not_supported():
    camera = looking_ahead(0.0, width=44)
    behind = discs(depth=6.0).select(torch.tensor([2]))
    both = replace(discs(), **{name: torch.cat([t, getattr(behind, name)]) for name, t in discs().named()})
    assert supports(both, camera).tolist() == [False, True, True, True, False, False]
    # Half transparent and clearly before the surface: seen, but not at what the photo shows.
    before = replace(discs(depth=3.0).select(torch.tensor([2])), logit_opacities=torch.tensor([-1.0]))
    both = replace(discs(), **{name: torch.cat([t, getattr(before, name)]) for name, t in discs().named()})
    assert supports(both, camera).tolist() == [False, True, True, True, False, False]


def test_levels_are_those_of_what_is_in_front():
    support = torch.tensor([0, 1, 2, 3, 200], dtype=torch.uint8)
    levels = support_levels(discs(), support, looking_ahead(0.0, width=64))
    columns = [32 + 12 * round(x) for x in PLACES]
    assert [int(levels[24, column]) for column in columns] == [0, 1, 2, 3, 3]
    assert int(levels[2, 2]) == EMPTY
    assert (levels == EMPTY).float().mean() > 0.5


def test_shares_sum_to_one_and_know_the_background():
    levels = [torch.tensor([[EMPTY, 0, 1, 1], [2, 3, 3, 3]])]
    cameras = CoverageCameras((), True)
    seen = coverage_record(levels, cameras, empty_is_known=False)
    assert seen == {"cameras": "held_out", "views": 1, "unseen": 0.25, "one_view": 0.25, "two_or_more": 0.5}
    known = coverage_record(levels, cameras, empty_is_known=True)
    assert known["unseen"] == pytest.approx(1 / 7, abs=1e-4)
    assert sum(known[name] for name in ("unseen", "one_view", "two_or_more")) == pytest.approx(1.0, abs=2e-4)
    nothing = coverage_record([torch.full((2, 2), EMPTY)], cameras, empty_is_known=True)
    assert nothing["unseen"] is None


def test_cameras_to_judge_from(tiny_scene: Scene):
    found = coverage_cameras(tiny_scene)
    assert found.held_out
    assert [camera.name for camera in found.cameras] == ["03.png", "07.png"]
    between = coverage_cameras(replace(tiny_scene, train=(0, 1, 2), test=()))
    assert not between.held_out
    assert len(between.cameras) == 4
    places = np.array([camera.position for camera in between.cameras])
    for index in (0, 1, 2):
        assert np.linalg.norm(places - tiny_scene.cameras[index].position, axis=1).min() > 0.1
    alone = coverage_cameras(replace(tiny_scene, train=(0,), test=()))
    assert all(math.dist(camera.position, tiny_scene.cameras[0].position) > 0.05 for camera in alone.cameras)

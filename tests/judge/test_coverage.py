# SPDX-License-Identifier: Apache-2.0
"""How many photos support what is seen: a row of opaque discs, of which each photo shows its own part."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.judge import coverage as module
from sparse3d.judge.coverage import EMPTY, CoverageCameras, coverage, coverage_cameras, coverage_record, support_levels
from sparse3d.judge.support import count_support, read_support, supports, write_support
from sparse3d.kernels.records import View, view_of
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats
from tests.train import tiny

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


def looking_ahead(x: float, width: int = 48) -> View:
    """A camera at x that looks along z; 48 px wide sees 2 units to each side at depth 4."""
    pose = np.eye(4)
    pose[0, 3] = -x
    return view_of(Camera(width, 48, 48.0, 48.0, width / 2, 24.0, pose))


def test_each_photo_supports_what_it_shows():
    views = [looking_ahead(-0.8), looking_ahead(0.0, width=20), looking_ahead(1.2)]
    # The second sees only the middle one; the others four each, of five.
    expected = [[1, 1, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 1]]
    assert [supports(discs(), view).int().tolist() for view in views] == [[*row] for row in expected]
    assert count_support(discs(), views).tolist() == np.sum(expected, axis=0).tolist()


def test_what_is_hidden_or_floats_is_not_supported():
    view = looking_ahead(0.0, width=44)
    behind = discs(depth=6.0).select(torch.tensor([2]))
    both = replace(discs(), **{name: torch.cat([t, getattr(behind, name)]) for name, t in discs().named()})
    assert supports(both, view).tolist() == [False, True, True, True, False, False]
    # Half transparent and clearly before the surface: seen, but not at what the photo shows.
    before = replace(discs(depth=3.0).select(torch.tensor([2])), logit_opacities=torch.tensor([-1.0]))
    both = replace(discs(), **{name: torch.cat([t, getattr(before, name)]) for name, t in discs().named()})
    assert supports(both, view).tolist() == [False, True, True, True, False, False]


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


def test_the_picture_and_the_numbers(tiny_scene: Scene):
    splats = tiny.true_splats()
    support = count_support(splats, [view_of(tiny_scene.cameras[i]) for i in tiny_scene.train])
    assert support.dtype == torch.uint8
    assert 1 <= int(support.float().median()) <= 8
    png, record = coverage(tiny_scene, splats, support, torch.zeros(3))
    assert record["cameras"] == "held_out"
    assert record["views"] == 2
    # The black around the ball counts as unseen: these photos have no masks.
    assert record["unseen"] > 0.2
    assert record["two_or_more"] > 0.3
    with Image.open(io.BytesIO(png)) as page:
        assert page.format == "PNG"
        pixels = np.asarray(page.convert("RGB")).reshape(-1, 3)
    # Two held-out and two training photos, each beside its map, whose green is the commonest colour beside the paper.
    green = (pixels[:, 1] > pixels[:, 0] + 30) & (pixels[:, 1] > pixels[:, 2] + 30)
    assert green.sum() > 4 * 500
    no_support, none = coverage(tiny_scene, splats, torch.zeros(150, dtype=torch.uint8), torch.zeros(3))
    assert none["unseen"] == 1.0
    assert no_support != png


def test_a_large_picture_is_drawn_smaller(tiny_scene: Scene, monkeypatch: pytest.MonkeyPatch):
    support = torch.full((150,), 3, dtype=torch.uint8)
    whole, _ = coverage(tiny_scene, tiny.true_splats(), support, torch.zeros(3))
    monkeypatch.setattr(module, "_MOST_BYTES", len(whole) - 3000)
    smaller, _ = coverage(tiny_scene, tiny.true_splats(), support, torch.zeros(3))
    assert len(smaller) <= len(whole) - 3000


def test_support_is_kept_in_a_file(tmp_path: Path):
    support = torch.tensor([0, 1, 2, 255], dtype=torch.uint8)
    write_support(tmp_path / "support.safetensors", support, 300)
    assert torch.equal(read_support(tmp_path / "support.safetensors"), support)
    (tmp_path / "other").write_text("hello")
    with pytest.raises(DataError, match="not a file of tensors"):
        read_support(tmp_path / "other")

# SPDX-License-Identifier: Apache-2.0
"""The start of a few photos: what it needs to know before dense depth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse3d.records.points import Points
from sparse3d.records.scene import Scene
from sparse3d.start.config import StartConfig
from sparse3d.start.find import Search, find_start
from tests.load import board_scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return board_scene.write_scene(tmp_path / "board", board_scene.cameras(2))


def on_surfaces(scene: Scene, count: int) -> Points:
    """Random points of what the first photo sees."""
    camera = scene.cameras[0]
    depth = board_scene.photograph(camera)[1]
    rng = np.random.default_rng(0)
    x, y = rng.integers(camera.width, size=count), rng.integers(camera.height, size=count)
    ray = np.stack([(x + 0.5 - camera.cx) / camera.fx, (y + 0.5 - camera.cy) / camera.fy, np.ones(count)], axis=1)
    xyz = (ray * depth[y, x, None]) @ camera.world_from_cam[:3, :3].T + camera.position
    return Points(xyz.astype(np.float32), np.full((count, 3), 0.5, np.float32))


def stages_of(scene: Scene) -> tuple[list[str], NDArray[np.float32]]:
    told: list[str] = []
    start = find_start(scene, Search(StartConfig(surround=0.0), progress=lambda stage, _: told.append(stage)))
    return told, start.points.xyz


def test_many_points_of_structure_from_motion_spare_the_triangulation(scene: Scene) -> None:
    many = replace(scene, points=on_surfaces(scene, 1500), camera_source="sfm_all")
    told, found = stages_of(many)
    assert set(told) == {"dense depth"}
    distance, _ = board_scene.distance_to_surfaces(found.astype(np.float64))
    assert np.median(distance) < 0.05


def test_few_points_of_structure_from_motion_are_not_enough(scene: Scene) -> None:
    few = replace(scene, points=on_surfaces(scene, 60), camera_source="sfm_all")
    told, _ = stages_of(few)
    assert {"features", "matching", "dense depth"} <= set(told)

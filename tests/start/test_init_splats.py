# SPDX-License-Identifier: Apache-2.0
"""From points to the first splats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparse3d.conventions import SH_C0
from sparse3d.errors import DataError, UsageError
from sparse3d.records.points import Points
from sparse3d.start.init_splats import init_splats
from sparse3d.start.points import initial_points
from tests.depth.plane_scene import cameras_on_arc, write_scene


def _points(count: int = 400, seed: int = 2) -> Points:
    rng = np.random.default_rng(seed)
    return Points(rng.normal(size=(count, 3)).astype(np.float32), rng.random((count, 3), dtype=np.float32))


def test_splats_are_round_with_the_distance_to_three_neighbours() -> None:
    points = _points()
    splats = init_splats(points, 3)
    brute = np.sort(np.linalg.norm(points.xyz[:, None].astype(float) - points.xyz[None], axis=2), axis=1)[:, 1:4].mean(
        1
    )
    kept = np.minimum(brute, 10 * np.median(brute))
    assert np.abs(splats.scales[:, 0].numpy() / kept - 1).max() < 1e-4
    assert torch.equal(splats.log_scales[:, 0], splats.log_scales[:, 1])
    assert torch.allclose(splats.opacities, torch.full((400,), 0.1))
    assert torch.equal(splats.quats_wxyz, torch.tensor([[1.0, 0, 0, 0]]).expand(400, 4))
    assert splats.shN.shape == (400, 15, 3)
    assert not splats.shN.any()
    assert np.abs(0.5 + SH_C0 * splats.sh0[:, 0].numpy() - points.rgb).max() < 1e-6
    assert all(tensor.is_contiguous() and tensor.dtype == torch.float32 for _, tensor in splats.named())


def test_a_lone_point_starts_no_veil() -> None:
    points = _points()
    far = replace(points, xyz=np.concatenate([points.xyz[:-1], [[1000.0, 0, 0]]]).astype(np.float32))
    splats = init_splats(far, 0)
    assert splats.scales.max() <= 10.01 * splats.scales[:, 0].median() * 1.05


def test_points_at_one_place_are_moved_apart() -> None:
    points = _points(50)
    double = Points(np.concatenate([points.xyz, points.xyz[:5]]), np.concatenate([points.rgb, points.rgb[:5]]))
    splats = init_splats(double, 1, seed=3)
    assert len(torch.unique(splats.means, dim=0)) == 55
    assert torch.isfinite(splats.log_scales).all()
    assert torch.equal(splats.means, init_splats(double, 1, seed=3).means)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_points_work(count: int) -> None:
    splats = init_splats(_points(count), 2)
    assert splats.num_splats == count
    assert torch.isfinite(splats.log_scales).all()


def test_what_cannot_be_is_refused() -> None:
    none = Points(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))
    with pytest.raises(DataError, match="Cannot start from 0 points"):
        init_splats(none, 3)
    bad = _points(5)
    bad.xyz[2, 1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        init_splats(bad, 3)
    with pytest.raises(UsageError, match="outside 0 to 4"):
        init_splats(_points(5), 5)


def test_given_points_come_first(tmp_path: Path) -> None:
    given = _points(30)
    scene = replace(write_scene(tmp_path, cameras_on_arc(2), (0, 1)), points=given)
    points, sentence = initial_points(scene)
    assert points is given
    assert sentence == "30 given points"


def test_triangulated_points_come_second(tmp_path: Path) -> None:
    scene = write_scene(tmp_path, cameras_on_arc(3), (0, 1, 2))
    points, sentence = initial_points(scene)
    assert len(points) > 200
    assert sentence == f"{len(points):,} points triangulated from 3 training photos"


def test_random_points_come_last(tmp_path: Path) -> None:
    scene = write_scene(tmp_path, cameras_on_arc(1), (0,))
    points, sentence = initial_points(scene, seed=1)
    assert "random points in the common frustum" in sentence
    assert "one photo alone" in sentence
    assert np.array_equal(points.xyz, initial_points(scene, seed=1)[0].xyz)
    camera = scene.cameras[0]
    xy, _ = camera.project(points.xyz)
    column, row = np.clip(np.floor(xy).astype(int), 0, [camera.width - 1, camera.height - 1]).T
    assert np.abs(scene.images.rgb8(0)[row, column] / 255.0 - points.rgb).mean() < 0.01


def test_no_training_photo_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training photo"):
        initial_points(write_scene(tmp_path, cameras_on_arc(2), ()))

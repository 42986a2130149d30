# SPDX-License-Identifier: Apache-2.0
"""A run that starts with depth of the user's own: fitted to the points that the photos themselves give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparse3d.records.points import Points
from sparse3d.runs.config import RunConfig
from sparse3d.runs.kept_start import search_of
from sparse3d.start.config import StartConfig
from sparse3d.start.find import find_start
from sparse3d.start.points import sparse_points
from sparse3d.train.config import TrainConfig
from sparse3d.train.splats.terms.config import TermsConfig
from tests.depth.plane_scene import cameras_on_arc, write_scene
from tests.depth.test_prior_depth import plane_depth


@pytest.mark.parametrize("known", ["metric", "shape"])
def test_relative_depth_reaches_the_terms(tmp_path: Path, known: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "depth").mkdir()
    scene = write_scene(tmp_path / "photos", cameras_on_arc(3), train=(0, 1, 2))
    rng = np.random.default_rng(0)
    for i in range(3):
        disparity = 30.0 / plane_depth(scene.cameras[i]) - 2.0
        # What has nothing to do with the photos fits no points: only its shape is passed on.
        values = disparity if known == "metric" else rng.uniform(1.0, 9.0, disparity.shape)
        np.save(tmp_path / "depth" / f"view_{i:02d}.npy", values)
    settings = StartConfig(prior_depth=tmp_path / "depth", prior_depth_kind="disparity", dense="off")
    cfg = RunConfig(start=settings, train=TrainConfig(terms=TermsConfig(depth=0.1, depth_pearson=0.1)))
    start = find_start(scene, replace(search_of(cfg), workdir=tmp_path))
    assert sorted(start.depth_maps) == [0, 1, 2]
    assert any("prior depth" in note for note in start.notes)
    for i, found in start.depth_maps.items():
        assert found.metric is (known == "metric")
        if known == "metric":
            assert np.median(np.abs(found.depth / plane_depth(scene.cameras[i]) - 1.0)) < 0.005
            assert np.median(found.confidence) > 0.9


def test_points_of_structure_from_motion_are_kept_beside_triangulated_ones(tmp_path: Path) -> None:
    scene = write_scene(tmp_path, cameras_on_arc(3), train=(0, 1, 2))
    plain = sparse_points(scene)
    assert plain is not None
    own = Points(np.full((7, 3), 4.0, np.float32), np.zeros((7, 3), np.float32))
    estimated = replace(scene, points=own, camera_source="sfm_train")
    both = sparse_points(estimated)
    assert both is not None
    assert len(both) == len(plain) + 7
    # Given points are used by themselves, elsewhere.
    given = sparse_points(replace(estimated, camera_source="given"))
    assert given is not None
    assert len(given) == len(plain)
    alone = sparse_points(replace(estimated, train=(0,)))
    assert alone is own

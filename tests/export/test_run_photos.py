# SPDX-License-Identifier: Apache-2.0
"""A finished run opened again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sparse3d.errors import DataError
from sparse3d.export.refine import RefineConfig, prune_in_rounds, recover
from sparse3d.export.run_photos import open_run_photos
from sparse3d.load.config import SceneConfig
from sparse3d.runs.config import RunConfig
from sparse3d.runs.finished import FinishedRun
from sparse3d.runs.pipeline import run_training
from sparse3d.start.config import StartConfig
from sparse3d.train.config import CameraOptConfig, TrainConfig


@pytest.fixture(scope="module")
def run(sample_scene: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A few steps on the sample scene, with refined cameras."""
    out = tmp_path_factory.mktemp("runs") / "run"
    cfg = RunConfig(
        str(sample_scene),
        scene=SceneConfig(max_side=64, views="6"),
        start=StartConfig(dense="off"),
        train=TrainConfig(
            steps=30, threads=1, sh_degree=1, camera_opt=CameraOptConfig(enabled="on", start=0.0, rotation_rate=1e-2)
        ),
        few_views="off",
    )
    for _ in run_training(cfg, out):
        pass
    return FinishedRun.open(out)


def test_a_run_is_measured_and_refined_as_it_was_trained(run: FinishedRun):
    splats = run.splats
    with open_run_photos(run) as photos:
        assert len(photos.cameras) == 6
        assert photos.scores(splats).psnr is not None
        found = photos.importance(splats)
        assert found.weight.shape == (splats.num_splats,)
        assert float(found.weight.sum()) > 0.0
        cfg = RefineConfig(round_steps=5, rounds=2, threads=1)
        smaller = recover(photos, prune_in_rounds(photos, splats, 500, cfg), 5, cfg)
    assert smaller.num_splats == 500
    assert smaller.sh_degree == splats.sh_degree


def test_training_cameras_are_those_that_the_run_refined(run: FinishedRun, sample_scene: Path):
    poses = {}
    for name, scene in (("refined", None), ("moved", sample_scene)):
        with open_run_photos(run, scene) as photos:
            poses[name] = np.stack([camera.cam_from_world for camera in photos.cameras])
            given = photos.scene.train
    assert np.array_equal(poses["refined"], poses["moved"])
    assert len(given) == 6
    from sparse3d.load.scene import load_scene

    loaded = load_scene(sample_scene, SceneConfig(max_side=64, views="6"))
    original = np.stack([loaded.cameras[i].cam_from_world for i in loaded.train])
    loaded.images.close()
    assert 1e-4 < np.abs(poses["refined"] - original).max() < 0.5


def test_what_is_no_run_is_said(run: FinishedRun, tmp_path: Path):
    with pytest.raises(DataError, match="is not the folder of a run"), open_run_photos(FinishedRun.open(tmp_path)):
        pass
    with pytest.raises(DataError, match="--scene"), open_run_photos(run, tmp_path / "gone"):
        pass

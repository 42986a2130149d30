# SPDX-License-Identifier: Apache-2.0
"""A finished run opened again, a run that is not whole, and one of an earlier version."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparse3d import formats
from sparse3d.errors import DataError, UsageError
from sparse3d.formats.tensor_file import read_tensors, write_tensors
from sparse3d.load.config import SceneConfig
from sparse3d.load.scene import load_scene
from sparse3d.runs.config import RunConfig, read_run_config
from sparse3d.runs.finished import FinishedRun, cameras_beside, is_run, splat_file
from sparse3d.runs.pipeline import run_training
from sparse3d.start.config import StartConfig
from sparse3d.train import checkpoint
from sparse3d.train.config import CameraOptConfig, ExposureConfig, TrainConfig
from sparse3d.train.events import Stepped
from sparse3d.train.loop import Around
from sparse3d.train.splats.terms.config import TermsConfig
from tests.bench.helpers import write_scene
from tests.train import tiny

TRAIN = [i for i in range(tiny.VIEWS) if i % 5]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scenes") / "Szene é")


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run that has learned poses and exposures."""
    out = tmp_path_factory.mktemp("runs") / "run"
    cfg = RunConfig(
        str(photos),
        few_views="off",
        scene=SceneConfig(test_every=5),
        start=StartConfig(dense="off"),
        train=TrainConfig(
            steps=20, threads=1, sh_degree=1, camera_opt=CameraOptConfig(enabled="on", start=0.0, rotation_rate=1e-2),
            exposure=ExposureConfig(enabled=True),
        ),
    )  # fmt: skip
    for _ in run_training(cfg, out):
        pass
    return out


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> FinishedRun:
    """A copy of the run to take parts away from."""
    shutil.copytree(whole, tmp_path / "run")
    return FinishedRun.open(tmp_path / "run")


def without(run: FinishedRun, *names: str) -> FinishedRun:
    for name in names:
        (run.path / name).unlink()
    return FinishedRun(run.path)


def poses_of(run: FinishedRun, moved: Path | None = None, *, refined: bool = True) -> np.ndarray:
    """[V,4,4] of all photos."""
    with run.scene(moved, refined=refined) as scene:
        assert scene.train == tuple(TRAIN)
        return np.stack([camera.cam_from_world for camera in scene.cameras])


def test_each_part_is_what_the_run_wrote(run: FinishedRun):
    assert run.config == read_run_config(run.path)
    assert run.config.train.steps == 20
    assert run.splat_file == run.path / "splat.ply"
    assert run.has_splats
    splats = formats.read(run.path / "splat.ply")
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(run.splats.named(), splats.named(), strict=True))
    assert run.metrics == json.loads((run.path / "metrics.json").read_text())
    assert [item.split for item in run.named_cameras] == ["train" if i in TRAIN else "test" for i in range(10)]
    assert len(run.cameras) == len(TRAIN)
    assert [item.split for item in cameras_beside(run.path)] == [item.split for item in run.named_cameras]
    assert [item.split for item in cameras_beside(run.splat_file)] == [item.split for item in run.named_cameras]


def test_the_scene_has_the_training_cameras_as_they_were_refined(run: FinishedRun, photos: Path):
    scene = load_scene(photos, run.config.scene)
    given = np.stack([camera.cam_from_world for camera in scene.cameras])
    scene.images.close()
    refined = poses_of(run)
    assert np.array_equal(refined[TRAIN], checkpoint.load(run.path).extra["cameras.poses"].numpy())
    assert (np.abs(refined - given).max(axis=(1, 2)) > 1e-4).tolist() == [i in TRAIN for i in range(10)]
    assert np.array_equal(poses_of(run, refined=False), given)
    # Those of cameras.json are the same, and of the training photos.
    assert np.allclose([camera.cam_from_world for camera in run.cameras], refined[TRAIN], atol=1e-12)


def test_photos_are_let_go_at_the_end(run: FinishedRun):
    with run.scene() as scene:
        assert scene.images.cached_bytes == 0, "a photo was decoded before it was asked for"
        scene.images.rgb8(0)
        assert scene.images.cached_bytes > 0
    assert scene.images.cached_bytes == 0


def test_what_was_learned_beside_the_splats(run: FinishedRun):
    assert {"exposure.values", "cameras.poses"} <= run.learned.keys()
    exposures = run.learned["exposure.values"]
    assert exposures.shape == (len(TRAIN), 6)
    assert torch.equal(exposures, checkpoint.load(run.path).extra["exposure.values"])
    identity = torch.tensor([1.0, 1, 1, 0, 0, 0], dtype=exposures.dtype)
    assert 1e-4 < float((exposures - identity).abs().max()) < 0.1


def test_a_run_whose_checkpoint_is_gone_has_its_photos_as_they_were_given(run: FinishedRun):
    given = poses_of(run, refined=False)
    run = without(run, "checkpoint.safetensors")
    assert run.learned == {}
    assert np.array_equal(poses_of(run), given)


def test_photos_that_moved_are_found_where_they_are_said_to_be(run: FinishedRun, photos: Path, tmp_path: Path):
    shutil.copytree(photos, tmp_path / "moved")
    assert np.array_equal(poses_of(run, tmp_path / "moved"), poses_of(run))
    gone = re_configured(run, f'scene_path = "{photos}"', f'scene_path = "{tmp_path / "gone"}"')
    with pytest.raises(DataError, match=r"gone: the run's scene is not there any more; say with --scene where it is"):
        poses_of(gone)
    assert np.array_equal(poses_of(gone, tmp_path / "moved"), poses_of(run))


def re_configured(run: FinishedRun, text: str, new: str) -> FinishedRun:
    path = run.path / "config.toml"
    assert path.read_text(encoding="utf-8").count(text) == 1
    path.write_text(path.read_text(encoding="utf-8").replace(text, new), encoding="utf-8")
    return FinishedRun(run.path)


def test_other_photos_than_the_run_had_are_refused(run: FinishedRun, photos: Path, tmp_path: Path):
    fewer = tmp_path / "fewer"
    shutil.copytree(photos, fewer)
    scene = json.loads((fewer / "transforms.json").read_text())
    del scene["frames"][-2:]
    (fewer / "transforms.json").write_text(json.dumps(scene))
    with pytest.raises(DataError, match="the run refined 8 cameras, the scene now has 6 training photos"):
        poses_of(run, fewer)


def test_photos_may_be_loaded_at_another_size(run: FinishedRun):
    small = run.with_loading(replace(run.config.scene, max_side=32))
    with small.scene() as scene, run.scene() as full:
        assert scene.images.size(0) == (32, 32)
        assert full.images.size(0) == (64, 64)
    assert np.array_equal(poses_of(small), poses_of(run))
    assert run.config.scene.max_side == "full"


def test_a_folder_without_a_config_is_no_run(run: FinishedRun, tmp_path: Path):
    assert is_run(run.path)
    without(run, "config.toml")
    for path in (run.path, tmp_path / "nothing"):
        assert not is_run(path)
        with pytest.raises(DataError, match=rf"{path.name}: is not the folder of a run \(no config\.toml\)"):
            FinishedRun.open(path)
    with pytest.raises(UsageError, match=r"config\.toml: no such configuration file"):
        _ = FinishedRun(run.path).config


def test_a_run_that_has_not_come_to_its_end(run: FinishedRun):
    unfinished = without(run, "splat.ply", "metrics.json", "cameras.json", "checkpoint.safetensors")
    assert not unfinished.has_splats
    sentence = r"run: this run has no splat\.ply yet; finish it first \(train --out .*run --resume\)$"
    for ask in (lambda: unfinished.splat_file, lambda: unfinished.splats, lambda: splat_file(unfinished.path)):
        with pytest.raises(DataError, match=sentence):
            ask()
    assert unfinished.metrics is None
    assert (unfinished.named_cameras, unfinished.cameras) == ([], [])
    assert unfinished.learned == {}
    assert unfinished.config == read_run_config(run.path)


def test_metrics_that_cannot_be_read_are_a_sentence(run: FinishedRun):
    (run.path / "metrics.json").write_text('{"psnr": ')
    with pytest.raises(DataError, match=r"metrics\.json: cannot be read: "):
        _ = run.metrics


def test_the_file_of_splats_that_a_path_means(run: FinishedRun, tmp_path: Path):
    assert splat_file(run.path) == run.path / "splat.ply"
    assert splat_file(run.splat_file) == run.splat_file
    beside = tmp_path / "beside"
    beside.mkdir()
    with pytest.raises(DataError, match=r"is neither the folder of a run .* nor of splats"):
        splat_file(beside)
    shutil.copy(run.splat_file, beside)
    assert splat_file(beside) == beside / "splat.ply"


# As an earlier version wrote it: what is [start] by now stood in [scene], and there were more training terms.
OLD_SCENE = """
[scene]
test_every = 4
dense = "on"
dense_spacing = 3.0
dense_points = 1500
surround = 0.2
prior_depth = "/of/depth"
prior_depth_kind = "metric"
prior_depth_scale = 0.01
prior_normals = "/of/normals"
prior_normals_axes = "opengl"
"""
OLD_TERMS = ["anchor_dropout", "sh_dropout", "virtual", "binocular", "smooth", "near_opacity", "ray_variance", "rank",
             "max_axis_ratio", "min_scale", "feature_smooth", "sharpness"]  # fmt: skip
OLD_BESIDE = {
    "anchor_neighbours": 10, "virtual_every": 3, "virtual_start": 0.0, "virtual_stop": 1.0, "binocular_every": 3,
    "binocular_start": 0.6, "binocular_shift": 0.4, "near_fraction": 0.5, "sharpness_start": 0.875,
}  # fmt: skip


def old_run(folder: Path, **weights: float) -> Path:
    """A run folder of an earlier version, its retired terms at 0 but for `weights`."""
    values = {"dropout": 0.3, **dict.fromkeys(OLD_TERMS, 0.0), **OLD_BESIDE, **weights}
    lines = ["[train]", "steps = 77", "[train.terms]", *(f"{name} = {value}" for name, value in values.items())]
    folder.mkdir()
    text = 'scene_path = "gone"\npreset = "fast"\n' + OLD_SCENE + "\n".join(lines) + "\n"
    (folder / "config.toml").write_text(text)
    return folder


def test_settings_of_an_earlier_version_are_read(tmp_path: Path):
    cfg = FinishedRun.open(old_run(tmp_path / "old")).config
    assert cfg.scene == SceneConfig(test_every=4)
    assert cfg.start == StartConfig(
        prior_depth=Path("/of/depth"), prior_depth_kind="metric", prior_depth_scale=0.01,
        prior_normals=Path("/of/normals"), prior_normals_axes="opengl",
        dense="on", dense_spacing=3.0, dense_points=1500, surround=0.2,
    )  # fmt: skip
    assert cfg.train == TrainConfig(steps=77, terms=TermsConfig(dropout=0.3))
    assert (cfg.scene_path, cfg.preset) == ("gone", "fast")


@pytest.mark.parametrize("name", OLD_TERMS)
def test_a_run_with_a_term_that_is_no_more_is_refused_in_one_sentence(tmp_path: Path, name: str):
    run = FinishedRun.open(old_run(tmp_path / "old", **{name: 0.25}))
    with pytest.raises(UsageError) as caught:
        _ = run.config
    assert str(caught.value) == (
        f"{run.path / 'config.toml'}: the run was trained with {name}, which this version no longer has; use the "
        "version that made it, or train again"
    )


def test_all_terms_that_are_no_more_are_named(tmp_path: Path):
    with pytest.raises(UsageError, match="was trained with virtual, rank, which this version"):
        read_run_config(old_run(tmp_path / "old", virtual=0.1, rank=2.0))


def test_an_unknown_setting_is_still_an_error(tmp_path: Path):
    with pytest.raises(UsageError, match=r"unknown key .*dropuot.*did you mean 'train\.terms\.dropout'"):
        read_run_config(old_run(tmp_path / "old", dropuot=0.1))


def test_a_stopped_run_of_an_earlier_version_goes_on(photos: Path, tmp_path: Path):
    """Its settings and its checkpoint name terms that were off and are no more."""
    cfg = RunConfig(
        str(photos), few_views="off", start=StartConfig(dense="off"),
        train=TrainConfig(steps=20, threads=1, sh_degree=1, report_every=5),
    )  # fmt: skip
    for _ in run_training(cfg, tmp_path / "whole"):
        pass
    stop = threading.Event()
    for event in run_training(cfg, tmp_path / "old", around=Around(stop=stop)):
        if isinstance(event, Stepped):
            stop.set()
    gone = {**dict.fromkeys(OLD_TERMS, 0.0), **OLD_BESIDE}
    text = (tmp_path / "old" / "config.toml").read_text(encoding="utf-8")
    # Without its heading the table is the end of [scene].
    text = text.replace("\n[start]\n", "")
    text = text.replace("[train.terms]\n", "\n".join(["[train.terms]", *(f"{k} = {v}" for k, v in gone.items()), ""]))
    (tmp_path / "old" / "config.toml").write_text(text, encoding="utf-8")
    tensors, record = read_tensors(tmp_path / "old" / checkpoint.FILE_NAME)
    record["config"]["terms"] |= gone
    write_tensors(tmp_path / "old" / checkpoint.FILE_NAME, tensors, record)
    assert read_run_config(tmp_path / "old") == read_run_config(tmp_path / "whole")
    events = list(run_training(cfg, tmp_path / "old", resume=True))
    assert events[0].step == 5
    assert (tmp_path / "old" / "splat.ply").read_bytes() == (tmp_path / "whole" / "splat.ply").read_bytes()

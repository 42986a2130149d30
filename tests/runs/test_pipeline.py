# SPDX-License-Identifier: Apache-2.0
"""From a scene on disk to a run folder, in one go and in two."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d import config as configs
from sparse3d import formats
from sparse3d.errors import DataError, UsageError
from sparse3d.formats.tensor_file import read_tensors
from sparse3d.judge.spread import spread
from sparse3d.load import SceneConfig
from sparse3d.runs.config import RunConfig, read_run_config
from sparse3d.runs.pipeline import run_training
from sparse3d.runs.support_file import read_support
from sparse3d.start.config import StartConfig
from sparse3d.train.config import CameraOptConfig, DensityConfig, ScheduleConfig, TrainConfig
from sparse3d.train.events import Event, Finished, Planned, Saved, Started, Stepped
from sparse3d.train.loop import Around
from tests.train import tiny

METRIC_KEYS = {
    "schema", "psnr", "ssim", "lpips", "num_splats", "seconds", "peak_rss_mb", "steps", "views", "per_view", "cameras",
    "device", "seed", "terms", "coverage", "version",
}  # fmt: skip


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny photos as a transforms.json scene with points, in a path with spaces and letters of other alphabets."""
    folder = tmp_path_factory.mktemp("scenes") / "kleine Szene äöü 場面"
    tiny.write_photos(folder)
    frames = []
    for camera in tiny.cameras():
        # transforms.json has camera-to-world matrices with OpenGL axes.
        world_from_cam = camera.world_from_cam @ np.diag([1.0, -1.0, -1.0, 1.0])
        frames.append({"file_path": camera.name, "transform_matrix": world_from_cam.tolist()})
    size = {"w": tiny.SIZE_PX, "h": tiny.SIZE_PX, "cx": tiny.SIZE_PX / 2, "cy": tiny.SIZE_PX / 2}
    scene = {"fl_x": 72.0, "fl_y": 72.0, **size, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(scene))
    means = tiny.initial().means.numpy()
    lines = [f"{x:.5f} {y:.5f} {z:.5f} 128 128 128" for x, y, z in means]
    header = [
        "ply", "format ascii 1.0", f"element vertex {len(lines)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {colour}" for colour in ("red", "green", "blue")), "end_header",
    ]  # fmt: skip
    (folder / "points.ply").write_text("\n".join([*header, *lines]) + "\n")
    return folder


@pytest.fixture
def run_config(scene_folder: Path) -> RunConfig:
    return RunConfig(
        scene_path=str(scene_folder),
        preset="fast",
        few_views="off",
        scene=SceneConfig(points=scene_folder / "points.ply", test_every=5),
        train=TrainConfig(
            steps=40, report_every=10, sh_degree=1, checkpoint_every=15,
            schedule=ScheduleConfig(half_size_until=0.3, min_side_px=16),
            density=DensityConfig(cap=200, grad_threshold=2e-4),
        ),
    )  # fmt: skip


def run(cfg: RunConfig, out: Path, **options) -> tuple[list[Event], dict[str, Any] | None]:
    events, loop = [], run_training(cfg, out, **options)
    while True:
        try:
            events.append(next(loop))
        except StopIteration as end:
            return events, end.value


def test_a_run_leaves_everything_in_its_folder(run_config: RunConfig, tmp_path: Path):
    out = tmp_path / "lauf 1 é"
    events, metrics = run(run_config, out)
    started = next(event for event in events if isinstance(event, Started))
    assert any("--points" in note or "points" in note for note in started.notes)
    assert isinstance(events[-1], Finished)
    saved = [event.what for event in events if isinstance(event, Saved)]
    assert saved == ["checkpoint", "checkpoint", "checkpoint", "splats", "cameras", "compare", "coverage", "metrics"]
    assert all(event.path.is_file() for event in events if isinstance(event, Saved))
    assert not (out / "lock").exists()

    assert metrics is not None
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert set(metrics) == METRIC_KEYS
    assert metrics["views"] == {"train": 8, "test": 2}
    assert set(metrics["seconds"]) == {"total", "init", "train", "eval", "stages"}
    assert metrics["seconds"]["total"] >= metrics["seconds"]["train"] > 0
    assert metrics["psnr"] == pytest.approx(np.mean([row["psnr"] for row in metrics["per_view"]]))
    assert metrics["psnr"] > 12
    assert metrics["lpips"] is None
    assert metrics["cameras"] == "given"
    assert metrics["terms"] == {}
    assert metrics["num_splats"] == formats.read(out / "splat.ply").num_splats

    assert read_run_config(out) == run_config
    logged = [json.loads(line)["event"] for line in (out / "events.jsonl").read_text().splitlines()]
    assert logged[:2] == ["planned", "started"]
    assert logged[-1] == "finished"
    with Image.open(out / "compare.png") as picture:
        # Two held-out photos, three columns with their gaps.
        assert picture.size == (3 * 64 + 8, 2 * (64 + 18))
        assert np.asarray(picture).std() > 20
    shares = metrics["coverage"]
    assert (shares["cameras"], shares["views"]) == ("held_out", 2)
    assert sum(shares[name] for name in ("unseen", "one_view", "two_or_more")) == pytest.approx(1.0, abs=1e-3)
    assert len(read_support(out / "support.safetensors")) == metrics["num_splats"]
    with Image.open(out / "coverage.png") as picture:
        assert np.asarray(picture).std() > 20
    cameras = json.loads((out / "cameras.json").read_text())["cameras"]
    assert [camera["split"] for camera in cameras].count("test") == 2
    assert np.allclose(cameras[0]["cam_from_world"], tiny.cameras()[0].cam_from_world, atol=1e-9)


def test_a_stopped_run_resumes_with_its_own_points(run_config: RunConfig, tmp_path: Path, scene_folder: Path):
    run(run_config, tmp_path / "whole")
    stop = threading.Event()
    events = []
    for event in run_training(run_config, tmp_path / "parts", around=Around(stop=stop)):
        events.append(event)
        if isinstance(event, Stepped):
            stop.set()
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].step) == ("stopped", 10)
    assert (tmp_path / "parts" / "splat.ply").is_file()
    assert not (tmp_path / "parts" / "metrics.json").exists()
    assert (tmp_path / "parts" / "start.safetensors").is_file()
    with pytest.raises(UsageError, match=r"cannot resume with other settings .*\(scene\.downscale\)"):
        run(replace(run_config, scene=replace(run_config.scene, downscale=2.0)), tmp_path / "parts", resume=True)
    with pytest.raises(UsageError, match=r"cannot resume with other settings .*\(seed\)"):
        run(replace(run_config, train=replace(run_config.train, seed=9)), tmp_path / "parts", resume=True)
    assert read_run_config(tmp_path / "parts") == run_config, "a refused resume changed the run"
    _, metrics = run(run_config, tmp_path / "parts", resume=True)
    assert metrics is not None
    for name in ("splat.ply", "compare.png", "coverage.png", "support.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes(), name
    assert json.loads((tmp_path / "whole" / "metrics.json").read_text())["per_view"] == metrics["per_view"]


def test_a_run_killed_before_its_first_checkpoint_begins_with_the_stored_points(run_config: RunConfig, tmp_path: Path):
    out = tmp_path / "run"
    run(run_config, out)
    stored, _ = read_tensors(out / "start.safetensors")
    for name in ("checkpoint.safetensors", "splat.ply"):
        (out / name).unlink()
    moved = tmp_path / "moved.ply"
    shutil.copy(run_config.scene.points or "", moved)
    events, _ = run(run_config, out, resume=True)
    assert events[0].step == 0
    assert torch.equal(read_tensors(out / "start.safetensors")[0]["xyz"], stored["xyz"])
    assert (out / "splat.ply").is_file()


def test_few_photos_train_with_their_settings_and_say_so(run_config: RunConfig, tmp_path: Path):
    """Also where it is resumed, with the settings asked for or with those it trained with."""
    few = replace(run_config, few_views="auto", given=("train.terms.dropout",))
    events, metrics = run(few, tmp_path / "whole")
    layer = configs.few_views().values["train"]["terms"]
    started = next(event for event in events if isinstance(event, Started))
    notes = [note for note in started.notes if note.startswith("few photos (8): ")]
    assert len(notes) == 1
    assert "opacity decay" in notes[0]
    assert "dropout" not in notes[0]
    assert metrics is not None
    assert metrics["terms"]["opacity_decay"] == layer["opacity_decay"]
    assert "dropout" not in metrics["terms"]
    stored = read_run_config(tmp_path / "whole")
    assert stored.few_views_applied
    assert stored.train.terms.opacity_decay == layer["opacity_decay"]

    stop = threading.Event()
    for event in run_training(few, tmp_path / "parts", around=Around(stop=stop)):
        if isinstance(event, Stepped):
            stop.set()
    # What was asked for, and what the run made of it, are both the same run.
    for again in (few, stored):
        with pytest.raises(UsageError, match=r"cannot resume with other settings .*\(few_views\)"):
            run(replace(again, few_views="off"), tmp_path / "parts", resume=True)
        _, end = run(again, tmp_path / "parts", resume=True)
        assert end is not None
        assert end["terms"] == metrics["terms"]
        assert (tmp_path / "whole" / "splat.ply").read_bytes() == (tmp_path / "parts" / "splat.ply").read_bytes()


def test_refined_cameras_are_written(run_config: RunConfig, tmp_path: Path):
    train = replace(run_config.train, camera_opt=CameraOptConfig(enabled="on", start=0.0))
    run(replace(run_config, train=train), tmp_path / "run")
    cameras = json.loads((tmp_path / "run" / "cameras.json").read_text())["cameras"]
    for camera, given in zip(cameras, tiny.cameras()):
        same = np.allclose(camera["cam_from_world"], given.cam_from_world, atol=1e-6)
        assert same == (camera["split"] == "test"), camera["name"]
        rotation = np.array(camera["cam_from_world"])[:3, :3]
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)


def test_the_size_that_auto_came_to_is_kept(run_config: RunConfig, tmp_path: Path):
    auto = replace(run_config.scene, max_side="auto", auto_side=32)
    cfg = replace(run_config, scene=auto)
    _, metrics = run(cfg, tmp_path / "run")
    kept = read_run_config(tmp_path / "run").scene.max_side
    assert isinstance(kept, int)
    assert kept < tiny.SIZE_PX
    cameras = json.loads((tmp_path / "run" / "cameras.json").read_text())["cameras"]
    assert {camera["width"] for camera in cameras} == {kept}
    assert metrics is not None
    assert metrics["psnr_native"] == pytest.approx(np.mean([row["psnr_native"] for row in metrics["per_view"]]))
    assert 5.0 < metrics["psnr_native"] != metrics["psnr"]
    # Resumed with what stands in its folder, as the command line does.
    assert run(read_run_config(tmp_path / "run"), tmp_path / "run", resume=True)[1] is not None


def test_large_photos_come_late_at_their_full_size(run_config: RunConfig, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("sparse3d.runs.layers._LARGE_PX", 40)
    cfg = replace(run_config, scene=replace(run_config.scene, max_side="auto"))
    run(cfg, tmp_path / "run")
    stored = read_run_config(tmp_path / "run")
    schedule = stored.train.schedule
    assert (schedule.quarter_size_until, schedule.half_size_until, schedule.fine_from) == (0.1, 0.3, 0.4)
    assert stored.start.dense_spacing == round(900 / 64, 2)
    by_hand = replace(cfg, given=("train.schedule.half_size_until",))
    run(by_hand, tmp_path / "by hand")
    assert read_run_config(tmp_path / "by hand").train.schedule.half_size_until == 0.3
    run(run_config, tmp_path / "full")
    assert read_run_config(tmp_path / "full").train.schedule == run_config.train.schedule


def test_photos_are_decoded_before_training(run_config: RunConfig, tmp_path: Path):
    told: list[tuple[str, float]] = []
    loop = run_training(run_config, tmp_path / "run", progress=lambda what, share: told.append((what, share)))
    assert isinstance(next(loop), Planned)
    assert isinstance(next(loop), Started)
    loop.close()
    # Eight photos to train on; the two held out are left alone.
    assert [share for what, share in told if what == "decoding photos"] == [i / 8 for i in range(1, 9)]


@pytest.mark.parametrize("name", ["prior_depth", "prior_normals"])
def test_missing_priors_are_refused_before_the_photos_are_read(tmp_path: Path, name: str):
    """There are no photos either, and still the prior is what is named."""
    missing: dict[str, Any] = {name: tmp_path / "none"}
    cfg = RunConfig(scene_path=str(tmp_path / "nowhere"), start=StartConfig(**missing))
    option = f"--{name.replace('_', '-')}"
    with pytest.raises(DataError, match=f"{option} .*none: a folder .*is expected, there is nothing of this name"):
        run(cfg, tmp_path / "run")


def test_nothing_held_out_shows_training_photos(run_config: RunConfig, tmp_path: Path):
    cfg = replace(run_config, scene=replace(run_config.scene, test_every=0), train=replace(run_config.train, steps=5))
    _, metrics = run(cfg, tmp_path / "run")
    assert metrics is not None
    assert (metrics["psnr"], metrics["ssim"], metrics["per_view"]) == (None, None, [])
    assert (metrics["coverage"]["cameras"], metrics["coverage"]["views"]) == ("between", 4)
    with Image.open(tmp_path / "run" / "compare.png") as picture:
        assert picture.size[1] == 8 * (64 + 18)


def test_spread_takes_first_and_last():
    assert spread(range(20), 8) == [0, 3, 5, 8, 11, 14, 16, 19]
    assert spread([4, 9], 8) == [4, 9]


def test_minutes_choose_the_effort_once(run_config: RunConfig, tmp_path: Path):
    cfg = replace(run_config, minutes=0.001, train=replace(run_config.train, steps=2000))
    stop = threading.Event()
    stop.set()
    events, _ = run(cfg, tmp_path / "run", around=Around(stop=stop))
    assert isinstance(events[0], Planned)
    assert "--minutes 0.001: " in events[0].notes[0]
    stored = read_run_config(tmp_path / "run")
    assert stored.minutes is None
    assert stored.train.steps < 2000
    with pytest.raises(UsageError, match=r"cannot resume with other settings .*\(minutes"):
        run(replace(stored, minutes=5.0), tmp_path / "run", resume=True)

# SPDX-License-Identifier: Apache-2.0
"""What a run starts from where photos are few: dense depth, kept in the run folder bit by bit."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparse3d.depth.depth_map import DepthMap
from sparse3d.formats.tensor_file import read_tensors, write_tensors
from sparse3d.judge.background import evaluation_background, mean_colour
from sparse3d.load import SceneConfig, load_scene
from sparse3d.runs import kept_start as kept_starts
from sparse3d.runs.config import RunConfig
from sparse3d.runs.kept_start import kept_start
from sparse3d.runs.pipeline import run_training
from sparse3d.start import find as starts
from sparse3d.start.config import StartConfig
from sparse3d.start.find import Start
from sparse3d.train.config import DensityConfig, ScheduleConfig, TrainConfig
from sparse3d.train.events import Finished, Started, Stepped
from sparse3d.train.loop import Around
from sparse3d.train.run_folder import open_run
from sparse3d.train.splats.removal_config import RemovalConfig
from sparse3d.train.splats.terms.config import TermsConfig
from tests.load import board_scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos of 128x96 as a transforms.json scene without points."""
    path = tmp_path_factory.mktemp("board")
    cameras = board_scene.cameras(3, size=(128, 96))
    scene = board_scene.write_scene(path, cameras)
    frames = [
        {"file_path": name, "transform_matrix": (camera.world_from_cam @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist()}
        for name, camera in zip(scene.names, cameras, strict=True)
    ]
    c = cameras[0]
    lens = {"w": c.width, "h": c.height, "fl_x": c.fx, "fl_y": c.fy, "cx": c.cx, "cy": c.cy}
    (path / "transforms.json").write_text(json.dumps({**lens, "frames": frames}))
    return path


@pytest.fixture
def cfg(folder: Path) -> RunConfig:
    return RunConfig(
        scene_path=str(folder),
        preset="fast",
        few_views="off",
        scene=SceneConfig(test_every=0), start=StartConfig(dense="on", dense_points=1500),
        train=TrainConfig(
            steps=8, report_every=3, sh_degree=1, background="mean", schedule=ScheduleConfig(half_size_until=0.0),
            density=DensityConfig(cap=3000), terms=TermsConfig(depth=0.1),
        ),
    )  # fmt: skip


def run(cfg: RunConfig, out: Path, *, stop_at: int | None = None, resume: bool = False) -> list:
    stop, events = threading.Event(), []
    for event in run_training(cfg, out, resume=resume, around=Around(stop=stop)):
        events.append(event)
        if isinstance(event, Stepped) and event.step == stop_at:
            stop.set()
    return events


def start_of(cfg: RunConfig, out: Path, *, resume: bool) -> Start:
    scene = load_scene(Path(cfg.scene_path), cfg.scene)
    try:
        with open_run(out, resume=resume) as opened:
            if not resume:
                # A folder with a config is a run that can go on.
                (out / "config.toml").write_text("")
            return kept_start(opened, scene, cfg, resume, None)
    finally:
        scene.images.close()


def assert_same_maps(a: Mapping[int, DepthMap], b: Mapping[int, DepthMap]) -> None:
    assert list(a) == list(b)
    for index, found in a.items():
        for name in ("depth", "confidence", "normal"):
            left, right = getattr(found, name), getattr(b[index], name)
            assert left.dtype == right.dtype == np.float32
            np.testing.assert_array_equal(left, right)
        assert found.metric == b[index].metric
        np.testing.assert_array_equal(found.camera.K, b[index].camera.K)
        np.testing.assert_array_equal(found.camera.cam_from_world, b[index].camera.cam_from_world)


def test_a_resumed_run_starts_from_what_was_kept(
    cfg: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start_of(cfg, tmp_path / "r", resume=False)
    assert first.points.oriented
    assert set(first.depth_maps) == {0, 1, 2}
    assert "dense depth of 3 photos" in first.notes[0]

    def again(*args: object, **kwargs: object) -> None:
        raise AssertionError("a resumed run matched its photos again")

    monkeypatch.setattr(starts, "dense_start", again)
    second = start_of(cfg, tmp_path / "r", resume=True)
    for name in ("xyz", "rgb", "normal", "radius", "confidence"):
        np.testing.assert_array_equal(getattr(first.points, name), getattr(second.points, name))
    assert second.points.error_px is None
    assert second.notes == first.notes
    assert_same_maps(first.depth_maps, second.depth_maps)


def test_a_start_whose_writing_was_cut_off_is_made_again(
    cfg: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between its two files: the run must not go on without its depth."""
    written = []

    def cut_off(path: Path, *args: Any) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write_tensors(path, *args)

    with monkeypatch.context() as patch:
        patch.setattr(kept_starts, "write_tensors", cut_off)
        with pytest.raises(KeyboardInterrupt):
            start_of(cfg, tmp_path / "r", resume=False)
    assert written
    assert set(start_of(cfg, tmp_path / "r", resume=True).depth_maps) == {0, 1, 2}


def test_depth_is_kept_only_for_terms_that_read_it(cfg: RunConfig, tmp_path: Path) -> None:
    without = replace(cfg, train=replace(cfg.train, terms=TermsConfig()))
    start = start_of(without, tmp_path / "r", resume=False)
    assert start.points.oriented
    assert start.depth_maps == {}
    assert not (tmp_path / "r" / "depth.safetensors").exists()
    judged = replace(without, train=replace(without.train, floaters=RemovalConfig(at=(0.5,))))
    assert set(start_of(judged, tmp_path / "judged", resume=False).depth_maps) == {0, 1, 2}
    sparse = replace(without, start=replace(cfg.start, dense="off"))
    assert not start_of(sparse, tmp_path / "s", resume=False).points.oriented


def test_a_stopped_and_resumed_run_with_depth_ends_with_the_same_bits(cfg: RunConfig, tmp_path: Path) -> None:
    events = run(cfg, tmp_path / "whole")
    started = next(event for event in events if isinstance(event, Started))
    assert any("dense depth of 3 photos" in note for note in started.notes)
    stopped = run(cfg, tmp_path / "parts", stop_at=3)
    assert isinstance(stopped[-1], Finished)
    assert stopped[-1].reason == "stopped"
    run(cfg, tmp_path / "parts", resume=True)
    for name in ("start.safetensors", "depth.safetensors", "checkpoint.safetensors"):
        (left, _), (right, _) = (read_tensors(tmp_path / part / name) for part in ("whole", "parts"))
        assert left.keys() == right.keys()
        for key, tensor in left.items():
            assert torch.equal(tensor, right[key]), f"{name}: {key}"
    assert (tmp_path / "whole" / "splat.ply").read_bytes() == (tmp_path / "parts" / "splat.ply").read_bytes()


def test_the_mean_background_is_the_photos_mean_colour(cfg: RunConfig) -> None:
    scene = load_scene(Path(cfg.scene_path), replace(cfg.scene, views="0,2"))
    pixels = np.concatenate([scene.images.rgb8(i).reshape(-1, 3) for i in (0, 2)])
    wanted = torch.from_numpy((pixels.mean(axis=0) / 255).astype(np.float32))
    torch.testing.assert_close(mean_colour(scene), wanted)
    torch.testing.assert_close(evaluation_background(scene, cfg.train.background), wanted)
    masked = replace(scene, has_masks=True)
    assert evaluation_background(masked, cfg.train.background).tolist() == [0, 0, 0]
    assert evaluation_background(scene, "white").tolist() == [1, 1, 1]
    scene.images.close()

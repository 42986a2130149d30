# SPDX-License-Identifier: Apache-2.0
"""Units and places of a scene change nothing but the numbers in its files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sparse3d import config as configs
from sparse3d import formats
from sparse3d.judge.background import evaluation_background
from sparse3d.judge.evaluate import evaluate, image_renderer
from sparse3d.load.config import SceneConfig
from sparse3d.runs.config import RunConfig, read_run_config
from sparse3d.runs.finished import FinishedRun
from sparse3d.runs.pipeline import run_training

SAMPLE = Path(__file__).parents[2] / "scenes" / "sample"
MOVES = {"small": (1e-3, 0.0), "large": (1e4, 0.0), "far": (1.0, 5e5)}


def sample(folder: Path, scale: float, shift: float) -> Path:
    """The sample scene `scale` times as large, then moved by `shift` along x and y."""
    shutil.copytree(SAMPLE / "images", folder / "images")
    values = json.loads((SAMPLE / "transforms.json").read_text(encoding="utf-8"))
    for frame in values["frames"]:
        for row, by in enumerate((shift, shift, 0.0)):
            frame["transform_matrix"][row][3] = frame["transform_matrix"][row][3] * scale + by
    (folder / "transforms.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def trained(scene: Path, out: Path) -> tuple[FinishedRun, tuple[str, ...]]:
    layers = [configs.preset("fast"), configs.Layer("test", {"train": {"steps": 120, "threads": 2}})]
    cfg = configs.resolve(
        RunConfig(scene_path=str(scene), scene=SceneConfig(max_side=80, test_every=8, views="13")), layers
    )
    notes: tuple[str, ...] = ()
    for event in run_training(cfg, out):
        notes += tuple(event.to_json().get("notes", ()))
    return FinishedRun.open(out), notes


@pytest.fixture(scope="module")
def unmoved(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return trained(SAMPLE, tmp_path_factory.mktemp("unmoved") / "run")[0]


def positions(run: FinishedRun) -> np.ndarray:
    """World positions of the splats, of those that are not faint."""
    splats = run.splats
    means = splats.means.double().numpy() + np.array(splats.origin)
    return means[splats.opacities.numpy() > 0.3]


@pytest.mark.parametrize("name", MOVES)
def test_a_moved_scene_trains_as_the_unmoved_one(name: str, unmoved: FinishedRun, tmp_path: Path) -> None:
    scale, shift = MOVES[name]
    run, notes = trained(sample(tmp_path / "scene", scale, shift), tmp_path / "run")
    assert run.metrics is not None
    assert unmoved.metrics is not None
    assert run.metrics["psnr"] == pytest.approx(unmoved.metrics["psnr"], abs=0.5)
    # What is written is in the world of the user's files.
    here, there = np.median(positions(run), axis=0), np.median(positions(unmoved), axis=0)
    np.testing.assert_allclose(here, there * scale + (shift, shift, 0.0), atol=0.1 * scale)
    sizes = [float(r.splats.scales.median()) for r in (run, unmoved)]
    assert sizes[0] == pytest.approx(scale * sizes[1], rel=0.1)
    assert any("local origin" in note for note in notes) == bool(shift)
    assert any("its own units" in note for note in notes) == (scale != 1.0)
    # Every record of the run has one origin, and the cameras are where the scene's are.
    origin = run.splats.origin
    assert read_run_config(run.path).origin == origin
    assert {item.origin for item in run.named_cameras} == {origin}
    assert any(origin) == bool(shift)
    own = {c.camera.name: c.camera.position + origin for c in run.named_cameras}
    for item in unmoved.named_cameras:
        expected = item.camera.position * scale + (shift, shift, 0.0)
        np.testing.assert_allclose(own[item.camera.name], expected, atol=max(1e-9 * shift, 1e-9 * scale))

    # Opened again, splats and cameras agree.
    with run.scene() as scene:
        splats = scene.frame.splats_in(formats.read(run.splat_file))
        draw = image_renderer(splats, evaluation_background(scene, run.config.train.background))
        assert evaluate(scene, scene.test, draw).psnr == pytest.approx(run.metrics["psnr"], abs=0.01)

# SPDX-License-Identifier: Apache-2.0
"""`sparse3d clean` on the sample scene, small: floaters that were put in go, whatever the splats come from."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sparse3d import formats
from sparse3d.cli.main import main
from sparse3d.depth.hull import scene_hull
from sparse3d.load.config import SceneConfig
from sparse3d.load.scene import load_scene
from sparse3d.render.camera_file import read_camera_file
from tests.cli.helpers import run

SCENE = ["--views", "4", "--max-side", "64"]
FEW_STEPS = ["--steps", "12", "--schedule.half-size-until", "0", "--density.cap", "600", "--few-views", "off"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, sample_scene: Path) -> Path:
    """The folder of a finished run; from triangulated points, of which a few steps make a scene without a haze."""
    path = tmp_path_factory.mktemp("runs") / "Lauf ü 1"
    plain = ("--few-views", "off", "--dense", "off")
    assert main(["train", str(sample_scene), *SCENE, *FEW_STEPS, *plain, "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def spoilt(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's splats and twenty red ones close before its first training photo."""
    splats = formats.read(trained / "splat.ply")
    camera = next(named.camera for named in read_camera_file(trained / "cameras.json") if named.split == "train")
    rng = np.random.default_rng(5)
    places = np.column_stack([rng.uniform(-0.25, 0.25, (20, 2)), np.ones(20)]) * rng.uniform(0.2, 0.4, (20, 1))
    world = camera.world_from_cam
    floaters = splats.select(torch.zeros(20, dtype=torch.long))
    floaters.means[:] = torch.from_numpy(places @ world[:3, :3].T + world[:3, 3])
    floaters.log_scales[:], floaters.logit_opacities[:] = float(np.log(0.02)), 5.0
    floaters.sh0[:], floaters.shN[:] = torch.tensor([1.5, -1.5, -1.5]), 0.0
    joined = {name: torch.cat([tensor, getattr(floaters, name)]) for name, tensor in splats.named()}
    path = tmp_path_factory.mktemp("spoilt") / "mit Flecken é.ply"
    formats.write(path, dataclasses.replace(splats, **joined))
    return path


def test_clean_removes_what_floats_before_the_photos(
    spoilt: Path, sample_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = formats.read(spoilt)
    words = ["clean", spoilt, tmp_path / "rein.ply", "--scene", sample_scene, *SCENE, "--floaters.levels", "8"]
    result = run(capsys, *words, "--json")
    assert result.code == 0, result.err
    values = json.loads(result.out)
    after = formats.read(tmp_path / "rein.ply")
    assert (values["splats_before"], values["splats_after"]) == (before.num_splats, after.num_splats)
    assert values["photos"] == 4
    assert sum(values["removed"].values()) == before.num_splats - after.num_splats
    assert values["removed"]["front"] >= 20
    red = (after.sh0[:, 0] - after.sh0.new_tensor([1.5, -1.5, -1.5])).abs().amax(dim=1) < 1e-6
    assert red.sum() == 0, "every one of the twenty is gone"
    assert values["psnr_train"][1] > values["psnr_train"][0] + 0.5
    assert all(10 < psnr < 30 for psnr in values["psnr_test"])
    assert values["seconds"] > 0
    refused = run(capsys, *words)
    assert refused.code == 2
    assert "add --overwrite" in refused.err
    table = run(capsys, *words, "--overwrite")
    assert table.code == 0, table.err
    assert "in front of what photos show" in table.out
    assert table.out.splitlines()[-1] == str(tmp_path / "rein.ply")


def test_clean_of_a_run_judges_by_its_own_photos(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    words = ["clean", trained, tmp_path / "a.ply", "--floaters.levels", "6", "--force", "--json"]
    result = run(capsys, *words)
    assert result.code == 0, result.err
    values = json.loads(result.out)
    assert values["photos"] == metrics["views"]["train"]
    assert values["psnr_test"][0] == pytest.approx(metrics["psnr"], abs=1e-6)
    other = json.loads(run(capsys, *words, "--overwrite", "--views", "2").out)
    assert other["photos"] == 2, "an option by hand wins over the run's"


def test_clean_without_photos(spoilt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "clean", spoilt, tmp_path / "a.ply", "--force", "--json")
    assert result.code == 0, result.err
    values = json.loads(result.out)
    assert values["photos"] == 0
    assert (values["psnr_train"], values["psnr_test"]) == ([None, None], [None, None])
    assert set(values["removed"]) <= {"isolated", "faint"}
    assert "without photos (--scene)" in run(capsys, "clean", spoilt, tmp_path / "b.ply", "--force").out


def test_clean_leaves_nothing_outside_the_hull_of_masks(
    spoilt: Path, sample_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = tmp_path / "scene"
    shutil.copytree(sample_scene, scene, ignore=shutil.ignore_patterns("objects", "depth"))
    shutil.copytree(sample_scene / "objects", scene / "masks")
    words = ["clean", spoilt, tmp_path / "a.ply", "--scene", scene, *SCENE, "--floaters.levels", "6", "--json"]
    refused = run(capsys, *words)
    assert refused.code == 2, "the room around the object is most of the splats"
    assert "outside" in refused.err
    result = run(capsys, *words, "--force")
    assert result.code == 0, result.err
    assert json.loads(result.out)["removed"]["outside"] > 100
    loaded = load_scene(scene, SceneConfig(views="4", max_side=64))
    hull = scene_hull(loaded)
    assert hull is not None
    assert hull.contains(formats.read(tmp_path / "a.ply").means.numpy()).all()

# SPDX-License-Identifier: Apache-2.0
"""Files at any scale and place are drawn and listed alike."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d import formats
from sparse3d.cli.main import main
from sparse3d.splats import Splats


def make(scale: float, origin: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Splats:
    rng = np.random.default_rng(8)
    means = torch.from_numpy((rng.normal(size=(400, 3)) * scale).astype(np.float32))
    colours = torch.from_numpy(rng.normal(size=(400, 1, 3)).astype(np.float32))
    quats = torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(400, 1)
    log_scales = torch.full((400, 3), math.log(0.1 * scale))
    splats = Splats(means, quats, log_scales, torch.full((400,), 2.0), colours, torch.zeros(400, 0, 3))
    return replace(splats, origin=origin)


def cameras(folder: Path, scale: float, at: tuple[float, float, float] = (0.0, 0.0, 0.0), **more: object) -> Path:
    """A file with one camera that looks along z from 4 units before `at`."""
    pose = np.eye(4)
    pose[:3, 3] = -np.array(at) + (0.0, 0.0, 4.0 * scale)
    entry = {"width": 64, "height": 48, "fx": 60, "fy": 60, "cx": 32, "cy": 24, "cam_from_world": pose.tolist()}
    path = folder / "path.json"
    path.write_text(json.dumps({"cameras": [entry], **more}), encoding="utf-8")
    return path


def drawn(folder: Path, splats: Splats, path: Path) -> np.ndarray:
    formats.write(folder / "a.ply", splats)
    out = folder / "out"
    assert main(["render", str(folder / "a.ply"), "--path", str(path), "--out", str(out), "--overwrite"]) == 0
    return np.asarray(Image.open(out / "00000.png")).astype(int)


@pytest.mark.parametrize("scale", [1e-3, 1e-4, 1e4])
def test_a_file_is_drawn_alike_at_any_scale(scale: float, tmp_path: Path) -> None:
    usual = drawn(tmp_path, make(1.0), cameras(tmp_path, 1.0))
    assert usual.max() > 50
    assert np.abs(drawn(tmp_path, make(scale), cameras(tmp_path, scale)) - usual).max() <= 1


def test_cameras_of_another_origin_are_moved_to_the_splats(tmp_path: Path) -> None:
    usual = drawn(tmp_path, make(1.0), cameras(tmp_path, 1.0))
    origin = (543210.0, 5432100.0, 87.0)
    far = make(1.0, origin)
    # Counted from the splats' origin, from the world's own, and from another.
    for at, more in (
        ((0.0, 0.0, 0.0), {"origin": list(origin)}),
        (origin, {}),
        ((10.0, 0.0, 7.0), {"origin": [543200.0, 5432100.0, 80.0]}),
    ):
        assert np.abs(drawn(tmp_path, far, cameras(tmp_path, 1.0, at, **more)) - usual).max() <= 1


def test_info_and_clean_keep_the_origin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    formats.write(tmp_path / "a.ply", make(1e-3, (543210.0, 5432100.0, 87.0)))
    assert main(["info", str(tmp_path / "a.ply")]) == 0
    assert "(543210, 5432100, 87)" in capsys.readouterr().out
    assert main(["clean", str(tmp_path / "a.ply"), str(tmp_path / "b.ply"), "--force"]) == 0
    cleaned = formats.read(tmp_path / "b.ply")
    assert cleaned.origin == (543210.0, 5432100.0, 87.0)
    assert float(cleaned.means.abs().max()) < 0.01
    assert float(cleaned.scales.median()) == pytest.approx(1e-4, rel=1e-3)
    assert main(["export", str(tmp_path / "a.ply"), str(tmp_path / "c.glb")]) == 0
    exported = formats.read(tmp_path / "c.glb")
    assert exported.origin == (543210.0, 5432100.0, 87.0)
    assert float(exported.scales.median()) == pytest.approx(1e-4, rel=1e-3)

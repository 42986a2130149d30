# SPDX-License-Identifier: Apache-2.0
"""A photo of which the mask leaves nothing counts in no mean; how many count is said, and which do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.cli.last_lines import last_lines
from sparse3d.cli.table import result_table
from sparse3d.judge.evaluate import evaluate
from sparse3d.judge.native import psnr_native
from sparse3d.load import SceneConfig, load_scene
from sparse3d.records.scene import Scene
from sparse3d.report.facts import tiles
from sparse3d.runs.config import RunConfig
from sparse3d.runs.masked import masked_notes
from sparse3d.runs.report import metrics_record
from sparse3d.train.events import Evaluated
from tests.load import makers

WHOLE, HALF, NOTHING = "whole", "half", "nothing"


def noise(camera: Camera) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).uniform(0, 1, (camera.height, camera.width, 3)).astype(np.float32))


def scene_of(root: Path, masks: list[str], how: str) -> Scene:
    """Six photos of which 0 and 3 are held out. masks: what each leaves; how: mask files, or alpha."""
    cams = makers.cameras(6)
    makers.write_photos(root / "images", cams)
    makers.write_colmap_bin(root / "sparse" / "0", cams)
    (root / "masks").mkdir()
    for camera, kept in zip(cams, masks, strict=True):
        mask = np.zeros((camera.height, camera.width), np.uint8)
        mask[:, : {WHOLE: None, HALF: camera.width // 2, NOTHING: 0}[kept]] = 255
        if how == "files":
            Image.fromarray(mask).save(root / "masks" / camera.name)
        else:
            rgb = np.asarray(Image.open(root / "images" / camera.name).convert("RGB"))
            Image.fromarray(np.dstack([rgb, mask])).save(root / "images" / camera.name)
    return load_scene(root, SceneConfig(test_every=3, alpha="mask" if how == "alpha" else "composite"))


@pytest.mark.parametrize("how", ["files", "alpha"])
def test_it_counts_in_no_mean(tmp_path: Path, how: str) -> None:
    scene = scene_of(tmp_path, [HALF, WHOLE, WHOLE, NOTHING, WHOLE, WHOLE], how)
    scores = evaluate(scene, scene.test, noise)
    alone = evaluate(scene, scene.test[:1], noise)
    assert scores.per_view[1] == {"name": "003.png", "psnr": None, "ssim": None, "psnr_full": None, "ssim_full": None}
    names = ("psnr", "ssim", "psnr_full", "ssim_full")
    assert [getattr(scores, name) for name in names] == [getattr(alone, name) for name in names]
    assert scores.ssim is not None
    assert scores.ssim < 0.9
    assert masked_notes(scene) == (
        "the mask leaves nothing of 1 of 2 held-out photos, 003.png: not counted in any score",
    )
    # At the photos' own size too.
    cameras = tuple(camera.resized(32, 24) for camera in scene.cameras)
    small = replace(scene, cameras=cameras, images=scene.images.resized(range(6), cameras))
    native = psnr_native(small, noise)
    assert native is not None
    assert native[1] is None
    assert native[0] is not None


def metrics_of(scene: Scene) -> dict[str, Any]:
    scores = evaluate(scene, scene.test, noise)
    evaluated = Evaluated(
        10, 5, "splats", scores.psnr, scores.ssim, scores.lpips, 1.0, 1.0, True, scores.psnr_full, scores.ssim_full,
        scores.per_view,
    )  # fmt: skip
    return metrics_record(scene, RunConfig(scene_path=str(scene.root)), evaluated, "cpu") | {"seconds": {"total": 3.0}}


def test_how_many_count_is_said(tmp_path: Path) -> None:
    metrics = metrics_of(scene_of(tmp_path / "one", [HALF, WHOLE, WHOLE, NOTHING, WHOLE, WHOLE], "files"))
    assert metrics["views"] == {"train": 4, "test": 2, "test_counted": 1}
    assert "1 held-out photo (1 more masked wholly)" in result_table(metrics)
    assert "on 1 held-out photo;" in last_lines(metrics, tmp_path, None)
    assert "on 1 photo it never saw" in tiles(metrics)
    metrics = metrics_of(scene_of(tmp_path / "none", [NOTHING, WHOLE, WHOLE, NOTHING, WHOLE, WHOLE], "files"))
    assert (metrics["psnr"], metrics["ssim"], metrics["views"]["test_counted"]) == (None, None, 0)
    assert "masks leave nothing of the held-out photos" in last_lines(metrics, tmp_path, None)
    assert "masks leave nothing of the photos held out" in tiles(metrics)
    assert "0 held-out photos (2 more masked wholly)" in result_table(metrics)
    metrics = metrics_of(scene_of(tmp_path / "all", [HALF] * 6, "files"))
    assert metrics["views"] == {"train": 4, "test": 2}


@pytest.mark.parametrize("how", ["files", "alpha"])
@pytest.mark.parametrize("decoded", [True, False])
def test_training_photos_are_named_too(tmp_path: Path, how: str, decoded: bool) -> None:
    scene = scene_of(tmp_path, [WHOLE, *[NOTHING] * 2, WHOLE, NOTHING, NOTHING], how)
    if decoded:
        scene.images.preload(range(6))
    assert masked_notes(scene) == (
        "the mask leaves nothing of 4 of 4 training photos, 001.png, 002.png, 004.png and 1 more: not learned from",
    )
    assert (scene.images.cached_bytes > 0) == decoded

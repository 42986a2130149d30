# SPDX-License-Identifier: Apache-2.0
"""Held-out cameras that were estimated: moved back to where their photos were taken, the splats untouched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse3d.geometry.rigid import se3_exp
from sparse3d.judge.align import Fitting, align_cameras, aligned_scores
from sparse3d.judge.background import evaluation_background
from sparse3d.judge.evaluate import evaluate, image_renderer
from sparse3d.records.scene import Scene
from sparse3d.train.config import CameraOptConfig, TrainConfig
from sparse3d.train.poses import refines_poses
from tests.train import tiny
from tests.train.tiny import loop


def shifted(scene: Scene) -> Scene:
    """The held-out cameras moved by 0.06 units (two pixels) and turned by 1.4 degrees."""
    move = se3_exp(np.array([0.04, -0.04, 0.02, 0.015, -0.02, 0.01]))
    cameras = [
        replace(c, cam_from_world=move @ c.cam_from_world) if i in scene.test else c
        for i, c in enumerate(scene.cameras)
    ]
    return replace(scene, cameras=tuple(cameras), camera_source="sfm_train")


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_moved_cameras_come_back_and_the_splats_stay(tiny_scene: Scene, backend: str) -> None:
    scene, splats = shifted(tiny_scene), tiny.true_splats()
    scene = replace(scene, test=scene.test if backend == "cpu" else scene.test[:1])
    how = Fitting(evaluation_background(scene, "auto"), backend=backend)
    before = {name: tensor.clone() for name, tensor in splats.named()}
    plain = evaluate(scene, scene.test, image_renderer(splats, how.background, how.backend))
    scores, cameras = aligned_scores(scene, splats, how)
    assert plain.psnr is not None
    assert scores.psnr is not None
    assert plain.psnr < 26
    assert scores.psnr > plain.psnr + 10
    for i in range(len(cameras)):
        truth = tiny_scene.cameras[i].cam_from_world
        off = np.abs(cameras[i].cam_from_world - truth).max()
        if i in scene.test:
            assert off < 0.2 * np.abs(scene.cameras[i].cam_from_world - truth).max()
        else:
            assert cameras[i] is scene.cameras[i]
    for name, tensor in splats.named():
        assert torch.equal(tensor, before[name]), name


def test_a_camera_without_a_better_place_stays(tiny_scene: Scene) -> None:
    # Splats of which nothing is in view: no place is better than another.
    splats = tiny.true_splats()
    away = replace(splats, means=splats.means + 1000.0)
    assert align_cameras(tiny_scene, tiny_scene.test, away, Fitting(torch.zeros(3))) == tiny_scene.cameras


@pytest.mark.parametrize(
    ("enabled", "source", "expected"),
    [("auto", "given", False), ("auto", "sfm_train", True), ("auto", "sfm_all", True), ("on", "given", True)],
)
def test_poses_are_refined_where_they_were_estimated(
    tiny_scene: Scene, enabled: str, source: str, expected: bool
) -> None:
    cfg = CameraOptConfig(enabled="on" if enabled == "on" else "auto")
    assert refines_poses(cfg, source) is expected
    assert refines_poses(CameraOptConfig(enabled="off"), source) is False
    scene = replace(tiny_scene, camera_source=source)
    run = loop(scene, tiny.initial(), TrainConfig(sh_degree=1, camera_opt=cfg))
    assert (run.photos.poses is not None) is expected

# SPDX-License-Identifier: Apache-2.0
"""Cameras, points and depth of a scene far from its origin, or of other units, are those of the unmoved scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparse3d.camera import Camera
from sparse3d.depth.priors.config import PriorConfig
from sparse3d.depth.priors.load import load_priors
from sparse3d.load.config import SceneConfig
from sparse3d.load.scene import load_scene
from sparse3d.records.frame import Frame
from sparse3d.records.points import Points
from tests.load import makers

FAR = np.array([543210.0, 5432100.0, 87.0])


def moved(cams: list[Camera], scale: float, shift: np.ndarray) -> list[Camera]:
    out = []
    for camera in cams:
        pose = camera.cam_from_world.copy()
        pose[:3, 3] = scale * pose[:3, 3] - pose[:3, :3] @ shift
        out.append(replace(camera, cam_from_world=pose))
    return out


def write(root: Path, kind: str, cams: list[Camera]) -> None:
    writers = {
        "transforms": makers.write_transforms, "pose_files": makers.write_pose_files, "llff": makers.write_llff,
        "neus": makers.write_neus, "middlebury": makers.write_middlebury,
    }  # fmt: skip
    if kind in writers:
        writers[kind](root, cams)
        return
    if kind == "blender":
        makers.write_blender(root, cams, cams[:1])
        return
    makers.write_photos(root / "images", cams)
    (makers.write_colmap_bin if kind == "colmap_bin" else makers.write_colmap_txt)(root / "sparse" / "0", cams)


KINDS = ["transforms", "colmap_bin", "colmap_txt", "pose_files", "llff", "neus", "middlebury", "blender"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("scale", "shift"), [(1.0, FAR), (1e-3, 0 * FAR), (1e4, 0 * FAR), (1e-3, FAR)])
def test_cameras_are_moved_before_they_are_rounded(tmp_path: Path, kind: str, scale: float, shift: np.ndarray) -> None:
    cams = makers.cameras(5)
    write(tmp_path / "moved", kind, moved(cams, scale, shift))
    write(tmp_path / "own", kind, cams)
    scene, own = load_scene(tmp_path / "moved"), load_scene(tmp_path / "own")
    assert own.frame == Frame()
    assert scene.frame != Frame()
    assert any(scene.frame.origin) == bool(shift.any())
    xyz = makers.POINTS
    inside = scene.frame.points_in(scale * xyz + shift)
    for camera, expected in zip(scene.cameras, own.cameras, strict=True):
        # A text file holds what it holds: 1e-9 at five million.
        np.testing.assert_allclose(camera.project(inside)[0], expected.project(xyz)[0], atol=0.02)
    assert 0.5 < np.linalg.norm([c.position for c in scene.cameras], axis=1).max() < 2000


def test_points_of_a_far_model_are_moved_as_doubles(tmp_path: Path) -> None:
    lines = ["ply", "format ascii 1.0", "element vertex 4", *(f"property double {n}" for n in "xyz"), "end_header"]
    lines += [" ".join(repr(float(v)) for v in row) for row in makers.POINTS + FAR]
    (tmp_path / "points.ply").write_text("\n".join(lines) + "\n")
    makers.write_transforms(tmp_path, moved(makers.cameras(4), 1.0, FAR), ply_file_path="points.ply")
    for cfg in (SceneConfig(), SceneConfig(test_every=4, points=tmp_path / "points.ply")):
        scene = load_scene(tmp_path, cfg)
        assert scene.points is not None
        assert scene.points.xyz.dtype == np.float32
        np.testing.assert_allclose(scene.points.xyz + (np.array(scene.frame.origin) - FAR), makers.POINTS, atol=1e-6)


def test_depth_maps_are_in_the_units_of_the_files(tmp_path: Path) -> None:
    cams = makers.cameras(4)
    makers.write_transforms(tmp_path, moved(cams, 1e-3, 0 * FAR))
    scene = load_scene(tmp_path)
    rng = np.random.default_rng(0)
    cloud = rng.uniform(-0.3, 0.3, (400, 3))
    folder = tmp_path / "depth"
    folder.mkdir()
    for name, camera in zip(scene.names, cams, strict=True):
        depth = np.full((camera.height, camera.width), np.linalg.norm(camera.position) * 1e-3, np.float32)
        np.save(folder / f"{Path(name).stem}.npy", depth)
    points = Points(scene.frame.points_in(1e-3 * cloud), np.zeros((400, 3), np.float32))
    cfg = PriorConfig(prior_depth=folder, prior_depth_kind="metric")
    found = load_priors(scene, cfg, points, lambda what, share: None)
    assert found.depth_maps
    for index, depth_map in found.depth_maps.items():
        expected = np.linalg.norm(cams[index].position) * 1e-3 * scene.frame.scale
        np.testing.assert_allclose(depth_map.depth[5:-5, 5:-5], expected, rtol=1e-5)

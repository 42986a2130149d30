# SPDX-License-Identifier: Apache-2.0
"""Poses and points as VGGT, MASt3R and DUSt3R leave them: COLMAP models without tracks, and point clouds as PLY."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from sparse3d.camera import Camera
from sparse3d.load import SceneConfig, load_scene
from sparse3d.start.points import initial_points
from tests.load import makers


def _write_txt(folder: Path, cams: list[Camera], keypoint_lines: bool) -> None:
    makers.write_colmap_txt(folder, cams)
    lines = (folder / "images.txt").read_text().splitlines()
    images = lines[1::2]
    text = "\n".join(line + ("\n" if keypoint_lines else "") for line in images)
    (folder / "images.txt").write_text(text + "\n")
    points = [f"{k} {x} {y} {z} 10 20 255 0" for k, (x, y, z) in enumerate(makers.POINTS)]
    (folder / "points3D.txt").write_text("\n".join(points) + "\n")


def _write_bin(folder: Path, cams: list[Camera]) -> None:
    makers.write_colmap_bin(folder, cams)
    images = struct.pack("<Q", len(cams))
    for k, camera in enumerate(cams):
        pose = (*makers.quat_wxyz(camera.cam_from_world[:3, :3]), *camera.cam_from_world[:3, 3])
        images += struct.pack("<I7dI", k + 1, *pose, 7) + camera.name.encode() + b"\0" + struct.pack("<Q", 0)
    (folder / "images.bin").write_bytes(images)
    points = struct.pack("<Q", len(makers.POINTS))
    for k, xyz in enumerate(makers.POINTS):
        points += struct.pack("<Q3d3BdQ", k, *xyz, 10, 20, 255, 0.0, 0)
    (folder / "points3D.bin").write_bytes(points)


@pytest.mark.parametrize("kind", ["txt", "txt, no second lines", "bin"])
def test_points_without_tracks_are_used(tmp_path: Path, kind: str) -> None:
    cams = makers.cameras(4)
    makers.write_photos(tmp_path / "images", cams)
    folder = tmp_path / "sparse" / "0"
    _write_bin(folder, cams) if kind == "bin" else _write_txt(folder, cams, kind == "txt")
    scene = load_scene(tmp_path)
    assert scene.names == ("000.png", "001.png", "002.png", "003.png")
    for camera, truth in zip(scene.cameras, cams, strict=True):
        assert np.allclose(camera.cam_from_world, truth.cam_from_world, atol=1e-6)
    points, source = initial_points(scene)
    assert np.allclose(points.xyz, makers.POINTS)
    assert np.allclose(points.rgb, [10 / 255, 20 / 255, 1.0])
    assert source == "4 given points"
    assert any("4 points have no tracks" in note for note in scene.notes)


def test_a_model_without_points_and_a_ply_beside_it(tmp_path: Path) -> None:
    cams = makers.cameras(4)
    makers.write_photos(tmp_path / "images", cams)
    folder = tmp_path / "sparse" / "0"
    _write_txt(folder, cams, keypoint_lines=True)
    (folder / "points3D.txt").unlink()
    assert load_scene(tmp_path).points is None
    ply = tmp_path / "points.ply"
    rows = "".join(f"{x} {y} {z} 255 0 51\n" for x, y, z in makers.POINTS)
    head = "ply\nformat ascii 1.0\nelement vertex 4\n" + "".join(f"property float {a}\n" for a in "xyz")
    head += "".join(f"property uchar {c}\n" for c in ("red", "green", "blue")) + "end_header\n"
    ply.write_text(head + rows)
    # Points given by hand are used for a part of the photos too: the user answers for where they come from.
    scene = load_scene(tmp_path, SceneConfig(points=ply, views="3"))
    points, _ = initial_points(scene)
    assert np.allclose(points.xyz, makers.POINTS)
    assert np.allclose(points.rgb, [1.0, 0.0, 0.2])

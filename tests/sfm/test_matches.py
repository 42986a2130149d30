# SPDX-License-Identifier: Apache-2.0
"""Matches of the user's own: read, confirmed by the geometry, and used for points and for cameras."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.load import SceneConfig, load_scene
from sparse3d.photos.photo import Photo
from sparse3d.photos.store import ImageStore
from sparse3d.photos.undistort import distort, pinhole_camera, undistort
from sparse3d.records.scene import Scene
from sparse3d.sfm.matches import read_matches
from sparse3d.sfm.reconstruct import SfmConfig, reconstruct
from sparse3d.sfm.triangulate import triangulate_points
from tests.depth.plane_scene import cameras_on_arc
from tests.load import makers
from tests.sfm.match_files import write_database, write_npz

# Points in a ball that all cameras of the arc see: photos without any texture show none of them.
COUNT = 120
BALL = np.array([0.0, 0.0, 4.0]) + np.random.default_rng(0).normal(0.0, 0.4, (COUNT, 3))


def seen(camera: Camera, lens: Camera | None = None) -> np.ndarray:
    """[N,2] pixels of the ball's points in the photo of `lens`, which may be distorted."""
    cam = BALL @ camera.cam_from_world[:3, :3].T + camera.cam_from_world[:3, 3]
    return distort(lens or camera, (cam[:, :2] / cam[:, 2:]).astype(np.float64))


def empty_photos(folder: Path, cameras: list[Camera]) -> list[Photo]:
    folder.mkdir()
    photos = []
    for k, camera in enumerate(cameras):
        path = folder / f"p{k}.png"
        Image.new("RGB", (camera.width, camera.height), (90, 120, 150)).save(path)
        photos.append(Photo(path.name, path, camera, upright=True))
    return photos


def scene_of(folder: Path, lenses: list[Camera], train: tuple[int, ...]) -> Scene:
    photos = empty_photos(folder, lenses)
    cameras = [pinhole_camera(lens) for lens in lenses]
    names = tuple(photo.name for photo in photos)
    test = tuple(i for i in range(len(names)) if i not in train)
    return Scene("test", folder, names, tuple(cameras), ImageStore(photos, cameras), train, test)


def all_pairs(cameras: list[Camera]) -> dict[tuple[str, str], np.ndarray]:
    return {
        (f"p{i}.png", f"p{j}.png"): np.concatenate([seen(cameras[i]), seen(cameras[j])], axis=1)
        for i, j in combinations(range(len(cameras)), 2)
    }


def with_matches(scene: Scene, path: Path) -> Scene:
    return replace(scene, matches=read_matches(path, scene.names)[0])


def test_both_kinds_of_file_say_the_same(tmp_path: Path) -> None:
    cameras = cameras_on_arc(3)
    write_npz(tmp_path / "m.npz", all_pairs(cameras))
    keypoints = [(f"folder/p{k}.png", seen(camera)) for k, camera in enumerate(cameras)]
    index = np.stack([np.arange(COUNT)] * 2, axis=1)
    half = {(0, 1): index[:50], (0, 2): index, (1, 2): index}
    names = [f"p{k}.png" for k in range(3)]
    from_npz, _ = read_matches(tmp_path / "m.npz", names)
    write_database(tmp_path / "raw.db", (320, 240), keypoints, half, "matches")
    from_database, notes = read_matches(tmp_path / "raw.db", names)
    assert notes == ("290 matches of 3 pairs of photos from raw.db",)
    for ours, theirs in zip(from_npz.pairs, from_database.pairs, strict=True):
        assert (ours.a, ours.b) == (theirs.a, theirs.b)
        assert theirs.size_a == theirs.size_b == (320, 240)
        assert np.abs(ours.xy[: len(theirs.xy)] - theirs.xy).max() < 1e-4
    # Verified matches win over raw ones.
    write_database(tmp_path / "verified.db", (320, 240), keypoints, {(0, 1): index[:7]}, "two_view_geometries")
    assert [len(pair.xy) for pair in read_matches(tmp_path / "verified.db", names)[0].pairs] == [7]


def test_points_come_from_given_matches_and_wrong_ones_are_dropped(tmp_path: Path) -> None:
    cameras = cameras_on_arc(4)
    scene = scene_of(tmp_path / "photos", cameras, (0, 1, 3))
    assert triangulate_points(scene) is None
    pairs = all_pairs(cameras)
    rng = np.random.default_rng(3)
    for xy in pairs.values():
        xy[:20, 2:] = rng.uniform(0, 200, (20, 2))
    # Of the held-out photo 2 only nonsense: it must not matter.
    pairs = {key: xy if "p2.png" not in key else rng.uniform(0, 200, xy.shape) for key, xy in pairs.items()}
    write_npz(tmp_path / "m.npz", pairs)
    points = triangulate_points(with_matches(scene, tmp_path / "m.npz"), workdir=tmp_path)
    assert points is not None
    assert len(points) >= 90
    nearest = np.linalg.norm(points.xyz[:, None] - BALL[None], axis=2)
    found = nearest.argmin(axis=1)
    assert np.median(nearest.min(axis=1)) < 0.001
    assert len(set(found.tolist()) & set(range(20, COUNT))) >= 90
    assert np.allclose(points.rgb, np.array([90, 120, 150]) / 255, atol=0.01)
    # Kept points are of these matches only.
    assert triangulate_points(scene, workdir=tmp_path) is None


def test_matches_of_smaller_pictures_and_of_a_distorted_lens(tmp_path: Path) -> None:
    cameras = cameras_on_arc(2)
    lenses = [replace(c, distortion=(-0.15, 0.04, 0.001, -0.002)) for c in cameras]
    scene = scene_of(tmp_path / "photos", lenses, (0, 1))
    xy = np.concatenate([seen(c, lens) for c, lens in zip(cameras, lenses, strict=True)], axis=1)
    write_npz(
        tmp_path / "m.npz", {("p0.png", "p1.png"): xy / [2, 2, 4, 4]}, sizes=np.array([[160, 120, 80, 60]])
    )  # fmt: skip
    points = triangulate_points(with_matches(scene, tmp_path / "m.npz"))
    assert points is not None
    assert len(points) > 110
    assert np.linalg.norm(points.xyz[:, None] - BALL[None], axis=2).min(axis=1).max() < 0.001


@pytest.mark.parametrize("model", ["opencv", "fisheye"])
def test_undistort_is_the_reverse_of_distort(model: str) -> None:
    lens = Camera(640, 480, 420.0, 410.0, 322.0, 239.0, np.eye(4), distortion=(-0.1, 0.02, 0.003, 0.001))
    lens = replace(lens, lens=model)
    pixels = np.random.default_rng(4).uniform((0, 0), (640, 480), (500, 2))
    assert np.abs(distort(lens, undistort(lens, pixels)) - pixels).max() < 1e-6
    # A lens that folds back has no direction for what lies beyond its edge.
    folded = replace(lens, distortion=(-0.4, 0.0, 0.0, 0.0), lens="opencv")
    assert np.isnan(undistort(folded, np.array([[5000.0, 240.0]]))).all()


def test_masked_pixels_give_no_points(tmp_path: Path) -> None:
    cameras = cameras_on_arc(2)
    scene = scene_of(tmp_path / "photos", cameras, (0, 1))
    Image.fromarray(np.tile(np.repeat(np.array([0, 255], np.uint8), 160), (240, 1))).save(tmp_path / "right.png")
    photos = [replace(scene.images.photo(i), mask_path=tmp_path / "right.png") for i in range(2)]
    masked = replace(scene, images=ImageStore(photos, scene.cameras))
    write_npz(tmp_path / "m.npz", all_pairs(cameras))
    points = triangulate_points(with_matches(masked, tmp_path / "m.npz"))
    assert points is not None
    assert 20 < len(points) < 80
    assert cameras[0].project(points.xyz)[0][:, 0].min() > 160


@pytest.mark.parametrize("count", [4, 6])
def test_cameras_and_focal_length_come_from_given_matches(tmp_path: Path, count: int) -> None:
    cameras = cameras_on_arc(count, step_deg=15.0)
    photos = [replace(photo, camera=None) for photo in empty_photos(tmp_path / "photos", cameras)]
    pairs = all_pairs(cameras)
    rng = np.random.default_rng(5)
    for xy in pairs.values():
        xy += rng.normal(0, 0.2, xy.shape)
        xy[:10] = rng.uniform(0, 200, (10, 4))
    write_npz(tmp_path / "m.npz", pairs)
    matches, _ = read_matches(tmp_path / "m.npz", [p.name for p in photos])
    result = reconstruct(photos, range(count), SfmConfig(cameras="all"), matches=matches)
    assert len(result.cameras) == count
    assert len(result.points) > 80
    # Nothing but the matches tells it: 300 pixels. With four photos the nearest of a short list is taken, 320.
    assert abs(result.cameras["p0.png"].fx - 300.0) < 21.0
    for i, j in combinations(range(count), 2):
        ours = result.cameras[f"p{i}.png"].cam_from_world @ result.cameras[f"p{j}.png"].world_from_cam
        theirs = cameras[i].cam_from_world @ cameras[j].world_from_cam
        turn = (np.trace(ours[:3, :3].T @ theirs[:3, :3]) - 1) / 2
        assert np.degrees(np.arccos(np.clip(turn, -1, 1))) < 2.0


def test_load_scene_reads_them_once_and_says_so(tmp_path: Path) -> None:
    cams = makers.cameras(3)
    makers.write_transforms(tmp_path / "scene", cams)
    write_npz(tmp_path / "m.npz", {("000.png", "001"): np.ones((3, 4)), ("other.png", "001"): np.ones((3, 4))})
    scene = load_scene(tmp_path / "scene", SceneConfig(prior_matches=tmp_path / "m.npz"))
    assert scene.matches is not None
    assert [(pair.a, pair.b) for pair in scene.matches.pairs] == [("images/000.png", "images/001.png")]
    assert "3 matches of 1 pairs of photos from m.npz; 1 pairs of other photos left out" in scene.notes


def test_matches_of_a_picture_of_another_shape_are_refused(tmp_path: Path) -> None:
    cameras = cameras_on_arc(2)
    scene = scene_of(tmp_path / "photos", cameras, (0, 1))
    write_npz(tmp_path / "m.npz", {("p0.png", "p1.png"): np.ones((3, 4))}, sizes=np.array([[320, 320, 320, 240]]))
    with pytest.raises(DataError, match=r"p0\.png was matched as a picture of 320x320 pixels, but it is 320x240"):
        triangulate_points(with_matches(scene, tmp_path / "m.npz"))


def test_files_that_hold_no_matches(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"

    def refused(what: str) -> None:
        with pytest.raises(DataError, match=what):
            read_matches(path, ["a.png", "b.png"])

    refused("there is no such file")
    path.write_bytes(b"nothing of the kind")
    refused("neither a COLMAP database nor an npz file")
    np.savez(path, xy_0=np.ones((2, 4)))
    refused("has no array 'names'")
    np.savez(path, names=np.array([["a.png", "b.png"]]))
    refused("has no array 'xy_0' for the pair a.png and b.png")
    write_npz(path, {("a.png", "b.png"): np.ones((2, 3))})
    refused(r"'xy_0' is float64 \[2, 3\]; expected numbers")
    write_npz(path, {("a.png", "b.png"): np.ones((2, 4))}, sizes=np.ones((2, 4)))
    refused(r"'sizes' is \[2, 4\]; expected \[1,4\]")
    write_npz(path, {("c.png", "d.png"): np.ones((2, 4))})
    refused(r"no match between two photos of the scene \(the first is a\.png\); its first pair is c\.png and d\.png")
    write_npz(path, {("a.png", "b.png"): np.full((2, 4), np.nan)})
    refused("no match between two photos")


def test_damaged_databases(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    path.write_bytes(b"SQLite format 3\0 and then nothing")
    with pytest.raises(DataError, match="is not a COLMAP database"):
        read_matches(path, ["a.png", "b.png"])
    keypoints = [("a.png", np.ones((4, 2))), ("b.png", np.ones((4, 2)))]
    write_database(path, (8, 8), keypoints, {(0, 1): [[0, 9]]}, "matches")
    with pytest.raises(DataError, match=r"matches of a\.png and b\.png name keypoints that are not there"):
        read_matches(path, ["a.png", "b.png"])
    write_database(path, (8, 8), keypoints, {(0, 1): [[0, 1]]}, "matches")
    import sqlite3

    base = sqlite3.connect(path)
    base.execute("UPDATE keypoints SET rows = 7 WHERE image_id = 2")
    base.commit()
    base.close()
    with pytest.raises(DataError, match="the database is damaged: 7 rows of 4 values in 64 bytes"):
        read_matches(path, ["a.png", "b.png"])

# SPDX-License-Identifier: Apache-2.0
"""Every layout, written by hand around known cameras, gives those cameras back: known points project to 0.1 px."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparse3d.camera import Camera
from sparse3d.errors import DataError, UsageError
from sparse3d.load import SceneConfig, load_scene
from sparse3d.load.parsers import PARSERS, Work
from sparse3d.load.parsers.colmap_model import read_model
from sparse3d.records.scene import Scene
from tests.load import makers


def assert_projects_alike(scene: Scene, expected: list[Camera]) -> None:
    assert len(scene.cameras) == len(expected)
    by_name = {Path(name).name: camera for name, camera in zip(scene.names, scene.cameras, strict=True)}
    for camera in expected:
        found = by_name[Path(camera.name).name].resized(camera.width, camera.height)
        pixels, depth = found.project(makers.POINTS)
        wanted, wanted_depth = camera.project(makers.POINTS)
        assert (wanted_depth > 0.5).all()
        np.testing.assert_allclose(pixels, wanted, atol=0.1)
        np.testing.assert_allclose(depth, wanted_depth, atol=1e-3)


def middle(cams: list[Camera]) -> list[Camera]:
    """The same cameras with one focal length and the principal point in the middle, as some layouts need."""
    return [replace(c, fy=c.fx, cx=c.width / 2, cy=c.height / 2) for c in cams]


def test_transforms(tmp_path: Path) -> None:
    cams = makers.cameras(4)
    makers.write_transforms(tmp_path, cams)
    scene = load_scene(tmp_path)
    assert scene.kind == "transforms"
    assert_projects_alike(scene, cams)
    assert scene.images[0].shape == (48, 64, 3)


def test_transforms_per_frame_intrinsics_win_and_suffix_is_found(tmp_path: Path) -> None:
    cams = [replace(c, fx=60.0 + k, cy=20.0 + k) for k, c in enumerate(makers.cameras(3))]
    path = makers.write_transforms(tmp_path, cams)
    data = json.loads(path.read_text())
    for frame, camera in zip(data["frames"], cams, strict=True):
        frame |= {"fl_x": camera.fx, "cy": camera.cy, "file_path": "./" + frame["file_path"].removesuffix(".png")}
    path.write_text(json.dumps(data))
    scene = load_scene(tmp_path / "transforms.json")
    assert scene.names == ("images/000.png", "images/001.png", "images/002.png")
    assert_projects_alike(scene, cams)


def test_transforms_angle_only(tmp_path: Path) -> None:
    cams = middle(makers.cameras(3))
    path = makers.write_transforms(tmp_path, cams)
    data = json.loads(path.read_text())
    angle = 2 * np.arctan(32 / cams[0].fx)
    path.write_text(json.dumps({"camera_angle_x": angle, "frames": data["frames"]}))
    assert_projects_alike(load_scene(tmp_path), cams)


def test_transforms_missing_photos_are_counted_once(tmp_path: Path) -> None:
    makers.write_transforms(tmp_path, makers.cameras(5))
    for name in ("001.png", "003.png"):
        (tmp_path / "images" / name).unlink()
    scene = load_scene(tmp_path)
    about = [note for note in scene.notes if "do not exist" in note]
    assert about == ["2 of 5 photos listed in transforms.json do not exist and are left out, first images/001.png"]
    assert len(scene.names) == 3


def test_transforms_photos_that_it_does_not_list_are_counted(tmp_path: Path) -> None:
    makers.write_transforms(tmp_path, makers.cameras(3))
    makers.write_photos(tmp_path / "images" / "more", makers.cameras(2))
    makers.write_photos(tmp_path / "images_2", makers.cameras(3))
    note = "2 of 5 photos in images/ are not in transforms.json and left out, first more/000.png"
    assert note in load_scene(tmp_path).notes


def test_transforms_own_split(tmp_path: Path) -> None:
    names = [f"images/{k:03d}.png" for k in range(5)]
    makers.write_transforms(
        tmp_path, makers.cameras(5), train_filenames=names[:2], val_filenames=[names[2]], test_filenames=names[3:]
    )
    scene = load_scene(tmp_path)
    assert (scene.train, scene.test) == ((0, 1), (3, 4))


def test_transforms_points_only_without_held_out_photos(tmp_path: Path) -> None:
    ply = "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
    ply += "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n1 2 3 255 0 0\n4 5 6 0 51 255\n"
    applied = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0]]
    makers.write_transforms(tmp_path, makers.cameras(4), ply_file_path="points.ply", applied_transform=applied)
    (tmp_path / "points.ply").write_text(ply)
    scene = load_scene(tmp_path)
    assert scene.points is not None
    np.testing.assert_array_equal(scene.points.xyz, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_allclose(scene.points.rgb[1], [0.0, 0.2, 1.0])
    held_out = load_scene(tmp_path, SceneConfig(test_every=4))
    assert held_out.points is None
    assert any("computed from all 4 photos" in note for note in held_out.notes)
    given = load_scene(tmp_path, SceneConfig(test_every=4, points=tmp_path / "points.ply"))
    assert given.points is not None
    assert len(given.points) == 2


@pytest.mark.parametrize("suffix", ["bin", "txt"])
def test_colmap(tmp_path: Path, suffix: str) -> None:
    cams = makers.cameras(4)
    makers.write_photos(tmp_path / "images", cams)
    write = makers.write_colmap_bin if suffix == "bin" else makers.write_colmap_txt
    write(tmp_path / "sparse" / "0", cams)
    scene = load_scene(tmp_path)
    assert scene.kind == "colmap"
    assert_projects_alike(scene, cams)
    # The last point was seen by one photo.
    assert scene.points is not None
    np.testing.assert_allclose(scene.points.xyz, makers.POINTS[:3], atol=1e-6)
    np.testing.assert_allclose(scene.points.rgb[2], [20 / 255, 20 / 255, 1.0], atol=1e-6)
    assert load_scene(tmp_path, SceneConfig(views="2")).points is None


def test_colmap_smaller_photos(tmp_path: Path) -> None:
    cams = makers.cameras(3)
    makers.write_photos(tmp_path / "images_4", cams)
    makers.write_colmap_bin(tmp_path / "sparse" / "0", [c.resized(256, 192) for c in cams])
    scene = load_scene(tmp_path)
    assert_projects_alike(scene, cams)
    assert any("256x192" in note and "64x48" in note and "multiplied by 0.25" in note for note in scene.notes)
    assert "images/ does not hold the photos; their smaller copies in images_4/ are taken" in scene.notes


def test_smaller_photos_of_every_kind_are_named(tmp_path: Path) -> None:
    cams = middle(makers.cameras(4))
    makers.write_transforms(tmp_path / "transforms", cams)
    (tmp_path / "transforms" / "images").rename(tmp_path / "transforms" / "images_2")
    makers.write_llff(tmp_path / "llff", cams, 4)
    makers.write_neus(tmp_path / "neus", cams, 4)
    for kind, named, taken in (("transforms", "images", 2), ("llff", "images", 4), ("neus", "image", 4)):
        scene = load_scene(tmp_path / kind)
        assert scene.kind == kind
        assert_projects_alike(scene, cams)
        assert f"{named}/ does not hold the photos; their smaller copies in images_{taken}/ are taken" in scene.notes


def test_plain_photos_in_a_folder_of_smaller_copies(tmp_path: Path) -> None:
    cams = makers.cameras(4)
    (tmp_path / "images").mkdir()
    makers.write_photos(tmp_path / "images_8", cams)
    makers.write_photos(tmp_path / "images_4", cams)
    (tmp_path / "images_2").mkdir()
    assert PARSERS["photos"].sniff(tmp_path) == "images_4/ holds 4 photos"
    parsed = PARSERS["photos"].parse(tmp_path, SceneConfig(), Work(None, None))
    assert {photo.path.parent.name for photo in parsed.photos} == {"images_4"}
    assert parsed.notes == ("images/ does not hold the photos; their smaller copies in images_4/ are taken",)
    makers.write_photos(tmp_path / "images", cams)
    assert PARSERS["photos"].parse(tmp_path, SceneConfig(), Work(None, None)).notes == ()


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_colmap_every_truncation_is_refused(tmp_path: Path, name: str) -> None:
    makers.write_colmap_bin(tmp_path, makers.cameras(2))
    whole = (tmp_path / name).read_bytes()
    assert len(whole) > 60
    for length in range(len(whole)):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(DataError, match=name):
            read_model(tmp_path)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_colmap_absurd_count_is_refused_without_allocating(tmp_path: Path, name: str) -> None:
    cams = makers.cameras(2)
    makers.write_photos(tmp_path / "images", cams)
    model = tmp_path / "sparse" / "0"
    makers.write_colmap_bin(model, cams)
    data = (model / name).read_bytes()
    (model / name).write_bytes(struct.pack("<Q", 2**60) + data[8:])
    with pytest.raises(DataError, match=rf"{name}: says it holds {2**60} "):
        load_scene(tmp_path)


def test_colmap_absurd_keypoints_and_track_are_refused(tmp_path: Path) -> None:
    cams = makers.cameras(2)
    makers.write_photos(tmp_path / "images", cams)
    model = tmp_path / "sparse" / "0"
    makers.write_colmap_bin(model, cams)
    images = bytearray((model / "images.bin").read_bytes())
    at = images.index(b"000.png\0") + 8
    images[at : at + 8] = struct.pack("<Q", 2**50)
    (model / "images.bin").write_bytes(bytes(images))
    with pytest.raises(DataError, match=r"keypoints of image 000\.png"):
        load_scene(tmp_path)


def test_colmap_text_errors_name_the_line(tmp_path: Path) -> None:
    cams = makers.cameras(3)
    makers.write_photos(tmp_path / "images", cams)
    model = tmp_path / "sparse"
    makers.write_colmap_txt(model, cams)
    text = (model / "cameras.txt").read_text()
    (model / "cameras.txt").write_text(text.replace("PINHOLE 64", "PINHOLE sixty"))
    with pytest.raises(DataError, match=r"cameras.txt: line 2: could not convert string to float: 'sixty'"):
        load_scene(tmp_path)
    (model / "cameras.txt").write_text(text.rsplit(" ", 1)[0] + "\n")
    with pytest.raises(DataError, match="line 2: PINHOLE has 4 parameters, found 3"):
        load_scene(tmp_path)
    (model / "cameras.txt").write_text(text.replace("7 PINHOLE", "8 PINHOLE"))
    with pytest.raises(DataError, match=r"image 000\.png uses camera 7, which the cameras file does not have"):
        load_scene(tmp_path)


def test_colmap_ground_truth_folder_is_never_found_by_itself(tmp_path: Path) -> None:
    cams = makers.cameras(3)
    makers.write_photos(tmp_path / "images", cams)
    makers.write_colmap_txt(tmp_path / "colmap_ground_truth", cams)
    assert [p.kind for p in PARSERS if p.sniff(tmp_path)] == ["photos"]
    # Given as the path itself, it is meant; its photos lie one level up.
    assert_projects_alike(load_scene(tmp_path / "colmap_ground_truth"), cams)


def test_blender(tmp_path: Path) -> None:
    cams = middle(makers.cameras(5))
    train = [replace(c, name=f"r_{k}.png") for k, c in enumerate(cams[:3])]
    test = [replace(c, name=f"r_{k}.png") for k, c in enumerate(cams[3:])]
    makers.write_blender(tmp_path, train, test)
    scene = load_scene(tmp_path)
    assert scene.names == ("test/r_0.png", "test/r_1.png", "train/r_0.png", "train/r_1.png", "train/r_2.png")
    assert (scene.train, scene.test) == ((2, 3, 4), (0, 1))
    assert_projects_alike(replace(scene, names=scene.names[2:], cameras=scene.cameras[2:]), train)
    assert float(scene.images[0][:24].min()) == 1.0
    assert scene.images.mask(0) is None
    black = load_scene(tmp_path, SceneConfig(background="black", alpha="mask"))
    assert float(black.images[0][:24].max()) == 0.0
    mask = black.images.mask(0)
    assert mask is not None
    assert float(mask[:24].sum()) == 0
    assert float(mask[24:].min()) == 1.0


@pytest.mark.parametrize("factor", [1, 8])
def test_llff(tmp_path: Path, factor: int) -> None:
    cams = middle(makers.cameras(4))
    makers.write_llff(tmp_path, cams, factor)
    scene = load_scene(tmp_path)
    assert scene.kind == "llff"
    assert_projects_alike(scene, cams)


def test_llff_largest_folder_and_unequal_counts(tmp_path: Path) -> None:
    cams = middle(makers.cameras(4))
    makers.write_llff(tmp_path, cams, 4)
    makers.write_photos(tmp_path / "images_8", [c.resized(32, 24) for c in cams])
    scene = load_scene(tmp_path)
    assert scene.cameras[0].width == 64
    assert "photos from images_4/; images_8 are passed over" in scene.notes
    (tmp_path / "images_4" / "001.png").unlink()
    with pytest.raises(DataError, match=r"poses_bounds.npy has 4 rows but images_4/ holds 3 photos; row k belongs to"):
        load_scene(tmp_path)


@pytest.mark.parametrize("factor", [1, 4])
def test_neus(tmp_path: Path, factor: int) -> None:
    cams = makers.cameras(4)
    makers.write_neus(tmp_path, cams, factor)
    scene = load_scene(tmp_path)
    assert scene.kind == "neus"
    assert_projects_alike(scene, cams)


def test_neus_some_photos_and_wrong_counts(tmp_path: Path) -> None:
    cams = makers.cameras(4)
    makers.write_neus(tmp_path, cams)
    (tmp_path / "image" / "001.png").unlink()
    assert_projects_alike(load_scene(tmp_path), [cams[0], cams[2], cams[3]])
    (tmp_path / "image" / "003.png").rename(tmp_path / "image" / "last.png")
    with pytest.raises(DataError, match=r"has 4 cameras but image/ holds 3 photos, and their names are not"):
        load_scene(tmp_path)


def test_middlebury(tmp_path: Path) -> None:
    cams = makers.cameras(4)
    makers.write_middlebury(tmp_path, cams)
    scene = load_scene(tmp_path)
    assert scene.kind == "middlebury"
    assert_projects_alike(scene, cams)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.rsplit("\n", 2)[0] + "\n", "line 1 says 3 photos, but 2 lines follow"),
        (lambda text: text.rsplit(" ", 1)[0] + "\n", "line 4: expected a name and 21 numbers"),
        (lambda text: text.replace("3\n", "three\n", 1), "line 1 must be the number of photos, found 'three'"),
        (lambda text: "", "is empty"),
    ],
)
def test_middlebury_errors(tmp_path: Path, change, message: str) -> None:
    makers.write_middlebury(tmp_path, makers.cameras(3))
    path = tmp_path / "tiny_par.txt"
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message):
        load_scene(tmp_path)


def test_pose_files(tmp_path: Path) -> None:
    cams = makers.cameras(4)
    makers.write_pose_files(tmp_path, cams)
    np.savetxt(tmp_path / "pose" / "001.txt", np.full((4, 4), -np.inf))
    (tmp_path / "pose" / "003.txt").unlink()
    scene = load_scene(tmp_path)
    assert scene.kind == "pose_files"
    assert_projects_alike(scene, [cams[0], cams[2]])
    assert "photos left out, as their pose is not finite: 1 of 4" in scene.notes
    assert "photos left out, as they have no file in pose/: 1 of 4, first 003.png" in scene.notes


def test_which_kind_wins_and_kind_overrides(tmp_path: Path) -> None:
    cams = middle(makers.cameras(4))
    makers.write_pose_files(tmp_path, cams)
    makers.write_middlebury(tmp_path, cams)
    makers.write_llff(tmp_path, cams)
    makers.write_neus(tmp_path, cams)
    makers.write_colmap_bin(tmp_path / "sparse" / "0", cams)
    makers.write_blender(tmp_path, cams, cams)
    makers.write_transforms(tmp_path, cams)
    order = ["transforms", "blender", "colmap", "neus", "llff", "middlebury", "pose_files", "photos"]
    assert [p.kind for p in PARSERS if p.sniff(tmp_path)] == order
    assert PARSERS.names() == [*order, "video"]
    scene = load_scene(tmp_path)
    assert scene.notes[0] == (
        f"scene {tmp_path.name}: read as transforms, because there is a transforms.json; also possible with --kind: "
        "blender, colmap, neus, llff, middlebury, pose_files, photos"
    )
    for kind in order[2:7]:
        chosen = load_scene(tmp_path, SceneConfig(kind=kind))
        assert chosen.kind == kind
        assert_projects_alike(chosen, cams)
    with pytest.raises(UsageError, match="unknown kind of scene 'llf'; did you mean 'llff'"):
        load_scene(tmp_path, SceneConfig(kind="llf"))

# SPDX-License-Identifier: Apache-2.0
"""Loading as a whole: what works without a word, and the sentence of each thing that cannot work."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparse3d.errors import DataError, Sparse3dError, UsageError
from sparse3d.load import SceneConfig, load_scene
from sparse3d.load.scene import fit_cameras
from sparse3d.photos.photo import Photo
from tests.load import makers
from tests.sfm.epipolar import median_epipolar_px


def test_two_photos_of_different_size(tmp_path: Path) -> None:
    one, two = makers.cameras(2)
    two = replace(two.resized(128, 48), name="wide.png")
    frames = [
        {"file_path": f"images/{c.name}", "transform_matrix": makers.opengl(c), "w": c.width, "h": c.height}
        | {"fl_x": c.fx, "fl_y": c.fy, "cx": c.cx, "cy": c.cy}
        for c in (one, two)
    ]
    makers.write_transforms(tmp_path, [one, two], frames=frames)
    scene = load_scene(tmp_path, SceneConfig(max_side=32))
    assert [tuple(scene.images[k].shape) for k in (0, 1)] == [(24, 32, 3), (12, 32, 3)]
    assert [(c.width, c.height) for c in scene.cameras] == [(32, 24), (32, 12)]
    assert scene.cameras[1].fx == pytest.approx(one.fx / 2)


def test_path_with_spaces_and_other_letters(tmp_path: Path) -> None:
    root = tmp_path / "Mein Szenen-Ordner übung 写真 é"
    cams = [replace(c, name=f"Küche №{k} 写真.png") for k, c in enumerate(makers.cameras(3))]
    makers.write_transforms(root, cams)
    scene = load_scene(root)
    assert scene.images[0].shape == (48, 64, 3)
    assert scene.names[0] == "images/Küche №0 写真.png"
    assert len(load_scene(root, SceneConfig(views="name:Küche №1 写真.png")).train) == 1
    colmap = tmp_path / "modèle é"
    makers.write_photos(colmap / "images", cams)
    makers.write_colmap_bin(colmap / "sparse" / "0", cams)
    assert load_scene(colmap).names == tuple(sorted(c.name for c in cams))


def test_sixteen_bit_photo_with_a_path_that_is_not_ascii(tmp_path: Path) -> None:
    import cv2

    cams = makers.cameras(1)
    makers.write_transforms(tmp_path / "ü", cams)
    wide = makers.picture(64, 48).astype(np.uint16) * 257
    (tmp_path / "ü" / "images" / "000.png").write_bytes(cv2.imencode(".png", wide[:, :, ::-1])[1].tobytes())
    np.testing.assert_array_equal(load_scene(tmp_path / "ü").images.rgb8(0), makers.picture(64, 48))


def test_one_camera(tmp_path: Path) -> None:
    makers.write_transforms(tmp_path, makers.cameras(1))
    scene = load_scene(tmp_path)
    assert scene.train == (0,)
    assert scene.extent == 1.0


def test_exif_orientation_of_posed_photos_is_decided_by_the_camera(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.jpg"
    Image.fromarray(makers.picture(64, 48)).save(path, exif=exif)
    stored = makers.cameras(1)[0]
    turned = makers.cameras(1, 48, 64)[0]
    for camera, upright in ((stored, False), (turned, True)):
        photos, notes = fit_cameras([Photo("a.jpg", path, camera)])
        assert (photos[0].upright, notes) == (upright, ())


def test_notes_on_profiles_and_alpha(tmp_path: Path) -> None:
    cams = makers.cameras(2)
    makers.write_transforms(tmp_path, cams)
    picture = np.dstack([makers.picture(64, 48), np.full((48, 64), 200, np.uint8)])
    Image.fromarray(picture).save(tmp_path / "images" / "000.png", icc_profile=b"broken")
    notes = load_scene(tmp_path, SceneConfig(background="black")).notes
    assert "photos with an alpha channel, composited over black: 1" in notes
    assert "photos with an unreadable colour profile, taken as sRGB: 1" in notes


def test_other_files_are_counted_in_one_line(tmp_path: Path) -> None:
    makers.write_llff(tmp_path, makers.cameras(3))
    for name in ("IMG.dng", "IMG2.dng", "notes.txt", "Makefile"):
        (tmp_path / "images" / name).touch()
    notes = load_scene(tmp_path).notes
    about = [note for note in notes if "no photos" in note]
    assert about == ["files in images that are no photos, passed over: 4 (.dng, .txt, no suffix)"]


def test_no_torch_needed_for_settings() -> None:
    code = "import sys, sparse3d.load.config; assert 'torch' not in sys.modules; assert 'PIL' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def drop(key: str):
    def change(data: dict) -> None:
        del data[key]

    return change


def put(key: str, value: object):
    def change(data: dict) -> None:
        data[key] = value

    return change


def in_frame(key: str, value: object):
    def change(data: dict) -> None:
        data["frames"][1][key] = value

    return change


def flat_pose(data: dict) -> None:
    data["frames"][1]["transform_matrix"] = np.diag([1.0, 1.0, 0.0, 1.0]).tolist()


def mirrored_pose(data: dict) -> None:
    data["frames"][1]["transform_matrix"] = np.diag([1.0, 1.0, -1.0, 1.0]).tolist()


def skewed_pose(data: dict) -> None:
    data["frames"][1]["transform_matrix"] = [[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


NO_FRAMES = (
    "{root}/transforms.json: lists no frames (key 'frames'), so it is no transforms.json; give the photos' "
    "folder instead"
)
TRANSFORMS_ERRORS = {
    "no frames": (put("frames", []), NO_FRAMES),
    "frames no list": (put("frames", {}), NO_FRAMES),
    "no file": (
        in_frame("file_path", 3),
        "{root}/transforms.json: frame 1 has no file_path; add the name of its photo",
    ),
    "matrix": (
        in_frame("transform_matrix", [[1, 2], [3, 4]]),
        "{root}/transforms.json: frame 1 (images/001.png): transform_matrix must be 4x4 (or 3x4), found shape (2, 2); "
        "write it as rows of numbers",
    ),
    "word in matrix": (
        in_frame("transform_matrix", [["x"] * 4] * 4),
        "{root}/transforms.json: frame 1 (images/001.png): transform_matrix holds something that is not a number "
        "(could not convert string to float: 'x'); write it as rows of numbers",
    ),
    "flat": (
        flat_pose,
        "{root}/transforms.json: frame 1 (images/001.png): the camera's rotation is flat (determinant 0); check the "
        "axes of the source",
    ),
    "mirrored": (
        mirrored_pose,
        "{root}/transforms.json: frame 1 (images/001.png): the camera's rotation is mirrored (determinant below 0); "
        "check the axes of the source",
    ),
    "skewed": (
        skewed_pose,
        "{root}/transforms.json: frame 1 (images/001.png): the camera's axes are not perpendicular (singular values "
        "1.28 to 0.781); write its pose as a rotation and a place",
    ),
    "no focal": (
        drop("fl_x"),
        None,
    ),
    "bad focal": (
        put("fl_x", -3),
        "{root}/transforms.json: frame 0 (images/000.png): fl_x, the focal length, is -3; correct it: it "
        "must be positive",
    ),
    "text focal": (
        put("fl_x", "long"),
        "{root}/transforms.json: frame 0 (images/000.png): fl_x must be a number, found 'long'; "
        "correct it or remove it",
    ),
    "model": (
        put("camera_model", "EQUIRECTANGULAR"),
        "{root}/transforms.json: frame 0 (images/000.png): camera_model EQUIRECTANGULAR cannot be made a pinhole "
        "camera: it shows all around; cut the photos into perspective views first and give their cameras",
    ),
    "shape": (
        put("h", 64),
        "photo {root}/images/000.png is 64x48 pixels but its camera is for 64x64: the shapes differ, so one is not a "
        "resized copy of the other; give the photos that the cameras were made for",
    ),
    "twice": (
        in_frame("file_path", "images/000.png"),
        "{root}/transforms.json: photo images/000.png is listed twice; remove one of its entries",
    ),
    "all missing": (
        lambda data: [frame.update(file_path="gone.png") for frame in data["frames"]],
        "{root}/transforms.json: none of the 3 photos it lists exists, first {root}/gone.png; check that the pictures "
        "lie where file_path says",
    ),
    "both splits": (
        lambda data: data.update(train_filenames=["images/000.png"], test_filenames=["images/000.png"]),
        "{root}/transforms.json: images/000.png is both in train_filenames and in the test list; take it out of one",
    ),
}


@pytest.mark.parametrize("case", TRANSFORMS_ERRORS)
def test_transforms_error_sentences(tmp_path: Path, case: str) -> None:
    change, message = TRANSFORMS_ERRORS[case]
    path = makers.write_transforms(tmp_path, makers.cameras(3))
    data = json.loads(path.read_text())
    change(data)
    if case == "no focal":
        del data["fl_y"]
        message = (
            "{root}/transforms.json: frame 0 (images/000.png): has no focal length (fl_x, x_fov or camera_angle_x, "
            "in the frame or at the top); add one"
        )
    path.write_text(json.dumps(data))
    with pytest.raises(DataError) as caught:
        load_scene(tmp_path)
    assert message is not None
    assert str(caught.value) == message.format(root=tmp_path)


def test_every_truncation_of_transforms_is_refused(tmp_path: Path) -> None:
    path = makers.write_transforms(tmp_path, makers.cameras(2))
    text = path.read_text()
    for length in range(0, len(text), 13):
        path.write_text(text[:length])
        with pytest.raises(DataError, match=r"transforms\.json: is not valid JSON"):
            load_scene(tmp_path)


def test_no_scene_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder"):
        load_scene(tmp_path / "gone")
    with pytest.raises(DataError, match="is no scene of a known kind and holds no photos"):
        load_scene(tmp_path)


def test_truncated_photo_is_found_while_loading(tmp_path: Path) -> None:
    makers.write_transforms(tmp_path, makers.cameras(3))
    path = tmp_path / "images" / "001.png"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"photo .*001\.png cannot be decoded .*; it is damaged or incomplete"):
        load_scene(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"downscale": 0.5}, "--downscale 0.5: must be 1 (full size) or more; photos are never enlarged"),
        ({"max_side": 8}, "--max-side 8: must be 16 pixels or more"),
        ({"max_side": 80, "downscale": 2.0}, "--downscale and --max-side were both given; give one of them"),
        ({"test_every": -1}, "--test-every -1: must be 0 (none) or a positive number"),
        (
            {"test": "1", "test_every": 0},
            "--test and --test-every both say which photos are held out; give one of them",
        ),
        (
            {"test": "1", "protocol": "llff"},
            "--test and --protocol both say which photos are held out; give one of them",
        ),
        ({"cache_mb": 0}, "--cache-mb 0: must be 1 or more"),
        ({"video_frames": 1}, "--video-frames 1: must be 2 or more"),
    ],
)
def test_settings_error_sentences(settings: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        SceneConfig(**settings)
    assert str(caught.value) == message


def test_photos_held_out_by_name(tmp_path: Path) -> None:
    makers.write_llff(tmp_path, makers.cameras(6))
    scene = load_scene(tmp_path, SceneConfig(test="name:004.png,1", views="2"))
    assert (scene.train, scene.test) == ((0, 5), (1, 4))


@pytest.mark.parametrize("length", [0, 10, 127, 128, 300])
def test_truncated_numpy_files(tmp_path: Path, length: int) -> None:
    makers.write_llff(tmp_path / "llff", makers.cameras(3))
    makers.write_neus(tmp_path / "neus", makers.cameras(3))
    for path in (tmp_path / "llff" / "poses_bounds.npy", tmp_path / "neus" / "cameras_sphere.npz"):
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(DataError, match=rf"{path.name}: cannot be read as a NumPy a"):
            load_scene(path.parent)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    makers.write_llff(tmp_path, makers.cameras(3))
    np.save(tmp_path / "poses_bounds.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as a NumPy array"):
        load_scene(tmp_path)


def test_llff_wrong_shape(tmp_path: Path) -> None:
    makers.write_llff(tmp_path, makers.cameras(3))
    np.save(tmp_path / "poses_bounds.npy", np.zeros((3, 15)))
    with pytest.raises(DataError, match=r"expected rows of 17 numbers, found shape \(3, 15\)"):
        load_scene(tmp_path)


def test_a_matrix_for_another_picture(tmp_path: Path) -> None:
    cams = [replace(c, cx=90.0) for c in makers.cameras(3)]
    makers.write_pose_files(tmp_path, cams)
    with pytest.raises(
        DataError, match=r"the principal point \(89\.5, 22\.8\) fits no whole ratio to the photo's 64x48"
    ):
        load_scene(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0 0 0\n0 1 0 0\n0 0 one 0\n0 0 0 1\n", r"001\.txt: line 3: could not convert string to float: 'one'"),
        ("1 0 0 0\n0 1 0\n", r"001\.txt: line 2 has 3 numbers, the lines above 4"),
        ("1 0 0\n0 1 0\n0 0 1\n", r"001\.txt: expected a 4x4 matrix, found 3 rows of 3"),
        ("", r"001\.txt: expected a 4x4 matrix, found 0 rows of 0"),
    ],
)
def test_pose_file_errors(tmp_path: Path, text: str, message: str) -> None:
    makers.write_pose_files(tmp_path, makers.cameras(3))
    (tmp_path / "pose" / "001.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        load_scene(tmp_path)


def test_every_error_is_ours(tmp_path: Path) -> None:
    # Random bytes in place of each file: whatever is wrong, the user meets a sentence and not a traceback.
    rng = np.random.default_rng(5)
    writers = (makers.write_llff, makers.write_neus, makers.write_middlebury, makers.write_pose_files)
    for writer in writers:
        root = tmp_path / writer.__name__
        writer(root, makers.cameras(3))
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            whole = path.read_bytes()
            path.write_bytes(rng.bytes(len(whole)))
            with pytest.raises(Sparse3dError):
                _ = load_scene(root).images[0]
            path.write_bytes(whole)
        assert load_scene(root).images[0].shape == (48, 64, 3)


def test_sample_scene_agrees_with_its_cameras(sample_scene: Path) -> None:
    scene = load_scene(sample_scene)
    assert (scene.kind, len(scene.train), len(scene.test)) == ("transforms", 21, 3)
    median, count = median_epipolar_px(scene, 0, 1)
    assert count > 50
    assert median < 0.25


def test_photos_without_cameras_get_them_and_those_not_placed_leave(sample_scene: Path, tmp_path: Path) -> None:
    # Six neighbours of the sample scene, and a photo that shows something else: it cannot be placed.
    folder = tmp_path / "my photos"
    folder.mkdir()
    for k in range(6):
        with Image.open(sample_scene / "images" / f"view_{k:02d}.jpg") as photo:
            photo.reduce(2).save(folder / f"IMG_{k}.png")
    Image.fromarray(makers.picture(240, 135)).save(folder / "IMG_2b.png")
    # Views given by hand: the held-out photos may not help to find the cameras.
    cfg = SceneConfig(views="1,2,3,4,5", test_every=6, max_side=120)
    scene = load_scene(folder, cfg, workdir=tmp_path / "run")
    assert scene.kind == "photos"
    assert scene.camera_source == "sfm_train"
    # IMG_0 and IMG_5 are held out (positions 0 and 6 of the seven).
    assert scene.names == tuple(f"IMG_{k}.png" for k in range(6))
    assert (scene.train, scene.test) == ((1, 2, 3, 4), (0, 5))
    assert any("IMG_2b.png" in note for note in scene.notes)
    assert scene.points is not None
    assert len(scene.points) > 50
    assert [tuple(scene.images[k].shape) for k in (0, 5)] == [(68, 120, 3)] * 2
    # Used again from the run folder: the same cameras, bit for bit.
    again = load_scene(folder, cfg, workdir=tmp_path / "run")
    for a, b in zip(scene.cameras, again.cameras, strict=True):
        np.testing.assert_array_equal(a.cam_from_world, b.cam_from_world)

# SPDX-License-Identifier: Apache-2.0
"""Every key of a transforms.json, at the top and in a frame, with photos of full size and smaller copies, with and
without w and h: the camera is the one that the file means, and a frame's own value wins, whatever its name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.load import SceneConfig
from sparse3d.load.parsers import PARSERS, Work
from sparse3d.load.scene import fit_cameras
from sparse3d.photos.undistort import distort
from tests.load import makers

WIDTH, HEIGHT = 320, 240
RAYS = np.array([[0.0, 0.0], [0.3, -0.2], [-0.4, 0.25], [0.1, 0.3]])
BASE = {"fl_x": 300.0, "fl_y": 306.0, "cx": 163.0, "cy": 118.0}


def write_scene(root: Path, top: dict[str, Any], frame: dict[str, Any], folder: str, named: str = "images") -> None:
    factor = int(folder[7:] or 1) if folder != "images" else 1
    (root / folder).mkdir(parents=True)
    Image.new("RGB", (WIDTH // factor, HEIGHT // factor), (90, 120, 60)).save(root / folder / "a.png")
    pose = makers.opengl(makers.cameras(1)[0])
    record = {"file_path": f"{named}/a.png", "transform_matrix": pose, **frame}
    (root / "transforms.json").write_text(json.dumps({**top, "frames": [record]}))


def read(root: Path, k4: str = "auto") -> tuple[Camera, tuple[str, ...]]:
    """The camera for the pixels of the file, and the notes."""
    parsed = PARSERS["transforms"].parse(root, SceneConfig(k4=k4), Work(None, None))  # type: ignore[arg-type]
    photos, _ = fit_cameras(parsed.photos)
    camera = photos[0].camera
    assert camera is not None
    return camera, parsed.notes


def seen(camera: Camera) -> np.ndarray:
    """Where the camera shows RAYS, in pixels of the full photo."""
    return distort(camera, RAYS) * [WIDTH / camera.width, HEIGHT / camera.height]


def wanted(lens: tuple[float, ...] = (), model: str = "opencv", **own: float) -> np.ndarray:
    k = {**BASE, **own}
    camera = Camera(
        WIDTH, HEIGHT, k["fl_x"], k["fl_y"], k["cx"], k["cy"], np.eye(4), distortion=lens, lens=model
    )  # fmt: skip
    return distort(camera, RAYS)


def focal(angle: float, side: float) -> float:
    return 0.5 * side / math.tan(0.5 * angle)


CENTRE = {"cx": 163.0, "cy": 118.0}
DEGREE = math.pi / 180
SIZE = {"w": WIDTH, "h": HEIGHT}
# Key: the right value, a wrong one, what the top holds beside, the right picture.
FULL = {"camera_model": "FULL_OPENCV"}
ALL = (0.05, 0.02, 0.003, 0.004, 0.01, 0.06, 0.02, 0.005)
OTHERS = {"k1": 0.05, "k2": 0.02, "p1": 0.003, "p2": 0.004, "k3": 0.01, "k4": 0.06, "k5": 0.02, "k6": 0.005}
FISH = {"k1": 0.05, "k2": 0.02}
KEYS: dict[str, tuple[Any, Any, dict[str, Any], np.ndarray]] = {
    "fl_x": (280.0, 200.0, {k: v for k, v in BASE.items() if k != "fl_x"}, wanted(fl_x=280.0)),
    "fl_y": (280.0, 200.0, {k: v for k, v in BASE.items() if k != "fl_y"}, wanted(fl_y=280.0)),
    "cx": (150.0, 170.0, {k: v for k, v in BASE.items() if k != "cx"}, wanted(cx=150.0)),
    "cy": (130.0, 110.0, {k: v for k, v in BASE.items() if k != "cy"}, wanted(cy=130.0)),
    "camera_angle_x": (1.1, 0.7, CENTRE, wanted(fl_x=focal(1.1, WIDTH), fl_y=focal(1.1, WIDTH))),
    "camera_angle_y": (0.9, 0.7, CENTRE, wanted(fl_x=focal(0.9, HEIGHT), fl_y=focal(0.9, HEIGHT))),
    "x_fov": (63.0, 40.0, CENTRE, wanted(fl_x=focal(63 * DEGREE, 320), fl_y=focal(63 * DEGREE, 320))),
    "y_fov": (50.0, 40.0, CENTRE, wanted(fl_x=focal(50 * DEGREE, 240), fl_y=focal(50 * DEGREE, 240))),
    **{
        key: (value, value + 0.1, {**BASE, **FULL, **{k: v for k, v in OTHERS.items() if k != key}}, wanted(ALL))
        for key, value in OTHERS.items()
    },
    "is_fisheye": (True, False, {**BASE, **FISH}, wanted((0.05, 0.02), "fisheye")),
    "camera_model": ("OPENCV_FISHEYE", "OPENCV", {**BASE, **FISH}, wanted((0.05, 0.02), "fisheye")),
    "aabb_scale": (16, 1, BASE, wanted()),
    "applied_transform": ([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0]], [[1, 0, 0, 0]] * 3, BASE, wanted()),
}  # fmt: skip


@pytest.mark.parametrize("folder", ["images", "images_2", "images_4", "images_8"])
@pytest.mark.parametrize("sized", [True, False], ids=["w and h", "no size"])
@pytest.mark.parametrize("place", ["top", "frame", "both"])
@pytest.mark.parametrize("key", KEYS)
def test_every_key(tmp_path: Path, key: str, place: str, sized: bool, folder: str) -> None:
    right, wrong, beside, expected = KEYS[key]
    top, frame = dict(beside), {}
    if sized:
        top |= SIZE
    if place != "frame":
        top[key] = right if place == "top" else wrong
    if place != "top":
        frame[key] = right
    write_scene(tmp_path, top, frame, folder)
    camera, _ = read(tmp_path)
    np.testing.assert_allclose(seen(camera), expected, atol=1e-6)


@pytest.mark.parametrize("folder", ["images", "images_4"])
@pytest.mark.parametrize("place", ["top", "frame", "both"])
@pytest.mark.parametrize("key", ["w", "h"])
def test_the_size(tmp_path: Path, key: str, place: str, folder: str) -> None:
    """One of w and h is enough: the file's shape says the other."""
    top: dict[str, Any] = dict(BASE)
    frame: dict[str, Any] = {}
    if place != "frame":
        top[key] = SIZE[key] if place == "top" else SIZE[key] // 2
    if place != "top":
        frame[key] = SIZE[key]
    write_scene(tmp_path, top, frame, folder)
    np.testing.assert_allclose(seen(read(tmp_path)[0]), wanted(), atol=1e-6)


NAMES = {
    "fl_x": lambda f: f,
    "camera_angle_x": lambda f: 2 * math.atan(0.5 * WIDTH / f),
    "x_fov": lambda f: math.degrees(2 * math.atan(0.5 * WIDTH / f)),
}


@pytest.mark.parametrize("folder", ["images", "images_2"])
@pytest.mark.parametrize("sized", [True, False], ids=["w and h", "no size"])
@pytest.mark.parametrize("both", [True, False], ids=["top has y", "top has x alone"])
@pytest.mark.parametrize("at_top", NAMES)
@pytest.mark.parametrize("own", NAMES)
def test_a_frames_focal_length_wins_whatever_its_name(
    tmp_path: Path, own: str, at_top: str, both: bool, sized: bool, folder: str
) -> None:
    """An angle zooms along both axes, and the pixels keep the shape that the top says; fl_x is for its own axis."""
    top = {at_top: NAMES[at_top](200.0), "cx": 163.0, "cy": 118.0, **(SIZE if sized else {})}
    if both:
        top["fl_y"] = 220.0
    write_scene(tmp_path, top, {own: NAMES[own](280.0)}, folder)
    camera, notes = read(tmp_path)
    fy = 280.0 if not both else 220.0 if own == "fl_x" else 280.0 * 1.1
    np.testing.assert_allclose(seen(camera), wanted(fl_x=280.0, fl_y=fy), atol=1e-6)
    assert not any("disagree" in note for note in notes)


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "utf-8"])
def test_text_as_windows_writes_it(tmp_path: Path, coding: str) -> None:
    write_scene(tmp_path, {**BASE, **SIZE}, {}, "images", "images")
    path = tmp_path / "transforms.json"
    text = path.read_text().replace("images/a.png", ".\\\\images\\\\a.png").replace(", ", ",\r\n")
    path.write_bytes(text.encode(coding))
    np.testing.assert_allclose(seen(read(tmp_path)[0]), wanted(), atol=1e-6)


def test_two_names_at_one_level(tmp_path: Path) -> None:
    top = {**BASE, **SIZE, "camera_angle_x": 2 * math.atan(0.5 * WIDTH / 300.0)}
    write_scene(tmp_path / "same", top, {}, "images")
    camera, notes = read(tmp_path / "same")
    np.testing.assert_allclose(seen(camera), wanted(), atol=1e-6)
    assert notes == ()
    write_scene(tmp_path / "other", {**top, "camera_angle_x": 0.5}, {}, "images")
    camera, notes = read(tmp_path / "other")
    np.testing.assert_allclose(seen(camera), wanted(), atol=1e-6)
    assert "fl_x and camera_angle_x disagree" in notes[0]
    assert "fl_x is taken" in notes[0]


@pytest.mark.parametrize("named", ["images", "images_4"])
@pytest.mark.parametrize("centre", [True, False])
def test_a_frame_that_names_the_smaller_copy(tmp_path: Path, named: str, centre: bool) -> None:
    """Without w and h the principal point says which size is meant; without that, the size of the file named."""
    full = {key: value for key, value in BASE.items() if centre or key.startswith("fl")}
    factor = 4 if named == "images_4" and not centre else 1
    write_scene(tmp_path, {key: value / factor for key, value in full.items()}, {}, "images_4", named)
    middle: dict[str, float] = {} if centre else {"cx": WIDTH / 2, "cy": HEIGHT / 2}
    np.testing.assert_allclose(seen(read(tmp_path)[0]), wanted((), "opencv", **middle), atol=1e-6)


def test_a_principal_point_outside_of_the_photo(tmp_path: Path) -> None:
    write_scene(tmp_path, {**BASE, "cx": 900.0}, {}, "images")
    with pytest.raises(DataError, match=r"cx 900 lies outside of the photo, .* add w and h"):
        read(tmp_path)


RADIAL = (0.05, 0.02, 0.01, 0.06, 0.003, 0.004)
WITH_K4 = {"k1": 0.05, "k2": 0.02, "k3": 0.01, "k4": 0.06, "p1": 0.003, "p2": 0.004}


@pytest.mark.parametrize(
    ("more", "k4", "meaning"),
    [
        ({"camera_model": "OPENCV"}, "auto", "radial"),
        ({}, "auto", "radial"),
        ({"camera_model": "FULL_OPENCV"}, "auto", "opencv"),
        ({"camera_model": "OPENCV", "k5": 0.0, "k6": 0.0}, "auto", "opencv"),
        ({"camera_model": "OPENCV"}, "opencv", "opencv"),
        ({"camera_model": "FULL_OPENCV"}, "radial", "radial"),
    ],
)
@pytest.mark.parametrize("place", ["top", "frame"])
def test_both_meanings_of_k4(tmp_path: Path, more: dict[str, Any], k4: str, meaning: str, place: str) -> None:
    top, frame = ({**WITH_K4, **more}, {}) if place == "top" else ({}, {**WITH_K4, **more})
    write_scene(tmp_path, {**BASE, **SIZE, **top}, frame, "images")
    camera, notes = read(tmp_path, k4)
    expected = wanted((0.05, 0.02, 0.003, 0.004, 0.01, 0.06)) if meaning == "opencv" else wanted(RADIAL, "radial4")
    np.testing.assert_allclose(seen(camera), expected, atol=1e-6)
    # Which way was taken is said where nothing in the file says it.
    said = [note for note in notes if "k4 stands without k5 and k6" in note and "--k4 opencv" in note]
    assert len(said) == (k4 == "auto" and meaning == "radial")


def test_the_radial_factor_of_four_powers(tmp_path: Path) -> None:
    """nerfstudio's formula, written out once more."""
    write_scene(tmp_path, {**BASE, **SIZE, **WITH_K4}, {}, "images")
    x, y = 0.3, -0.2
    r2 = x * x + y * y
    factor = 1 + 0.05 * r2 + 0.02 * r2**2 + 0.01 * r2**3 + 0.06 * r2**4
    u = x * factor + 2 * 0.003 * x * y + 0.004 * (r2 + 2 * x * x)
    v = y * factor + 2 * 0.004 * x * y + 0.003 * (r2 + 2 * y * y)
    np.testing.assert_allclose(seen(read(tmp_path)[0])[1], (300 * u + 163, 306 * v + 118), atol=1e-9)


def test_k5_contradicts_the_radial_meaning(tmp_path: Path) -> None:
    write_scene(tmp_path, {**BASE, **SIZE, **WITH_K4, "k5": 0.02}, {}, "images")
    with pytest.raises(DataError, match="k5 or k6, which only OpenCV's lens has; leave --k4 radial out"):
        read(tmp_path, "radial")


@pytest.mark.parametrize(
    ("top", "frame", "model"),
    [
        ({"is_fisheye": True}, {"camera_model": "OPENCV"}, "opencv"),
        ({"camera_model": "OPENCV_FISHEYE"}, {"is_fisheye": False}, "opencv"),
        ({"camera_model": "OPENCV"}, {"is_fisheye": True}, "fisheye"),
        ({"is_fisheye": False}, {"camera_model": "OPENCV_FISHEYE"}, "fisheye"),
    ],
)
def test_a_frames_lens_wins_whatever_its_name(
    tmp_path: Path, top: dict[str, Any], frame: dict[str, Any], model: str
) -> None:
    write_scene(tmp_path, {**BASE, **SIZE, **FISH, **top}, frame, "images")
    np.testing.assert_allclose(seen(read(tmp_path)[0]), wanted((0.05, 0.02), model), atol=1e-6)


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"camera_model": "EQUIRECTANGULAR"}, "EQUIRECTANGULAR .* cut the photos into perspective views"),
        ({"camera_model": "VR180_L"}, "VR180_L .* cut the photos into perspective views"),
        ({"equirectangular": True}, "EQUIRECTANGULAR .* cut the photos into perspective views"),
        ({"latlong": True}, "LATLONG .* cut the photos into perspective views"),
        ({"camera_model": "ORTHOPHOTO"}, "ORTHOPHOTO .* give the photos that it was made of"),
        ({"camera_model": "FISHEYE624"}, "FISHEYE624 .* undistort the photos with the program"),
        ({"ftheta_p0": 1.0}, "FTHETA_P0 .* undistort the photos with the program"),
    ],
)
@pytest.mark.parametrize("place", ["top", "frame"])
def test_lenses_that_are_refused_by_name(tmp_path: Path, values: dict[str, Any], advice: str, place: str) -> None:
    top, frame = (values, {}) if place == "top" else ({}, values)
    write_scene(tmp_path, {**BASE, **SIZE, **top}, frame, "images")
    with pytest.raises(DataError, match=advice):
        read(tmp_path)

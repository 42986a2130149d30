# SPDX-License-Identifier: Apache-2.0
"""COLMAP's camera models, all that the installed COLMAP knows; several models beside each other; text as Windows
writes it."""

from __future__ import annotations

import codecs
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparse3d.errors import DataError
from sparse3d.load import load_scene
from sparse3d.load.parsers.colmap_lenses import LENS_MODELS
from sparse3d.load.parsers.colmap_model import count_images, read_model
from sparse3d.photos.undistort import distort, undistort
from tests.load import makers

pycolmap = pytest.importorskip("pycolmap")

# Values of every coefficient that a lens may have, none of them alike, in the order in which COLMAP's models have them.
LENS_VALUES = {
    "FOV": (0.9,),
    "SIMPLE_DIVISION": (-0.2,),
    "DIVISION": (0.1,),
    "EUCM": (0.6, 1.1),
}
SMALL = (0.05, 0.01, 0.001, 0.002, 0.003, 0.02, 0.004, -0.003, 0.0025, 0.0015, -0.002, 0.0005)


def models_of_colmap() -> dict[str, int]:
    return {name: int(m) for name, m in pycolmap.CameraModelId.__members__.items() if name != "INVALID"}


def values(name: str) -> list[float]:
    """Parameters for a picture of 64x48."""
    info = [p.strip() for p in pycolmap.Camera.create_from_model_name(1, name, 70.0, 64, 48).params_info.split(",")]
    known = {"f": 70.0, "fx": 70.0, "fy": 72.0, "cx": 33.0, "cy": 23.5, "w": 64.0, "h": 48.0}
    lens = list(LENS_VALUES.get(name, SMALL))
    return [known[p] if p in known else lens.pop(0) for p in info]


def test_every_model_of_colmap_is_known() -> None:
    ours = {model.name: (model.number, model.num_params) for model in LENS_MODELS}
    theirs = {name: (number, len(values(name))) for name, number in models_of_colmap().items()}
    assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.parametrize("end", ["bin", "txt"])
@pytest.mark.parametrize("name", [m.name for m in LENS_MODELS if m.lens is not None])
def test_a_model_shows_what_colmap_shows(tmp_path: Path, name: str, end: str) -> None:
    if name not in models_of_colmap():
        pytest.skip(f"this COLMAP does not know {name}")
    params = values(name)
    makers.write_colmap_bin(tmp_path, makers.cameras(2), models_of_colmap()[name], params)
    if end == "txt":
        for file in tmp_path.glob("*.bin"):
            file.unlink()
        makers.write_colmap_txt(tmp_path, makers.cameras(2))
        numbers = " ".join(repr(v) for v in params)
        (tmp_path / "cameras.txt").write_text(f"7 {name} 64 48 {numbers}\n")
    camera = read_model(tmp_path).images[0]
    theirs = pycolmap.Camera(model=name, width=64, height=48, params=params)
    directions = np.array([[0.0, 0.0], [0.2, -0.1], [-0.3, 0.25], [0.4, 0.3], [0.9, -0.7]])
    expected = np.asarray(theirs.img_from_cam(np.column_stack([directions, np.ones(len(directions))])))
    np.testing.assert_allclose(distort(camera, directions), expected, atol=1e-6)
    np.testing.assert_allclose(undistort(camera, expected), directions, atol=1e-6)


@pytest.mark.parametrize("end", ["bin", "txt"])
def test_a_panorama_is_named(tmp_path: Path, end: str) -> None:
    makers.write_photos(tmp_path / "images", makers.cameras(2))
    folder = tmp_path / "sparse" / "0"
    if end == "bin":
        makers.write_colmap_bin(folder, makers.cameras(2), 17, [64.0, 48.0])
    else:
        makers.write_colmap_txt(folder, makers.cameras(2))
        (folder / "cameras.txt").write_text("7 EQUIRECTANGULAR 64 48 64 48\n")
    with pytest.raises(DataError, match=r"EQUIRECTANGULAR \(17\) shows all around .*cut the photos into perspective"):
        load_scene(tmp_path)


def test_a_model_that_is_not_known_is_named(tmp_path: Path) -> None:
    makers.write_colmap_bin(tmp_path, makers.cameras(2), 18, [70.0, 70.0, 32.0, 24.0])
    with pytest.raises(DataError, match=r"camera 7 has the model number 18, .* run its image_undistorter"):
        read_model(tmp_path)
    (tmp_path / "images.bin").unlink()
    makers.write_colmap_txt(tmp_path, makers.cameras(2))
    (tmp_path / "cameras.txt").write_text("7 SPHERE 64 48 64 48\n")
    with pytest.raises(DataError, match="line 1 has the camera model SPHERE"):
        read_model(tmp_path)


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r\n").encode("utf-16"),
        lambda text: text.replace(" 7 0", " 7 sub\\0").encode(),
    ],
    ids=["CRLF", "mark", "mark and CRLF", "UTF-16", "backslashes"],
)
def test_text_as_windows_writes_it(tmp_path: Path, written) -> None:
    makers.write_colmap_txt(tmp_path, makers.cameras(4))
    plain = read_model(tmp_path)
    for name in ("cameras", "images", "points3D"):
        path = tmp_path / f"{name}.txt"
        path.write_bytes(written(path.read_text()))
    found = read_model(tmp_path)
    names = [camera.name.removeprefix("sub/") for camera in found.images]
    assert names == [camera.name for camera in plain.images]
    assert all(
        np.array_equal(a.cam_from_world, b.cam_from_world) and a.K.tolist() == b.K.tolist()
        for a, b in zip(found.images, plain.images, strict=True)
    )
    assert np.array_equal(found.xyz, plain.xyz)


@pytest.mark.parametrize("write", [makers.write_colmap_bin, makers.write_colmap_txt])
@pytest.mark.parametrize("base", ["sparse", "colmap/sparse", "."])
def test_of_several_models_the_one_with_most_photos(tmp_path: Path, write, base: str) -> None:
    cams = makers.cameras(6)
    makers.write_photos(tmp_path / "images", cams)
    for number, chosen in enumerate((cams[:2], cams[1:], cams[:3])):
        write(tmp_path / base / str(number), chosen)
    assert [count_images(tmp_path / base / str(k)) for k in range(3)] == [2, 5, 3]
    scene = load_scene(tmp_path)
    assert scene.names == tuple(camera.name for camera in cams[1:])
    text = "\n".join(scene.notes)
    prefix = "" if base == "." else f"{base}/"
    assert f"{prefix}1 is read, which has 5 photos; passed over: {prefix}0 with 2 photos, {prefix}2 with 3" in text
    assert "1 of 6 photos in images/ is not in the COLMAP model and left out, first 000.png" in text
    # The way that the note names.
    small = load_scene(tmp_path / base / "0")
    assert small.names == ("000.png", "001.png")


@pytest.mark.parametrize("some", [True, False], ids=["some", "all"])
def test_photos_under_another_suffix(tmp_path: Path, some: bool) -> None:
    """COLMAP placed JPEG photos; now their PNG, cut out, lie there, or a camera's .JPG became .jpg."""
    cams = makers.cameras(4)
    makers.write_photos(tmp_path / "images", cams)
    named = [c if some and k == 0 else replace(c, name=c.name.replace(".png", ".JPG")) for k, c in enumerate(cams)]
    makers.write_colmap_bin(tmp_path / "sparse" / "0", named)
    scene = load_scene(tmp_path)
    assert scene.names == tuple(camera.name for camera in cams)
    for found, camera in zip(scene.cameras, cams, strict=True):
        np.testing.assert_allclose(found.cam_from_world, camera.cam_from_world, atol=1e-9)
    count, first = (3, 1) if some else (4, 0)
    said = f"photos of the COLMAP model that are there under another suffix: {count}, first 00{first}.png"
    assert f"{said} for 00{first}.JPG" in scene.notes
    assert not any("left out" in note for note in scene.notes)


def test_photos_at_several_depths_are_counted(tmp_path: Path) -> None:
    cams = makers.cameras(4)
    for folder in ("", "left", "left/far", "masks"):
        makers.write_photos(tmp_path / "images" / folder, cams)
    named = [replace(c, name=f"left/{c.name}") for c in cams]
    makers.write_colmap_bin(tmp_path / "sparse" / "0", named)
    scene = load_scene(tmp_path)
    assert scene.names == tuple(camera.name for camera in named)
    assert "8 of 12 photos in images/ are not in the COLMAP model and left out, first 000.png" in scene.notes

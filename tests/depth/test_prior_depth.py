# SPDX-License-Identifier: Apache-2.0
"""Depth of the user's own: files, scale and shift against points, and what is said where they do not fit."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.depth.priors.arrays import read_depth
from sparse3d.depth.priors.config import PriorConfig
from sparse3d.depth.priors.exr import read_exr
from sparse3d.depth.priors.load import check_prior_paths, load_priors
from sparse3d.errors import BackendError, DataError, UsageError
from sparse3d.load import SceneConfig, load_scene
from sparse3d.photos.photo import Photo
from sparse3d.photos.store import ImageStore
from sparse3d.photos.undistort import distort, pinhole_camera
from sparse3d.records.points import Points
from sparse3d.records.scene import Scene
from tests.depth import onnx_writer
from tests.depth.exr_writer import write_exr
from tests.depth.plane_scene import NORMAL, OFFSET, cameras_on_arc, write_scene


def plane_depth(camera: Camera) -> np.ndarray:
    """[H,W] z of the plane at the camera's pixels."""
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    normal = camera.cam_from_world[:3, :3] @ NORMAL
    offset = OFFSET + normal @ camera.cam_from_world[:3, 3]
    return offset / (normal[0] * x[None, :] + normal[1] * y[:, None] + normal[2])


def points_on_plane(camera: Camera, count: int, wrong: float = 0.0, seed: int = 0) -> Points:
    """Points of the plane that the camera sees, a share of them at half their depth."""
    rng = np.random.default_rng(seed)
    pixel = rng.uniform((5, 5), (camera.width - 5, camera.height - 5), (count, 2))
    z = plane_depth(camera)[pixel[:, 1].astype(int), pixel[:, 0].astype(int)]
    z[: round(wrong * count)] *= rng.uniform(1.3, 2.0, round(wrong * count))
    cam = np.stack([(pixel[:, 0] - camera.cx) / camera.fx * z, (pixel[:, 1] - camera.cy) / camera.fy * z, z], 1)
    xyz = (cam - camera.cam_from_world[:3, 3]) @ camera.cam_from_world[:3, :3]
    return Points(xyz.astype(np.float32), np.full((count, 3), 0.5, np.float32))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    (tmp_path / "photos").mkdir()
    return write_scene(tmp_path / "photos", cameras_on_arc(3), train=(0, 2))


def write_maps(folder: Path, scene: Scene, make, suffix: str = ".npy") -> Path:
    folder.mkdir()
    for i in scene.train:
        values = make(plane_depth(scene.cameras[i])).astype(np.float32)
        path = folder / (Path(scene.names[i]).stem + suffix)
        np.savez(path, depth=values, other=values[:1]) if suffix == ".npz" else np.save(path, values)
    return folder


def test_metric_depth_is_taken_as_it_is(scene: Scene, tmp_path: Path) -> None:
    folder = write_maps(tmp_path / "depth", scene, lambda z: z, ".npz")
    points = points_on_plane(scene.cameras[0], 300)
    priors = load_priors(scene, PriorConfig(prior_depth=folder), points)
    # Photo 1 is held out: nothing of it is read.
    assert sorted(priors.depth_maps) == [0, 2]
    assert not priors.relative
    found = priors.depth_maps[0]
    assert np.allclose(found.depth, plane_depth(scene.cameras[0]), rtol=1e-6)
    assert found.confidence.min() > 0.4
    assert found.confidence.max() > 0.95
    assert any("taken as metric" in note for note in priors.notes)


@pytest.mark.parametrize(
    ("kind", "make"),
    [("disparity", lambda z: 7.0 / z + 3.0), ("relative", lambda z: 0.02 * z - 11.0), ("relative", lambda z: 40 * z)],
)
def test_scale_and_shift_are_found_among_wrong_points(
    scene: Scene, tmp_path: Path, kind: Literal["disparity", "relative"], make
) -> None:
    noise = np.random.default_rng(1)
    folder = write_maps(tmp_path / "depth", scene, lambda z: make(z * noise.normal(1.0, 0.01, z.shape)))
    points = points_on_plane(scene.cameras[0], 200, wrong=0.3)
    asked_kinds: tuple[Literal["auto", "disparity", "relative"], ...] = ("auto", kind)
    for asked in asked_kinds:
        priors = load_priors(scene, PriorConfig(prior_depth=folder, prior_depth_kind=asked), points)
        assert sorted(priors.depth_maps) == [0, 2]
        truth = plane_depth(scene.cameras[0])
        error = np.abs(priors.depth_maps[0].depth / truth - 1.0)
        assert np.median(error) < 0.015
        assert priors.depth_maps[0].confidence.max() > 0.8


def test_of_too_few_points_only_the_shape_is_taken(scene: Scene, tmp_path: Path) -> None:
    folder = write_maps(tmp_path / "depth", scene, lambda z: 7.0 / z + 3.0)
    cfg = PriorConfig(prior_depth=folder, prior_depth_kind="disparity")
    priors = load_priors(scene, cfg, points_on_plane(scene.cameras[0], 5))
    assert not priors.depth_maps
    assert priors.relative[0].inverse
    assert np.allclose(priors.relative[0].values, 7.0 / plane_depth(scene.cameras[0]) + 3.0)
    assert any("gives only the shape (disparity): only 5 points" in note for note in priors.notes)
    with pytest.raises(DataError, match="say it with --prior-depth-kind"):
        load_priors(scene, PriorConfig(prior_depth=folder), None)


def test_metric_depth_in_other_units_is_told_from_metric(scene: Scene, tmp_path: Path) -> None:
    folder = write_maps(tmp_path / "depth", scene, lambda z: 1000.0 * z)
    cfg = PriorConfig(prior_depth=folder, prior_depth_kind="metric")
    priors = load_priors(scene, cfg, points_on_plane(scene.cameras[0], 100))
    assert sorted(priors.relative) == [0, 2]
    assert any("check the units" in note for note in priors.notes)
    unjudged = load_priors(scene, cfg, None)
    assert sorted(unjudged.depth_maps) == [0, 2]
    assert np.unique(unjudged.depth_maps[0].confidence).tolist() == [0.5]


def test_values_that_fall_with_depth_are_no_relative_depth(scene: Scene, tmp_path: Path) -> None:
    folder = write_maps(tmp_path / "depth", scene, lambda z: -z)
    cfg = PriorConfig(prior_depth=folder, prior_depth_kind="relative")
    priors = load_priors(scene, cfg, points_on_plane(scene.cameras[0], 100))
    assert not priors.depth_maps
    assert any("fall where depth rises" in note for note in priors.notes)


def test_a_folder_without_any_map_or_with_some(scene: Scene, tmp_path: Path) -> None:
    folder = write_maps(tmp_path / "depth", scene, lambda z: z)
    (folder / "view_00.npy").rename(folder / "view_00_depth.npy")
    (folder / "view_02.npy").rename(folder / "other.npy")
    priors = load_priors(scene, PriorConfig(prior_depth=folder, prior_depth_kind="metric"))
    assert sorted(priors.depth_maps) == [0]
    assert any("1 of 2 training photos have no map" in note for note in priors.notes)
    (folder / "view_00_depth.npy").unlink()
    with pytest.raises(DataError, match=r"holds no map for any of the 2 training photos.*view_00\.npy"):
        load_priors(scene, PriorConfig(prior_depth=folder, prior_depth_kind="metric"))


def test_a_map_of_another_shape_is_refused(scene: Scene, tmp_path: Path) -> None:
    folder = write_maps(tmp_path / "depth", scene, lambda z: z[:, :-40])
    with pytest.raises(DataError, match=r"view_00\.npy: is 280x240 pixels, but photo view_00\.png is 320x240"):
        load_priors(scene, PriorConfig(prior_depth=folder))


def test_small_maps_give_small_depth_maps(scene: Scene, tmp_path: Path) -> None:
    folder = write_maps(tmp_path / "depth", scene, lambda z: z[2::4, 2::4])
    priors = load_priors(scene, PriorConfig(prior_depth=folder), points_on_plane(scene.cameras[0], 300))
    found = priors.depth_maps[0]
    assert (found.camera.width, found.camera.height) == (80, 60)
    assert np.allclose(found.depth, plane_depth(found.camera), rtol=0.01)


def test_missing_paths_are_refused_before_the_photos_are_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--prior-depth .*a folder or an \.onnx file is expected, there is nothing"):
        check_prior_paths(PriorConfig(prior_depth=tmp_path / "d"))
    with pytest.raises(DataError, match=r"--prior-normals .*a folder is expected, there is nothing"):
        check_prior_paths(PriorConfig(prior_normals=tmp_path / "d"))
    (tmp_path / "d.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"--prior-depth .*is expected, it is another kind of file"):
        check_prior_paths(PriorConfig(prior_depth=tmp_path / "d.npy"))
    with pytest.raises(DataError, match=r"--prior-masks .*a folder is expected"):
        load_scene(tmp_path / "nowhere", SceneConfig(prior_masks=tmp_path / "d"))
    with pytest.raises(UsageError, match="--prior-depth-scale 0"):
        PriorConfig(prior_depth_scale=0.0)


def test_a_distorted_photo_and_its_map_bend_alike(tmp_path: Path) -> None:
    pose = np.eye(4)
    lens = Camera(160, 120, 120.0, 118.0, 82.0, 57.0, pose, distortion=(-0.2, 0.05, 0.002, -0.001), name="a.png")
    Image.new("RGB", (160, 120)).save(tmp_path / "a.png")
    pinhole = pinhole_camera(lens)
    store = ImageStore([Photo("a.png", tmp_path / "a.png", lens, upright=True)], [pinhole])
    scene = Scene("test", tmp_path, ("a.png",), (pinhole,), store, (0,), ())
    # A map whose value is its own column, and one whose value is its row: what they say is where they were looked at.
    columns, rows = np.meshgrid(np.arange(160) + 1.0, np.arange(120) + 1.0)
    for axis, values in enumerate((columns, rows)):
        folder = tmp_path / str(axis)
        folder.mkdir()
        np.save(folder / "a.npy", values)
        found = load_priors(scene, PriorConfig(prior_depth=folder, prior_depth_kind="metric")).depth_maps[0].depth
        x = (np.arange(160) + 0.5 - pinhole.cx) / pinhole.fx
        y = (np.arange(120) + 0.5 - pinhole.cy) / pinhole.fy
        ray = np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2).astype(np.float64)
        expected = distort(lens, ray)[:, axis].reshape(120, 160) + 0.5
        assert found.shape == (120, 160)
        assert np.abs(found - expected).max() <= 0.51


def test_pictures_of_depth(tmp_path: Path) -> None:
    steps = np.array([[0, 1500], [40000, 65535]], np.uint16)
    Image.fromarray(steps).save(tmp_path / "a.png")
    assert read_depth(tmp_path / "a.png", 0.001)[1].tolist() == pytest.approx([40.0, 65.535])
    assert np.isnan(read_depth(tmp_path / "a.png", 0.001)[0, 0])
    Image.fromarray(np.array([[1.5, np.inf], [2.5, 1e10]], np.float32)).save(tmp_path / "a.tif")
    assert np.array_equal(read_depth(tmp_path / "a.tif", 0.001), [[1.5, np.nan], [2.5, np.nan]], equal_nan=True)
    Image.new("RGB", (2, 2)).save(tmp_path / "c.png")
    with pytest.raises(DataError, match=r"c\.png: is a RGB picture"):
        read_depth(tmp_path / "c.png", 0.001)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"not numpy", "not a NumPy file"),
        (b"", "not a NumPy file"),
        (np.zeros((2, 3, 4)), "a depth map is"),
        (np.full((3, 3), np.nan), "no pixel"),
        (np.array([["a"]]), "instead of numbers"),
    ],
)
def test_damaged_arrays(tmp_path: Path, content: bytes | np.ndarray, what: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    with pytest.raises(DataError, match=what):
        read_depth(path, 1.0)


@pytest.mark.parametrize("compression", [0, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint32])
def test_exr_depth(tmp_path: Path, compression: int, dtype: type) -> None:
    rng = np.random.default_rng(2)
    z = np.round(rng.uniform(1, 60, (21, 13)) * 4).astype(dtype)
    channels = {"A": np.ones((21, 13), np.float16), "ViewLayer.Depth.Z": z, "Y": np.zeros((21, 13), np.float32)}
    write_exr(tmp_path / "a.exr", channels, compression, origin=(-3, 5))
    assert np.array_equal(read_exr(tmp_path / "a.exr"), z.astype(np.float32))
    flat = {"Y": np.full((40, 3), 2.5, np.float32)}
    write_exr(tmp_path / "flat.exr", flat, compression)
    assert np.array_equal(read_depth(tmp_path / "flat.exr", 1.0), flat["Y"])


def test_every_truncation_of_an_exr_file_is_told(tmp_path: Path) -> None:
    write_exr(tmp_path / "a.exr", {"Z": np.arange(20, dtype=np.float32).reshape(4, 5)}, 3)
    data = (tmp_path / "a.exr").read_bytes()
    for length in range(len(data)):
        (tmp_path / "b.exr").write_bytes(data[:length])
        with pytest.raises(DataError, match=r"b\.exr"):
            read_exr(tmp_path / "b.exr")


def test_other_kinds_of_exr_are_named(tmp_path: Path) -> None:
    z = np.ones((4, 4), np.float32)
    write_exr(tmp_path / "p.exr", {"Z": z}, 4)
    with pytest.raises(DataError, match="compressed with PIZ; save it with ZIP"):
        read_exr(tmp_path / "p.exr")
    write_exr(tmp_path / "t.exr", {"Z": z}, 0, flags=0x202)
    with pytest.raises(DataError, match="tiled"):
        read_exr(tmp_path / "t.exr")
    write_exr(tmp_path / "n.exr", {"foo": z, "bar": z})
    with pytest.raises(DataError, match=r"no channel for depth .* it has bar, foo"):
        read_exr(tmp_path / "n.exr")


def test_an_onnx_model_sees_the_photo_and_its_depth_is_fitted(scene: Scene, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    # Photos whose brightness is their inverse depth: the "network" has only to take the mean of the channels.
    cameras = []
    for i, camera in enumerate(scene.cameras):
        inverse = 1.0 / plane_depth(camera)
        grey = np.rint(40.0 + 170.0 * (inverse - inverse.min()) / np.ptp(inverse)).astype(np.uint8)
        Image.fromarray(np.repeat(grey[:, :, None], 3, 2)).save(scene.images.photo(i).path)
        cameras.append(camera)
    photos = [scene.images.photo(i) for i in range(3)]
    scene = replace(scene, images=ImageStore(photos, cameras))
    path = tmp_path / "mean.onnx"
    mean = onnx_writer.node("ReduceMean", ["x"], "y", axes=[1], keepdims=0)
    onnx_writer.write_model(path, [mean], ["n", 3, "h", "w"], ["n", "h", "w"])
    points = points_on_plane(scene.cameras[0], 150)
    priors = load_priors(scene, PriorConfig(prior_depth=path), points)
    found = priors.depth_maps[0]
    # 320x240 with the shorter side at 518, in multiples of 14.
    assert (found.camera.width, found.camera.height) == (686, 518)
    assert np.median(np.abs(found.depth / plane_depth(found.camera) - 1.0)) < 0.01
    assert any("prior depth (disparity) of 2 of 2 photos is in world units" in note for note in priors.notes)


def test_a_model_of_fixed_size_and_four_dimensions(scene: Scene, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = tmp_path / "fixed.onnx"
    mean = onnx_writer.node("ReduceMean", ["x"], "y", axes=[1], keepdims=1)
    onnx_writer.write_model(path, [mean], [1, 3, 56, 70], [1, 1, 56, 70])
    priors = load_priors(scene, PriorConfig(prior_depth=path))
    assert priors.relative[0].values.shape == (56, 70)
    assert priors.relative[0].inverse


@pytest.mark.parametrize(
    ("shape_in", "shape_out", "kind", "what"),
    [
        ([1, 4, "h", "w"], [1, "h", "w"], onnx_writer.FLOAT, r"expected tensor\(float\) \[1,3,H,W\]"),
        ([1, 3, "h"], [1, "h"], onnx_writer.FLOAT, r"expected tensor\(float\)"),
        ([1, 3, "h", "w"], [1, "h", "w"], onnx_writer.DOUBLE, r"is tensor\(double\)"),
    ],
)
def test_models_of_another_shape_are_refused(
    scene: Scene, tmp_path: Path, shape_in: list, shape_out: list, kind: int, what: str
) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    mean = onnx_writer.node("ReduceMean", ["x"], "y", axes=[1], keepdims=0)
    onnx_writer.write_model(tmp_path / "m.onnx", [mean], shape_in, shape_out, kind)
    with pytest.raises(DataError, match=what):
        load_priors(scene, PriorConfig(prior_depth=tmp_path / "m.onnx"))


def test_models_with_another_output_and_files_that_are_no_model(scene: Scene, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    same = onnx_writer.node("Identity", ["x"], "y")
    onnx_writer.write_model(tmp_path / "m.onnx", [same], [1, 3, 28, 28], [1, 3, 28, 28])
    with pytest.raises(DataError, match=r"output is \[1, 3, 28, 28\]; expected depth"):
        load_priors(scene, PriorConfig(prior_depth=tmp_path / "m.onnx"))
    (tmp_path / "n.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"n\.onnx: onnxruntime cannot load this model"):
        load_priors(scene, PriorConfig(prior_depth=tmp_path / "n.onnx"))


def test_without_onnxruntime_the_user_is_told_what_to_install(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match=r"needs onnxruntime.*pip install 'sparse3d\[priors\]'"):
        load_priors(scene, PriorConfig(prior_depth=tmp_path / "m.onnx"))

# SPDX-License-Identifier: Apache-2.0
"""Files that are none of ours are named, with the next step."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save

from sparse3d import formats
from sparse3d.errors import DataError
from sparse3d.formats.foreign import foreign_kind
from sparse3d.formats.glb.container import make_glb
from sparse3d.load.archives import unpack
from sparse3d.load.scene import find_kind


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO(b""))
    return out.getvalue()


def photo(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, kind)
    return out.getvalue()


def tensors(record: str | None = None) -> bytes:
    return save({"a": torch.zeros(3)}, {record: "{}"} if record else None)


CASES = {
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(26), "a 7z archive", "unpack it"),
    "rar": (b"Rar!\x1a\x07\x01\x00" + bytes(20), "a RAR archive", "unpack it"),
    "tar": (tarred(), "a tar archive", "unpack it"),
    "gz": (gzip.compress(b"x" * 100), "gzip data", "gunzip"),
    "xz": (lzma.compress(b"x" * 100), "xz data", "unpack it"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        "a pointer of Git LFS",
        "git lfs pull",
    ),
    "html": (b"\n<!DOCTYPE html><html></html>", "a web page", "download the file itself"),
    "jpeg": (photo("JPEG"), "a JPEG photo", "give the folder"),
    "png": (photo("PNG"), "a PNG photo", "give the folder"),
    "mp4": (b"\0\0\0\x18ftypmp42" + bytes(16), "an MP4 or MOV video", "give it to train"),
    "webp": (photo("WEBP"), "a WebP photo", "give the folder"),
    "tiff": (photo("TIFF"), "a TIFF or raw photo", "give the folder"),
    "safetensors": (tensors(), r"a file of tensors \(safetensors\)", "export the splats as PLY"),
    "own checkpoint": (tensors("sparse3d"), "a checkpoint of sparse3d", "give its run's folder"),
    "pickle": (b"\x80\x04\x95" + bytes(30), "a pickle", "export the splats as PLY"),
    "fbx": (b"Kaydara FBX Binary  \0\x1a\0" + bytes(8), r"an FBX file \(a mesh\)", "photos to train"),
    "las": (b"LASF" + bytes(100), "a LAS or LAZ point cloud", "--points"),
    "e57": (b"ASTM-E57" + bytes(100), "an E57 point cloud", "--points"),
    "pcd": (b"# .PCD v0.7\nVERSION .7\nFIELDS x y z\n", "a PCD point cloud", "--points"),
    "rad": (b"RAD0" + bytes(20), "a RAD file of Spark", "export the splats"),
    "spx": (b"spx\x01" + bytes(124), "an SPX file of Reall3D", "export the splats"),
    "lcc": (
        b'{"version": "5.0", "totalSplats": 9, "totalLevel": 2}',
        r"an index of LCC \(XGRIDS\)",
        "export the splats",
    ),
    "lod": (b'{"version":1,"lodLevels":1,"filenames":[]}', "the index of a streamed SOG", "0_0/meta.json"),
    "gltf": (b'{"asset": {"version": "2.0"}}', "a glTF in JSON", "export it as one .glb"),
    "colmap database": (b"SQLite format 3\0" + bytes(84), "a database", "give the folder"),
    "obj": (
        b"# made by hand\r\no thing\r\nv 0 0 0\r\nv 1 0 -1e-3\r\nf 1 2 3\r\n",
        r"a mesh \(OBJ\)",
        "photos to train",
    ),
    "stl": (b"solid thing\n facet normal 0 0 1\n  outer loop\n", r"a mesh \(STL\)", "photos to train"),
    "b3dm": (b"b3dm\x01\0\0\0" + bytes(20), r"a 3D Tiles mesh \(b3dm\)", "KHR_gaussian_splatting"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_another_kind_is_named_with_the_next_step(tmp_path: Path, name: str) -> None:
    data, what, advice = CASES[name]
    path = tmp_path / "file.dat"
    path.write_bytes(data)
    if name != "gz":
        # SPZ is gzip inside too, and says itself what is wrong with it.
        with pytest.raises(DataError, match=f"is {what}.*, not a file of splats; .*{advice}"):
            formats.read(path)
    with pytest.raises(DataError, match=f"is {what}.*, not a scene; .*{advice}"):
        find_kind(path)


@pytest.mark.parametrize("text", [
    "o tempora, o mores!\nv for victory\n", "solid as a rock\nThe facets of a stone\n", "v 1.2 was released\nv 1.3 "
    "too\n",
    "# Blender notes\nRender at night.\n", '{"name": "a package", "version": 1}', "VERSION .7\n", "f 1 2 3\n", "",
])  # fmt: skip
def test_prose_is_no_mesh(text: str) -> None:
    assert foreign_kind(text.encode()) is None


@pytest.mark.parametrize(
    ("members", "what", "advice"),
    [
        (("model/data.pkl", "model/data/0"), r"a checkpoint of PyTorch \(\.pt, \.ckpt\)", "export the splats as PLY"),
        (("scene.usdc", "0/a.png"), "a USDZ file", "export the splats as PLY"),
        (("means.npy",), r"arrays of numpy \(\.npz\)", "export the splats"),
    ],
)
def test_zips_that_are_more_than_archives(tmp_path: Path, members: tuple[str, ...], what: str, advice: str) -> None:
    path = tmp_path / "file.dat"
    path.write_bytes(zipped(*members))
    with pytest.raises(DataError, match=f"is {what}, not a file of splats; {advice}"):
        formats.read(path)
    with pytest.raises(DataError, match=f"is {what}, not a scene; {advice}"):
        find_kind(path)


def test_a_glb_of_a_mesh_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.glb"
    root = {"asset": {"version": "2.0"}, "nodes": [{"mesh": 0}], "meshes": [{"primitives": [{"attributes": {}}]}]}
    path.write_bytes(make_glb(root, b""))
    with pytest.raises(DataError, match="holds a mesh of triangles, no splats; give splats, or photos to train"):
        formats.read(path)


def test_a_zip_of_photos_is_named_as_a_scene(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    path.write_bytes(zipped("a.jpg"))
    with pytest.raises(DataError, match="is a zip archive, not a scene; unpack it"):
        find_kind(path)


def test_what_macos_adds_to_an_archive_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped("scene/a.jpg", "scene/._a.jpg", "__MACOSX/scene/._a.jpg", "scene/.DS_Store"))
    assert unpack(path, tmp_path / "out") == 1
    assert [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()] == ["a.jpg"]
    path.write_bytes(zipped("__MACOSX/._a.jpg"))
    with pytest.raises(DataError, match="holds no files"):
        unpack(path, tmp_path / "none")

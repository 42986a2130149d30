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
from PIL import Image

from sparse3d import formats
from sparse3d.errors import DataError
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

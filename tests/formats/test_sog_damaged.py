# SPDX-License-Identifier: Apache-2.0
"""SOG files that are cut, swollen, forged or simply wrong: one clear DataError each."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d import formats
from sparse3d.errors import DataError
from sparse3d.formats import WriteOptions
from sparse3d.formats.sog.images import encode_image, webp_size
from sparse3d.formats.sog.sog import Sog
from tests.formats.makers import make_splats

PARTS = Sog().parts(make_splats(20, 1), WriteOptions())


def zipped(files: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, kind)
    return out.getvalue()


def refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "forged.sog"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        formats.read(path)
    assert str(caught.value).startswith(f"{path}: ")


def changed(path: str, value: Any) -> dict[str, bytes]:
    """The parts with one value of meta.json replaced (`...` removes it)."""
    meta = json.loads(PARTS["meta.json"])
    at, keys = meta, path.split(".")
    for key in keys[:-1]:
        at = at[key]
    if value is ...:
        del at[keys[-1]]
    else:
        at[keys[-1]] = value
    return {**PARTS, "meta.json": json.dumps(meta).encode()}


def test_the_parts_zipped_by_another_program_are_read(tmp_path: Path) -> None:
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        (tmp_path / "a.sog").write_bytes(zipped(PARTS, kind))
        assert formats.read(tmp_path / "a.sog").num_splats == 20


def test_every_truncation_and_every_extra_byte_is_refused(tmp_path: Path) -> None:
    formats.write(tmp_path / "whole.sog", make_splats(3, 1))
    data = (tmp_path / "whole.sog").read_bytes()
    path = tmp_path / "cut.sog"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut\.sog: "):
            formats.read(path)
    refused(tmp_path, data + b"\0", "1 bytes after its end")


@pytest.mark.parametrize("name", [name for name in PARTS if name != "meta.json"])
def test_every_truncated_image_is_refused(tmp_path: Path, name: str) -> None:
    for length in range(0, len(PARTS[name]), 5):
        refused(tmp_path, zipped({**PARTS, name: PARTS[name][:length]}), name)


@pytest.mark.parametrize(
    "name", ["../sh0.webp", "/sh0.webp", "a/sh0.webp", "a\\sh0.webp", "C:sh0.webp", "sh0\x01.webp"]
)
def test_path_tricks_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.sog").write_bytes(zipped({**PARTS, name: b"not an image"}))
    assert formats.read(tmp_path / "a.sog").num_splats == 20, "nothing is unpacked, so other files are passed over"
    refused(tmp_path, zipped(changed("sh0.files", [name])), "file name .* is not allowed")


def test_archives_made_by_hand(tmp_path: Path) -> None:
    expected = Sog().splats_of_parts(PARTS)
    companions = {f"__MACOSX/._{name}": b"\0\5\x16\7" for name in PARTS}
    inside = {f"scene/{name}": data for name, data in PARTS.items()}
    windows = {f"scene\\{name}": data for name, data in PARTS.items()}
    finder = {"__MACOSX/scene/._meta.json": b"", "scene/.DS_Store": b""}
    for files in (PARTS | companions, inside, {**inside, **finder}, windows):
        (tmp_path / "a.sog").write_bytes(zipped(files))
        assert torch.equal(formats.read(tmp_path / "a.sog").means, expected.means)
    refused(tmp_path, zipped({"a.jpg": b""}), r"zip archive without a meta.json \(it holds a.jpg\).*unpack it")
    refused(tmp_path, zipped({"a/meta.json": b"", "b/meta.json": b""}), "several scenes .a/meta.json, b/meta.json")


def test_a_folder_follows_no_links(tmp_path: Path) -> None:
    for name, data in PARTS.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "sh0.webp").unlink()
    with pytest.raises(DataError, match=r"there is no file 'sh0\.webp' beside meta\.json"):
        formats.read(tmp_path)
    (tmp_path / "sh0.webp").symlink_to(tmp_path / "scales.webp")
    with pytest.raises(DataError, match=r"there is no file 'sh0\.webp' beside meta\.json"):
        formats.read(tmp_path)


def test_two_files_of_one_name_and_too_many_files(tmp_path: Path) -> None:
    data = zipped({**PARTS, "sh0.webq": b""}).replace(b"sh0.webq", b"sh0.webp")
    refused(tmp_path, data, "holds 'sh0.webp' twice")
    refused(tmp_path, zipped({**PARTS, **{str(i): b"" for i in range(80)}}), "at most 64")


def test_zip_bombs_are_not_unpacked(tmp_path: Path) -> None:
    bomb = zipped({**PARTS, "meta.json": b" " * (4 << 20)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    refused(tmp_path, bomb, "meta.json unpacks to 4194304 bytes; expected at most 1048576")
    refused(tmp_path, zipped({**PARTS, "quats.webp": bytes(4 << 20)}, zipfile.ZIP_DEFLATED), "quats.webp unpacks to")
    # The size in the table lies: what comes out is measured.
    lying = bytearray(zipped({**PARTS, "meta.json": b" " * 5000}, zipfile.ZIP_DEFLATED))
    at = lying.index(b"PK\x01\x02")
    struct.pack_into("<I", lying, at + 24, 1000)
    refused(tmp_path, bytes(lying), "meta.json")


def test_huge_images_are_refused_by_their_header(tmp_path: Path) -> None:
    flat = np.zeros((1200, 1200, 3), np.uint8)
    bomb = encode_image(flat)
    assert len(bomb) < 3000
    refused(tmp_path, zipped({**PARTS, "scales.webp": bomb}), "1200x1200 = 1440000 pixels; expected 20 to ")
    # A count that would allow such an image is refused by the bytes that are there.
    refused(tmp_path, zipped(changed("count", 1_440_000)), "says 1440000 splats; .* bytes of images hold at most")
    header = b"RIFF" + struct.pack("<I", 40) + b"WEBPVP8L" + struct.pack("<IBI", 28, 0x2F, 0xFFFFFFF) + bytes(24)
    assert webp_size(header[:48], "a") == (16384, 16384)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("version", 3, "version is 3, expected 2"),
        ("version", "2", "version is '2'"),
        ("count", 0, "count is 0, expected a whole number"),
        ("count", -4, "count is -4"),
        ("count", 2.5, "count is 2.5"),
        ("count", True, "count is True"),
        ("count", "20", "count is '20'"),
        ("count", 10**400, "count is 1000"),
        ("count", ..., "has no count"),
        ("antialias", 1, "antialias is 1, expected true or false"),
        ("means", [], "has no means.files"),
        ("means.mins", [0, 0], "means.mins is a list of 2, expected 3 finite numbers"),
        ("means.mins", [0, 0, None], "means.mins is a list of 3, expected 3 finite numbers"),
        ("means.maxs", [0, 0, float("nan")], "means.maxs is a list of 3, expected 3 finite numbers"),
        ("means.maxs", [0, 0, 1e5], "are logarithms"),
        ("means.files", "means_l.webp", "means.files is 'means_l.webp', expected 2 file names"),
        ("means.files", ["means_l.webp", 7], "means.files is a list of 2, expected 2 file names"),
        ("quats.files", ["other.webp"], "the zip has no file 'other.webp'"),
        ("scales.codebook", [0.0] * 255, "scales.codebook is a list of 255, expected 256"),
        ("sh0.codebook", [0.0] * 255 + [float("inf")], "sh0.codebook is a list of 256, expected 256 finite"),
        ("sh0.codebook", [0.0] * 255 + [1e39], "sh0.codebook is a list of 256, expected 256 finite"),
        ("shN.codebook", {}, "shN.codebook is an object"),
        ("shN.bands", 4, "shN.bands is 4, expected a whole number 1 to 3"),
        ("shN.bands", 2, "shN_centroids.webp is 192 .*expected 512"),
        ("shN.count", 65537, "shN.count is 65537"),
        ("shN.count", 5, "names entry 19 .*the palette has 5"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, path: str, value: Any, message: str) -> None:
    refused(tmp_path, zipped(changed(path, value)), message)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"7", b"{", b"\xff\xfe", b"[" * 100_000, b'{"version": 2, "count": 1' + b"0" * 9000]
)
def test_meta_that_is_not_an_object(tmp_path: Path, text: bytes) -> None:
    refused(tmp_path, zipped({**PARTS, "meta.json": text}), "meta.json")


def test_images_that_are_lossy_or_something_else(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 4), "red").save(out, "WEBP", quality=50)
    refused(tmp_path, zipped({**PARTS, "sh0.webp": out.getvalue()}), "sh0.webp: is a lossy WebP")
    out = io.BytesIO()
    Image.new("RGB", (8, 4), "red").save(out, "PNG")
    refused(tmp_path, zipped({**PARTS, "sh0.webp": out.getvalue()}), "sh0.webp: expected a WebP image")
    out = io.BytesIO()
    frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "blue")]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    refused(tmp_path, zipped({**PARTS, "sh0.webp": out.getvalue()}), "is an animated WebP")


def test_no_splats_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no splats"):
        formats.write(tmp_path / "a.sog", make_splats(0, 0))

# SPDX-License-Identifier: Apache-2.0
"""No written file says who made it, where, when, or from which photos."""

from __future__ import annotations

import getpass
import gzip
import io
import platform
import re
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from sparse3d import formats
from sparse3d.formats import FORMATS, WriteOptions
from sparse3d.formats.folder import folder_formats
from sparse3d.formats.html.options import PageOptions
from tests.formats.makers import make_splats

WRITABLE = [fmt.suffixes[0] for fmt in FORMATS if fmt.limits.writable]
PATH = re.compile(rb"(?<![\w<+/])/(home|root|tmp|Users|work|var)/|[A-Z]:\\\\")


def photo_with_everything() -> bytes:
    """A JPEG that names its maker and place in EXIF and XMP, and has a comment."""
    exif = Image.Exif()
    exif[0x010F] = "secret maker"
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 22.0, 1.0), 3: "E", 4: (8.0, 32.0, 1.0)})
    out = io.BytesIO()
    image = Image.new("RGB", (64, 48), (90, 120, 200))
    image.save(out, "JPEG", exif=exif, comment=b"secret comment", xmp=b"<x:xmpmeta>secret place</x:xmpmeta>")
    assert Image.open(io.BytesIO(out.getvalue())).getexif().get_ifd(0x8825), "the photo has a place to lose"
    return out.getvalue()


def parts_of(data: bytes) -> list[bytes]:
    """The bytes as stored, and what is packed in them."""
    # The player's own program, packed: its base64 can spell anything short, and holds nothing of a photo.
    out = [re.sub(rb'(id="code">)[A-Za-z0-9+/=]*<', rb"\1<", data)]
    if data.startswith(b"\x1f\x8b"):
        assert data[3] == 0, "no name and no comment in the gzip header"
        assert data[4:8] == bytes(4), "no time in the gzip header"
        out.append(gzip.decompress(data))
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert not archive.comment
            for entry in archive.infolist():
                assert entry.date_time == (1980, 1, 1, 0, 0, 0)
                assert entry.extra == entry.comment == b""
                out.append(archive.read(entry))
    return out


def check(data: bytes, folder: Path) -> None:
    names = [str(folder).encode(), folder.name.encode(), b"secret"]
    names += [name.encode() for name in (getpass.getuser(), platform.node()) if len(name) > 4]
    for part in parts_of(data):
        for name in names:
            assert name not in part, name
        # Noise of coordinates can spell anything short, so paths are looked for where there is text.
        if not part.startswith((b"RIFF", b"NGSP", b"PK", b"\x1f\x8b")):
            assert not PATH.search(part[:3000])
        for mark in (b"Exif", b"EXIF", b"XMP ", b"ICCP", b"xmpmeta", b"<exif", b"GPS"):
            assert mark not in part, mark


@pytest.mark.parametrize("suffix", WRITABLE)
def test_files(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "somebodys-photos"
    folder.mkdir()
    page = PageOptions(title="Fox", poster=photo_with_everything()) if suffix == ".html" else None
    formats.write(folder / f"scene{suffix}", make_splats(40), WriteOptions(page=page))
    check((folder / f"scene{suffix}").read_bytes(), folder)


@pytest.mark.parametrize("name", [fmt.folder_index for fmt in folder_formats()])
def test_folders(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "somebodys-photos"
    folder.mkdir()
    formats.write(folder / name, make_splats(40))
    for path in folder.iterdir():
        check(path.read_bytes(), folder)

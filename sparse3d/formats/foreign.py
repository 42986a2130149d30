# SPDX-License-Identifier: Apache-2.0
"""What a file is that is none of ours, by its first bytes, and what to do with it."""

from __future__ import annotations

from typing import NamedTuple


class Foreign(NamedTuple):
    """what: the file is, as "a 7z archive"; advice: the next step, without a full stop."""

    what: str
    advice: str


_UNPACK = "unpack it, and give what was in it"
_PHOTO = "photos make a scene: give the folder that they lie in to train"
_VIDEO = "a video makes a scene: give it to train"
# First bytes, as the formats' own documents and the list of `file` have them.
_BEGINNINGS: tuple[tuple[bytes, Foreign], ...] = (
    (b"7z\xbc\xaf\x27\x1c", Foreign("a 7z archive", _UNPACK)),
    (b"Rar!\x1a\x07", Foreign("a RAR archive", _UNPACK)),
    (b"PK\x03\x04", Foreign("a zip archive", _UNPACK)),
    (b"PK\x05\x06", Foreign("an empty zip archive", "make it again from the files that should be in it")),
    (b"\x1f\x8b", Foreign("gzip data", "unpack it (gunzip, or tar for .tar.gz), and give what was in it")),
    (b"BZh", Foreign("bzip2 data", _UNPACK)),
    (b"\xfd7zXZ\x00", Foreign("xz data", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", Foreign("zstd data", _UNPACK)),
    (
        b"version https://git-lfs",
        Foreign("a pointer of Git LFS, not the file itself", "fetch the file with `git lfs pull`"),
    ),
    (b"b3dm", Foreign("a 3D Tiles mesh (b3dm)", "give splats: a .glb tile with KHR_gaussian_splatting, PLY or SPZ")),
    (b"\xff\xd8\xff", Foreign("a JPEG photo", _PHOTO)),
    (b"\x89PNG", Foreign("a PNG photo", _PHOTO)),
    (b"\x1aE\xdf\xa3", Foreign("a Matroska or WebM video", _VIDEO)),
    (b"%PDF", Foreign("a PDF", "give a file of splats, or a folder of photos")),
    (b"\x93NUMPY", Foreign("an array of numpy", "export the splats as PLY")),
    (
        b"\x80\x02",
        Foreign("a pickle (a checkpoint of PyTorch)", "export the splats as PLY with the program that made it"),
    ),
)


def foreign_kind(head: bytes) -> Foreign | None:
    """What a file that begins with `head` (300 bytes or more, where it has them) is; None where it is not known."""
    for beginning, found in _BEGINNINGS:
        if head.startswith(beginning):
            return found
    if head[4:8] == b"ftyp":
        photo = head[8:12] in (b"heic", b"heix", b"mif1", b"avif", b"hevc")
        return Foreign("a HEIC or AVIF photo", _PHOTO) if photo else Foreign("an MP4 or MOV video", _VIDEO)
    if head[257:262] == b"ustar":
        return Foreign("a tar archive", _UNPACK)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return Foreign("a web page", "if it came from a download, the link led to a page: download the file itself")
    if text.startswith((b"solid ", b"o ", b"v ", b"# blender")):
        return Foreign("a mesh", "give splats (PLY, SPZ, SOG, glTF), or photos to train")
    return None

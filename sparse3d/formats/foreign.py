# SPDX-License-Identifier: Apache-2.0
"""What a file is that is none of ours, by its first bytes, and what to do with it."""

from __future__ import annotations

from collections.abc import Iterable

from sparse3d.formats.foreign_text import EXPORT, MESH, Foreign, foreign_text

# What `foreign_kind` wants to see: an OBJ may begin with a page of comments, a safetensors file with long metadata.
HEAD_BYTES = 4096
_UNPACK = "unpack it, and give what was in it"
# The library itself reads headers up to this.
_MOST_TENSOR_HEADER = 100_000_000
_PHOTO = "photos make a scene: give the folder that they lie in to train"
_VIDEO = "a video makes a scene: give it to train"
_POINTS = "save it as PLY: train takes that with --points, beside photos"
_TENSORS = "export the splats as PLY with the program that made it"
_PLY = Foreign("a PLY file", "train takes points with --points, beside photos; `sparse3d info` shows splats")
# First bytes, as the formats' own documents and the list of `file` have them.
_BEGINNINGS: tuple[tuple[bytes, Foreign], ...] = (
    (b"7z\xbc\xaf\x27\x1c", Foreign("a 7z archive", _UNPACK)),
    (b"Rar!\x1a\x07", Foreign("a RAR archive", _UNPACK)),
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
    (b"\x93NUMPY", Foreign("an array of numpy", EXPORT)),
    *((bytes([0x80, n]), Foreign("a pickle (an old checkpoint of PyTorch, or Python's own)", _TENSORS))
      for n in range(2, 6)),
    (b"\x89HDF\r\n\x1a\n", Foreign("an HDF5 file", EXPORT)),
    (b"SQLite format 3\0", Foreign("a database (COLMAP's?)", "give the folder with the photos and `sparse/`")),
    (b"Kaydara FBX Binary", Foreign("an FBX file (a mesh)", MESH)),
    (b"BLENDER", Foreign("a Blender file", "export splats from it, or render photos to train")),
    (b"PXR-USDC", Foreign("a USD file", EXPORT)),
    (b"LASF", Foreign("a LAS or LAZ point cloud", _POINTS)),
    (b"ASTM-E57", Foreign("an E57 point cloud", _POINTS)),
    (b"RAD0", Foreign("a RAD file of Spark", EXPORT)),
    (b"spx\x01", Foreign("an SPX file of Reall3D", EXPORT)),
    (b"II*\0", Foreign("a TIFF or raw photo", _PHOTO)),
    (b"MM\0*", Foreign("a TIFF or raw photo", _PHOTO)),
    (b"GIF8", Foreign("a GIF picture", _PHOTO)),
    (b"glTF", Foreign("a binary glTF", "give photos to train; `sparse3d info` shows splats")),
    (b"ply\n", _PLY),
    (b"ply\r\n", _PLY),
)  # fmt: skip


def foreign_kind(head: bytes) -> Foreign | None:
    """What a file that begins with `head` (HEAD_BYTES, where it has them) is; None where it is not known."""
    for beginning, found in _BEGINNINGS:
        if head.startswith(beginning):
            return found
    if head.startswith(b"PK\x03\x04"):
        # The name of the first member stands behind a header of 30 bytes, which has its length.
        name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return foreign_zip([name.decode("utf-8", errors="replace")]) or Foreign("a zip archive", _UNPACK)
    if head[4:8] == b"ftyp":
        photo = head[8:12] in (b"heic", b"heix", b"mif1", b"avif", b"hevc")
        return Foreign("a HEIC or AVIF photo", _PHOTO) if photo else Foreign("an MP4 or MOV video", _VIDEO)
    if head.startswith(b"RIFF") and head[8:12] in (b"WEBP", b"AVI "):
        return Foreign("a WebP photo", _PHOTO) if head[8:12] == b"WEBP" else Foreign("an AVI video", _VIDEO)
    if head[257:262] == b"ustar":
        return Foreign("a tar archive", _UNPACK)
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < _MOST_TENSOR_HEADER:
        return _tensors(head)
    return foreign_text(head)


def foreign_zip(names: Iterable[str]) -> Foreign | None:
    """What a zip with members of these names is, where it is more than an archive."""
    for name in names:
        if name.endswith("/data.pkl") or name == "data.pkl":
            return Foreign("a checkpoint of PyTorch (.pt, .ckpt)", _TENSORS)
        if name.lower().endswith((".usdc", ".usda", ".usd")):
            return Foreign("a USDZ file", EXPORT)
        if name.endswith(".npy"):
            return Foreign("arrays of numpy (.npz)", EXPORT)
    return None


def _tensors(head: bytes) -> Foreign:
    if b'"sparse3d"' in head:
        return Foreign("a checkpoint of sparse3d", "give its run's folder, or the splat.ply in there")
    return Foreign("a file of tensors (safetensors)", _TENSORS)

# SPDX-License-Identifier: Apache-2.0
"""Files that are cut, extended, damaged or lie about their size: a DataError each, in bounded memory."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from sparse3d import formats
from sparse3d.errors import DataError, UsageError
from sparse3d.formats import FORMATS
from tests.formats import fuzz
from tests.formats.makers import make_splats


@pytest.mark.parametrize("path", fuzz.golden_files(), ids=lambda path: path.name)
def test_seeded_damage(tmp_path: Path, path: Path) -> None:
    counts = fuzz.check(path, 60, 7, tmp_path)
    assert counts["refused"] > 10


@pytest.mark.parametrize("path", fuzz.golden_files(), ids=lambda path: path.name)
def test_every_truncation_and_extra_bytes(tmp_path: Path, path: Path) -> None:
    data, target = path.read_bytes(), tmp_path / path.name
    # .splat has no header: cut at a whole splat it is a whole file.
    whole = 32 if path.suffix == ".splat" else len(data)
    step = max(1, len(data) // 500)
    for length in sorted({*range(min(200, len(data))), *range(0, len(data), step), len(data) - 1}):
        if length and length % whole == 0:
            continue
        target.write_bytes(data[:length])
        with pytest.raises(DataError, match=path.name):
            formats.read(target)
    target.write_bytes(data + b"\1\2\3")
    with pytest.raises(DataError, match=path.name):
        formats.read(target)


def spz_header(*, version: int = 3, count: int = 1, degree: int = 0, fractional: int = 12, flags: int = 0) -> bytes:
    return struct.pack("<4sIIBBBB", b"NGSP", version, count, degree, fractional, flags, 0)


V4 = spz_header(version=4)[:15]
BAD_SPZ = {
    "no spz inside": (gzip.compress(b"hello, this is text"), "begins with b'hell' where SPZ has"),
    "short inside": (gzip.compress(b"NGSP"), "4 bytes unpacked where the header has 16"),
    "version 9": (gzip.compress(spz_header(version=9)), "byte 4: version 9 in this container; expected 1 to 3"),
    "version 4 in gzip": (gzip.compress(spz_header(version=4)), "version 4 in this container"),
    "no splats": (gzip.compress(spz_header(count=0)), "byte 8: holds 0 splats"),
    "too many": (gzip.compress(spz_header(count=2**32 - 1)), "says 4294967295 splats; at most 33554432"),
    "degree 5": (gzip.compress(spz_header(degree=5)), "byte 12: spherical harmonics of degree 5"),
    "bits 40": (gzip.compress(spz_header(fractional=40)), "byte 13: 40 fractional bits"),
    "too few": (gzip.compress(spz_header(count=2) + b"\0" * 39), "need 40 bytes after the header, 39 could be"),
    "too many bytes": (gzip.compress(spz_header() + b"\0" * 21), "more bytes than its header says"),
    "bytes behind gzip": (gzip.compress(spz_header() + b"\0" * 20) + b"tail", "4 bytes after the end of its gzip"),
    "count and size": (gzip.compress(spz_header(count=2**24)), "unpacks to 335544320"),
    "bad extension": (gzip.compress(spz_header(flags=2) + b"\0" * 20 + b"abc"), "unpacked byte 36: an extension"),
    "long extension": (
        gzip.compress(spz_header(flags=2) + b"\0" * 20 + struct.pack("<II", 1, 99)), "says 99 bytes, 0 are there"),
    "v4 short": (V4, "15 bytes where the header has 32"),
    "v4 streams": (V4 + struct.pack("<BI12x", 6, 32) + b"\0" * 96, "byte 15: 6 streams; splats of degree 0 have 5"),
    "v4 table": (V4 + struct.pack("<BI12x", 5, 4_000_000_000) + b"\0" * 80, "byte 16: the table of streams"),
    "v4 sizes": (V4 + struct.pack("<BI12x", 5, 32) + b"\0" * 80, "byte 40: positions unpack to 0 bytes, expected 9"),
    "v4 past the end": (
        V4 + struct.pack("<BI12x", 5, 32) + struct.pack("<QQ", 99, 9) + b"\0" * 64, "need 99 bytes from byte 112 on"),
    "v4 no zstd": (
        V4 + struct.pack("<BI12x", 5, 32) + struct.pack("<QQ", 9, 9) + b"\0" * 64 + b"no zstd.." + b"\0" * 9,
        "byte 112: the zstd data of positions are damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_SPZ)
def test_bad_spz_names_what_and_where(tmp_path: Path, case: str) -> None:
    data, message = BAD_SPZ[case]
    (tmp_path / "bad.spz").write_bytes(data)
    with pytest.raises(DataError, match=message):
        formats.read(tmp_path / "bad.spz")


def v4_file(positions: bytes) -> bytes:
    """A file of 200,000 splats whose first stream is given."""
    head = spz_header(version=4, count=200_000)[:15] + struct.pack("<BI12x", 5, 32)
    return head + struct.pack("<QQ", len(positions), 1_800_000) + b"\0" * 64 + positions


BOMBS = {
    # 300 MB of zeros in 300 kB: the header says one splat, or as many as there are.
    "gzip, small count": lambda: gzip.compress(spz_header() + bytes(300_000_000), 1),
    "gzip, true count": lambda: gzip.compress(spz_header(count=15_000_000) + bytes(300_000_000), 1),
    "zstd, true size": lambda: v4_file(zstandard.compress(bytes(300_000_000))),
    "zstd, size left out": lambda: v4_file(
        zstandard.ZstdCompressor(write_content_size=False).compress(bytes(300_000_000))
    ),
}


@pytest.mark.parametrize("case", BOMBS)
def test_bombs_are_refused_in_bounded_memory(tmp_path: Path, case: str) -> None:
    path = tmp_path / "bomb.spz"
    path.write_bytes(BOMBS[case]())
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"bomb\.spz: "):
            formats.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6


def test_bad_splat_files(tmp_path: Path) -> None:
    path, row = tmp_path / "a.splat", struct.pack("<6f8B", 1, 2, 3, 0.1, 0.2, 0.3, 1, 2, 3, 4, 5, 6, 7, 8)
    for data, message in [
        (row + row[:5], "37 bytes is cut off or not one: .* 5 are left over from byte 32 on"),
        (row + struct.pack("<f", float("nan")) + row[4:], "1 of 2 splats hold NaN .*x y z in 1.*first is splat 1"),
        (row[:12] + struct.pack("<f", -1.0) + row[16:], "splat 0, byte 12: a scale is negative"),
    ]:  # fmt: skip
        path.write_bytes(data)
        with pytest.raises(DataError, match=message):
            formats.read(path)


def test_bad_compressed_ply(tmp_path: Path) -> None:
    path = tmp_path / "a.compressed.ply"
    formats.write(path, make_splats(300))
    good = path.read_bytes()
    for old, new, message in [
        (b"element chunk 2", b"element chunk 3", "300 splats need 2 chunks, found 3"),
        (b"element vertex 300", b"element vertex 301", "301 splats, but harmonics of 300"),
        (b"element sh 300", b"element sh 99", "300 splats, but harmonics of 99"),
        (b"uint packed_scale", b"uint packed_other", "element vertex lacks packed_scale as u4"),
        (b"float min_x", b"uint min_x", "element chunk lacks min_x as f4"),
        (b"binary_little_endian", b"ascii", "from binary files only"),
        (b"element sh", b"element other", "expected chunk, vertex and perhaps sh"),
        (b"end_header\n", b"end_header\n" + struct.pack("<f", float("nan")), "PLY has more bytes"),
    ]:
        path.write_bytes(good.replace(old, new, 1))
        with pytest.raises(DataError, match=message):
            formats.read(path)
    at = good.index(b"end_header\n") + 11
    path.write_bytes(good[:at] + struct.pack("<f", float("nan")) + good[at + 4 :])
    with pytest.raises(DataError, match="bounds of a chunk is NaN or infinite in 256 splats"):
        formats.read(path)


def ksplat_with(tmp_path: Path, level: int, at: int, code: str, value: float) -> Path:
    data = bytearray((fuzz.GOLDEN / f"mkkellogg_level{level}.ksplat").read_bytes())
    struct.pack_into(code, data, at, value)
    path = tmp_path / "a.ksplat"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("level", "at", "code", "value", "message"),
    [
        (0, 0, "<B", 3, "byte 0: version 3.1; expected 0.1"),
        (0, 20, "<H", 3, "byte 20: compression level 3"),
        (0, 16, "<I", 41, "byte 16: 41 splats, but its sections hold 40"),
        (0, 4, "<I", 2**31, "headers of 2147483648 sections"),
        (1, 4096, "<I", 2**30, "section 0 .byte 4096.: 1073741824 splats where there is room for 40"),
        (1, 4100, "<I", 2**30, "is cut off: it ends at byte"),
        (1, 4108, "<I", 10**6, "is cut off: it ends at byte"),
        (1, 4104, "<I", 0, "buckets of 0 splats"),
        (1, 4128, "<I", 1000, "1000 full and"),
        (0, 4136, "<H", 7, "harmonics of degree 7"),
        (2, 36, "<f", float("nan"), "bounds of the harmonics are not finite"),
    ],
)
def test_bad_ksplat(tmp_path: Path, level: int, at: int, code: str, value: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        formats.read(ksplat_with(tmp_path, level, at, code, value))


def test_ksplat_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ksplat files are read but not written; choose one of ") as got:
        formats.write(tmp_path / "a.ksplat", make_splats(3))
    listed = str(got.value).partition("choose one of ")[2].split(", ")
    assert sorted(listed) == sorted(fmt.name for fmt in FORMATS if fmt.limits.writable)
    assert "ksplat" not in listed

# SPDX-License-Identifier: Apache-2.0
"""SPZ's two containers: one gzip stream (versions 1 to 3), and zstd streams behind a plain header (version 4).

Version 1-3, inside gzip: magic u32, version u32, count u32, SH degree u8, fractional bits u8, flags u8, 0; then the six
streams; then, with flag 2, extension records. Version 4: the same first 15 bytes, number of streams u8, offset of the
table u32, 12 zero bytes; extension records up to the table; the table of (compressed, plain) sizes as u64; the streams,
empty ones left out. A record is a type u32, a length u32 and that many bytes; unknown ones are skipped.

Limits: MAX_SPLATS splats, and a file that says it unpacks to more than 64 MiB and 100 times its own size is refused
before anything is unpacked (real files unpack to 2 to 10 times their size).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
import zstandard

from sparse3d.errors import DataError
from sparse3d.formats.axes import RIGHT_UP_BACK, Signs
from sparse3d.formats.checks import check_count, damaged
from sparse3d.formats.spz.bits import Packed, row_bytes

MAGIC = b"NGSP"
STREAMS = ("positions", "alphas", "colours", "scales", "rotations", "harmonics")
_ANTIALIAS, _EXTENSIONS = 1, 2
_COORDINATES = 0xADBE0003
_MAX_RATIO = 100
_FREE_BYTES = 64 << 20
# Axes that the coordinate extension numbers from 1 (bits of n: right, up, front), as signs against right-down-front.
_AXES: dict[int, Signs] = {n + 1: (1 if n & 1 else -1, -1 if n & 2 else 1, 1 if n & 4 else -1) for n in range(8)}


def read_container(data: bytes) -> Packed:
    """The streams of a whole file. Raises DataError that names the byte where the file stops being one."""
    if data.startswith(MAGIC):
        return _read_zstd(data)
    return _read_gzip(data)


def _read_gzip(data: bytes) -> Packed:
    inflater = zlib.decompressobj(wbits=31)
    head = _inflate(inflater, data, 16)
    if len(head) < 16:
        raise damaged(f"SPZ is cut off: {len(head)} bytes unpacked where the header has 16")
    if head[:4] != MAGIC:
        raise DataError(
            f"gzip data is no SPZ: it begins with {head[:4]!r} where SPZ has {MAGIC!r}; unpack it (gunzip), and give "
            "what was in it"
        )
    version, count, degree, fractional, flags, _ = struct.unpack("<IIBBBB", head[4:])
    _check_header(version, (1, 2, 3), count, degree, fractional)
    sizes = [count * size for size in row_bytes(version, degree)]
    _check_ratio(sum(sizes), len(data))
    # One byte more than expected shows a longer stream without unpacking it.
    room = 1 if not flags & _EXTENSIONS else 1 << 16
    body = _inflate(inflater, inflater.unconsumed_tail, sum(sizes) + room)
    if len(body) < sum(sizes):
        raise damaged(
            f"SPZ is cut off: {count} splats of degree {degree} need {sum(sizes)} bytes after the header, "
            f"{len(body)} could be unpacked"
        )
    signs = RIGHT_UP_BACK
    if flags & _EXTENSIONS:
        signs = _read_extensions(body[sum(sizes) :], 16 + sum(sizes), "unpacked byte")
    elif len(body) > sum(sizes):
        raise damaged(f"SPZ has more bytes than its header says: expected {sum(sizes)} after the header")
    if not inflater.eof:
        raise damaged("SPZ is cut off: the gzip stream has no end")
    if inflater.unused_data.strip(b"\0"):
        raise damaged(f"SPZ has {len(inflater.unused_data)} bytes after the end of its gzip stream")
    return _packed(_split(body, sizes), (version, degree, fractional, flags), signs)


def _inflate(inflater: zlib._Decompress, data: bytes, at_most: int) -> bytes:
    try:
        return inflater.decompress(data, at_most)
    except zlib.error as error:
        raise damaged(f"gzip data is damaged: {error}") from None


def _read_zstd(data: bytes) -> Packed:
    if len(data) < 32:
        raise damaged(f"SPZ is cut off: {len(data)} bytes where the header has 32")
    version, count, degree, fractional, flags, num_streams, table = struct.unpack("<IIBBBBI", data[4:20])
    _check_header(version, (4,), count, degree, fractional)
    sizes = [count * size for size in row_bytes(version, degree)]
    stored = [size for size in sizes if size]
    if num_streams != len(stored):
        raise damaged(f"SPZ, byte 15: {num_streams} streams; splats of degree {degree} have {len(stored)}")
    if not 32 <= table <= len(data) - 16 * num_streams:
        raise damaged(f"SPZ, byte 16: the table of streams is said to be at byte {table} of {len(data)}")
    _check_ratio(sum(sizes), len(data))
    signs = _read_extensions(data[32:table], 32, "byte") if flags & _EXTENSIONS else RIGHT_UP_BACK
    at = table + 16 * num_streams
    streams: list[bytes] = []
    names = [name for name, size in zip(STREAMS, sizes) if size]
    for i, (name, size) in enumerate(zip(names, stored)):
        packed_size, plain_size = struct.unpack_from("<QQ", data, table + 16 * i)
        if plain_size != size:
            raise DataError(f"SPZ, byte {table + 16 * i + 8}: {name} unpack to {plain_size} bytes, expected {size}")
        if packed_size > len(data) - at:
            raise damaged(
                f"SPZ is cut off: {name} need {packed_size} bytes from byte {at} on, the file ends at {len(data)}"
            )
        streams.append(_unpack_zstd(data[at : at + packed_size], size, name, at))
        at += packed_size
    if at != len(data):
        raise damaged(f"SPZ has {len(data) - at} bytes after its last stream, which ends at byte {at}")
    return _packed([*streams, *([b""] * (6 - len(streams)))], (version, degree, fractional, flags), signs)


def _unpack_zstd(data: bytes, size: int, name: str, at: int) -> bytes:
    try:
        # A frame that states its size makes the library allocate that much, whatever limit is given.
        stated = zstandard.frame_content_size(data)
        if stated not in (-1, size):
            raise damaged(f"SPZ, byte {at}: the zstd frame of {name} states {stated} bytes, expected {size}")
        out = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompress(data, max_output_size=size)
    except zstandard.ZstdError as error:
        raise damaged(f"SPZ, byte {at}: the zstd data of {name} are damaged: {error}") from None
    if len(out) != size:
        raise damaged(f"SPZ, byte {at}: {name} unpacked to {len(out)} bytes, expected {size}")
    return out


def _check_header(version: int, known: tuple[int, ...], count: int, degree: int, fractional: int) -> None:
    if version not in known:
        raise DataError(
            f"SPZ, byte 4: version {version} in this container; expected {' to '.join(_ends(known))}; export it as "
            "version 3 or 4, or as PLY"
        )
    check_count(count, "SPZ, byte 8:")
    if degree > 4:
        raise DataError(
            f"SPZ, byte 12: spherical harmonics of degree {degree}; at most 4 are known; export the scene anew, or as "
            "PLY"
        )
    if fractional > 30:
        raise damaged(f"SPZ, byte 13: {fractional} fractional bits; a 24-bit position has at most 30")


def _ends(known: tuple[int, ...]) -> list[str]:
    return [str(v) for v in sorted({known[0], known[-1]})]


def _check_ratio(plain: int, packed: int) -> None:
    if plain > max(_FREE_BYTES, _MAX_RATIO * packed):
        raise damaged(
            f"SPZ of {packed} bytes says that it unpacks to {plain}; more than {_MAX_RATIO} times its size is refused "
            f"above {_FREE_BYTES >> 20} MiB"
        )


def _read_extensions(data: bytes, at: int, unit: str) -> Signs:
    """Axes of the splats by the coordinate extension, if one is there; other records are skipped."""
    signs, place = RIGHT_UP_BACK, 0
    while place < len(data):
        if len(data) - place < 8:
            raise DataError(f"SPZ, {unit} {at + place}: an extension record is cut off")
        kind, length = struct.unpack_from("<II", data, place)
        if length > len(data) - place - 8:
            raise damaged(
                f"SPZ, {unit} {at + place}: extension {kind:#010x} says {length} bytes, "
                f"{len(data) - place - 8} are there"
            )
        if kind == _COORDINATES and length >= 4:
            axes = struct.unpack_from("<I", data, place + 8)[0]
            if axes and axes not in _AXES:
                raise DataError(
                    f"SPZ, {unit} {at + place + 8}: axes number {axes}; those with z up are not read; export the scene "
                    "with y up, or as PLY"
                )
            signs = _AXES.get(axes, RIGHT_UP_BACK)
        place += 8 + length
    return signs


def _split(body: bytes, sizes: list[int]) -> list[bytes]:
    view, out, at = memoryview(body), [], 0
    for size in sizes:
        out.append(view[at : at + size])
        at += size
    return out


def _packed(streams: list[bytes], fields: tuple[int, int, int, int], signs: Signs) -> Packed:
    version, degree, fractional, flags = fields
    rows = [np.frombuffer(s, dtype=np.uint8).reshape(-1, size) if size else np.zeros((len(streams[1]), 0), np.uint8)
            for s, size in zip(streams, row_bytes(version, degree))]  # fmt: skip
    return Packed(rows[0], rows[1][:, 0], *rows[2:], version=version, sh_degree=degree, fractional_bits=fractional,
                  antialias=bool(flags & _ANTIALIAS), signs=signs)  # fmt: skip


def write_container(packed: Packed, deflate: Callable[[bytes], bytes] | None = None, zstd_level: int = 12) -> bytes:
    """A whole file. deflate: bytes -> raw deflate data, for versions up to 3 (None: zlib's best level)."""
    flags = _ANTIALIAS if packed.antialias else 0
    fields = (packed.version, len(packed.alphas), packed.sh_degree, packed.fractional_bits, flags)
    if packed.version <= 3:
        plain = struct.pack("<4sIIBBBB", MAGIC, *fields, 0) + b"".join(s.tobytes() for s in packed.streams())
        # RFC 1952: magic, method 8, no flags, no time, most compressed, unknown system; CRC-32 and size at the end.
        head = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"
        coded = deflate(plain) if deflate else deflated(plain, 9)
        return head + coded + struct.pack("<II", zlib.crc32(plain), len(plain) & 0xFFFFFFFF)
    plain_streams = [s.tobytes() for s in packed.streams() if s.size]
    coder = zstandard.ZstdCompressor(level=zstd_level, write_content_size=True)
    coded = [coder.compress(s) for s in plain_streams]
    table = b"".join(struct.pack("<QQ", len(c), len(p)) for c, p in zip(coded, plain_streams))
    return struct.pack("<4sIIBBBBI12x", MAGIC, *fields, len(coded), 32) + table + b"".join(coded)


def deflated(plain: bytes, level: int) -> bytes:
    """Raw deflate data by zlib."""
    coder = zlib.compressobj(level, zlib.DEFLATED, -15, 9)
    return coder.compress(plain) + coder.flush()

# SPDX-License-Identifier: Apache-2.0
"""One channel of an OpenEXR picture, for depth maps: OpenCV's and Pillow's usual builds cannot read EXR.

What is read: scan lines of 16- or 32-bit floats or 32-bit integers, uncompressed or ZIP (after "OpenEXR File Layout",
Kainz et al. 2013). Sizes in the file are checked against its bytes before they are used to read anything.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError

_MAGIC = 20000630
_TILED, _DEEP, _SEVERAL_PARTS = 0x200, 0x800, 0x1000
# Compressions by number: scan lines in a chunk of those that are read, and the names of those that are not.
_LINES = {0: 1, 2: 1, 3: 16}
_NAMES = {1: "RLE", 4: "PIZ", 5: "PXR24", 6: "B44", 7: "B44A", 8: "DWAA", 9: "DWAB"}
_TYPES = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
# Last parts of channel names, the best first: Blender writes ViewLayer.Depth.Z.
_PREFERRED = ("z", "depth", "v", "y", "r")
_PIXELS_MAX = 200_000_000


@dataclass(frozen=True)
class _Header:
    channels: tuple[tuple[str, np.dtype], ...]
    compression: int
    left: int
    top: int
    width: int
    height: int
    end: int


def read_exr(path: Path) -> NDArray[np.float32]:
    """[H,W] float32: the channel named Z (or Depth, V, Y, R; the last part of the name counts), else the only one.

    Raises DataError, with the path, for other kinds of EXR file and for damaged ones.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        header = _header(data)
        return _pixels(data, header, _choose(header))
    except (struct.error, IndexError, zlib.error, UnicodeDecodeError, KeyError) as error:
        raise DataError(f"{path}: is a damaged EXR file ({error}); write it again") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _header(data: bytes) -> _Header:
    magic, flags = struct.unpack_from("<II", data, 0)
    if magic != _MAGIC:
        raise DataError("is not an EXR file")
    if flags & (_TILED | _DEEP | _SEVERAL_PARTS):
        raise DataError("is a tiled, deep or multi-part EXR file; save it as one part of scan lines")
    at = 8
    found: dict[str, bytes] = {}
    while data[at] != 0:
        name, at = _text(data, at)
        _, at = _text(data, at)
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        if size > len(data) - at:
            raise DataError(f"is truncated in its header (attribute {name})")
        found[name] = data[at : at + size]
        at += size
    left, top, right, bottom = struct.unpack("<4i", found["dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    if width < 1 or height < 1 or width * height > _PIXELS_MAX:
        raise DataError(f"says that it has {width}x{height} pixels")
    compression = found["compression"][0]
    if compression not in _LINES:
        raise DataError(f"is compressed with {_NAMES.get(compression, compression)}; save it with ZIP or uncompressed")
    return _Header(_channels(found["channels"]), compression, left, top, width, height, at + 1)


def _channels(data: bytes) -> tuple[tuple[str, np.dtype], ...]:
    at, out = 0, []
    while data[at] != 0:
        name, at = _text(data, at)
        kind, _, across, down = struct.unpack_from("<iIii", data, at)
        at += 16
        if (across, down) != (1, 1):
            raise DataError(f"holds channel {name} at a smaller size; save it at full size")
        out.append((name, _TYPES[kind]))
    return tuple(out)


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at) if 0 in data[at : at + 256] else -1
    if end < 0:
        raise DataError(f"is damaged: a name at byte {at} does not end")
    return data[at:end].decode("utf-8"), end + 1


def _choose(header: _Header) -> int:
    last = [name.rsplit(".", 1)[-1].lower() for name, _ in header.channels]
    for wanted in _PREFERRED:
        if wanted in last:
            return last.index(wanted)
    if len(last) == 1:
        return 0
    names = ", ".join(name for name, _ in header.channels)
    raise DataError(f"has no channel for depth (Z, Depth, V, Y or R); it has {names or 'none'}")


def _pixels(data: bytes, header: _Header, channel: int) -> NDArray[np.float32]:
    row_bytes = header.width * sum(kind.itemsize for _, kind in header.channels)
    before = header.width * sum(kind.itemsize for _, kind in header.channels[:channel])
    kind = header.channels[channel][1]
    lines = _LINES[header.compression]
    count = -(-header.height // lines)
    offsets = struct.unpack_from(f"<{count}Q", data, header.end)
    out = np.full((header.height, header.width), np.nan, np.float32)
    for offset in offsets:
        y, size = struct.unpack_from("<iI", data, offset)
        first = y - header.top
        rows = min(lines, header.height - first)
        if not 0 <= first < header.height or offset + 8 + size > len(data):
            raise DataError(f"is truncated or damaged at byte {offset}")
        block = _unpacked(data[offset + 8 : offset + 8 + size], rows * row_bytes)
        for row in range(rows):
            start = row * row_bytes + before
            out[first + row] = np.frombuffer(block, kind, header.width, start)
    return out


def _unpacked(block: bytes, size: int) -> bytes:
    """A chunk's bytes; one that zlib would not have made smaller is stored as it is."""
    if len(block) == size:
        return block
    plain = zlib.decompressobj().decompress(block, size)
    if len(plain) != size:
        raise DataError(f"is damaged: a block holds {len(plain)} bytes instead of {size}")
    # Stored as differences from the byte before, plus 128; the first half is the even bytes, the second the odd ones.
    steps = np.frombuffer(plain, np.uint8).astype(np.int64)
    steps[1:] -= 128
    summed = np.cumsum(steps).astype(np.uint8)
    out = np.empty(size, np.uint8)
    half = (size + 1) // 2
    out[0::2], out[1::2] = summed[:half], summed[half:]
    return out.tobytes()

# SPDX-License-Identifier: Apache-2.0
"""A scan-line EXR file written byte by byte, the reverse of what the reader does."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

_TYPES = {"u4": 0, "f2": 1, "f4": 2}


def write_exr(
    path: Path, channels: dict[str, np.ndarray], compression: int = 0, origin: tuple[int, int] = (0, 0), flags: int = 2
) -> None:
    """Channels [H,W] of uint32, float16 or float32. compression: 0 none, 2 ZIPS, 3 ZIP; others only in the header."""
    height, width = next(iter(channels.values())).shape
    names = sorted(channels)
    listed = b"".join(
        name.encode() + b"\0" + struct.pack("<iIii", _TYPES[channels[name].dtype.str[1:]], 0, 1, 1) for name in names
    )
    window = struct.pack("<4i", origin[0], origin[1], origin[0] + width - 1, origin[1] + height - 1)
    header = struct.pack("<II", 20000630, flags)
    for name, kind, value in (
        ("channels", "chlist", listed + b"\0"),
        ("compression", "compression", bytes([compression])),
        ("dataWindow", "box2i", window),
        ("lineOrder", "lineOrder", b"\0"),
    ):
        header += name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<I", len(value)) + value
    header += b"\0"
    lines = 16 if compression == 3 else 1
    chunks = []
    for y in range(0, height, lines):
        rows = range(y, min(y + lines, height))
        block = b"".join(channels[name][row].tobytes() for row in rows for name in names)
        chunks.append(struct.pack("<iI", y + origin[1], len(packed := _packed(block, compression))) + packed)
    at = len(header) + 8 * len(chunks)
    offsets = b""
    for chunk in chunks:
        offsets += struct.pack("<Q", at)
        at += len(chunk)
    path.write_bytes(header + offsets + b"".join(chunks))


def _packed(block: bytes, compression: int) -> bytes:
    if compression == 0:
        return block
    split = np.frombuffer(block[0::2] + block[1::2], np.uint8).astype(np.int64)
    steps = split.copy()
    steps[1:] = split[1:] - split[:-1] + 128
    packed = zlib.compress(steps.astype(np.uint8).tobytes())
    return packed if len(packed) < len(block) else block

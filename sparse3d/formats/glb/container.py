# SPDX-License-Identifier: Apache-2.0
"""The binary glTF container (glTF 2.0, section 4.4): a header, a chunk of JSON and a chunk of bytes."""

from __future__ import annotations

import json
import struct
from typing import Any

from sparse3d.errors import DataError
from sparse3d.formats.checks import damaged

MAGIC = b"glTF"
_JSON, _BIN = 0x4E4F534A, 0x004E4942
# A file of splats has a few kilobytes of JSON.
_JSON_LIMIT = 16 << 20


def read_glb(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """The JSON object and the binary chunk (empty where there is none). Raises DataError with the byte."""
    if len(data) < 20:
        raise damaged(f"binary glTF is cut off: {len(data)} bytes where header and first chunk need 20")
    magic, version, length = struct.unpack_from("<4sII", data)
    if magic != MAGIC or version != 2:
        raise DataError(
            f"binary glTF begins with {magic!r} version {version}, expected {MAGIC!r} version 2; export it as glTF 2.0"
        )
    if length != len(data):
        what = "cut off" if length > len(data) else "longer than it says"
        raise damaged(f"binary glTF is {what}: its header says {length} bytes, found {len(data)}")
    chunks: dict[int, memoryview] = {}
    at = 12
    while at < length:
        if length - at < 8:
            raise damaged(f"binary glTF, byte {at}: {length - at} bytes are left, a chunk header needs 8")
        size, kind = struct.unpack_from("<II", data, at)
        at += 8
        if size > length - at or size % 4:
            raise damaged(
                f"binary glTF, byte {at - 8}: a chunk of {size} bytes where {length - at} are left (multiples of 4)"
            )
        if at == 20 and kind != _JSON:
            raise damaged(f"binary glTF, byte 16: the first chunk has type {kind:#x}, expected JSON")
        chunks.setdefault(kind, memoryview(data)[at : at + size])
        at += size
    if len(chunks[_JSON]) > _JSON_LIMIT:
        raise damaged(f"binary glTF: {len(chunks[_JSON])} bytes of JSON; at most {_JSON_LIMIT} are read")
    try:
        root = json.loads(bytes(chunks[_JSON]).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(f"binary glTF: the JSON chunk cannot be read: {str(error)[:200]}") from None
    if not isinstance(root, dict):
        raise damaged(f"binary glTF: the JSON is a {type(root).__name__}, expected an object")
    return root, chunks.get(_BIN, memoryview(b""))


def make_glb(root: dict[str, Any], binary: bytes) -> bytes:
    """A whole file. `binary` is padded to 4 bytes."""
    padding = b"\0" * (-len(binary) % 4)
    return glb_head(root, len(binary) + len(padding)) + binary + padding


def glb_head(root: dict[str, Any], size: int) -> bytes:
    """What stands before the `size` bytes (a multiple of 4) of the binary chunk, which end the file."""
    text = json.dumps(root, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIIII", MAGIC, 2, 28 + len(text) + size, len(text), _JSON)
    return head + text + struct.pack("<II", size, _BIN)

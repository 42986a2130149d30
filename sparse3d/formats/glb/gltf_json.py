# SPDX-License-Identifier: Apache-2.0
"""Values out of glTF's JSON and its accessors, every index, type and bound checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.formats.checks import damaged

_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_KINDS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}


def item(root: dict[str, Any], table: str, index: Any) -> dict[str, Any]:
    """root[table][index], an object. Raises DataError for a missing table, a wrong index or another type."""
    rows = root.get(table)
    if not isinstance(rows, list):
        raise damaged(f"glTF has no list {table!r}")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(rows):
        raise damaged(f"glTF: {table} has {len(rows)} entries, entry {str(index)[:40]} was asked for")
    if not isinstance(rows[index], dict):
        raise damaged(f"glTF: {table}[{index}] is a {type(rows[index]).__name__}, expected an object")
    return rows[index]


def child(parent: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    """parent[name], an object, or {} where it is absent."""
    value = parent.get(name, {})
    if not isinstance(value, dict):
        raise damaged(f"glTF: {where}.{name} is a {type(value).__name__}, expected an object")
    return value


def whole(parent: dict[str, Any], name: str, where: str, default: int | None = None) -> int:
    """parent[name], an integer from 0 to 2^53."""
    value = parent.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1 << 53:
        raise damaged(f"glTF: {where}.{name} is {str(value)[:40]}, expected a whole number")
    return value


def numbers(parent: dict[str, Any], name: str, count: int, where: str) -> NDArray[np.float64] | None:
    """parent[name], so many finite numbers, or None where it is absent."""
    value = parent.get(name)
    if value is None:
        return None
    good = isinstance(value, list) and len(value) == count
    good = good and all(isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < 1e38 for x in value)
    if not good:
        raise damaged(f"glTF: {where}.{name} is {str(value)[:60]}, expected {count} finite numbers")
    return np.array(value, dtype=np.float64)


def view_bytes(root: dict[str, Any], binary: memoryview, index: Any) -> tuple[memoryview, int]:
    """Bytes of a buffer view in the binary chunk, and its stride (0: packed)."""
    view = item(root, "bufferViews", index)
    where = f"bufferViews[{index}]"
    if whole(view, "buffer", where) != 0 or "uri" in item(root, "buffers", 0):
        raise DataError(
            f"glTF: {where} lies in another buffer than the file's own; only that one is read; export a .glb with "
            "everything in it"
        )
    if "extensions" in view:
        raise DataError(
            f"glTF: {where} is compressed ({', '.join(map(str, child(view, 'extensions', where)))}); export it without "
            "compression"
        )
    start, size = whole(view, "byteOffset", where, 0), whole(view, "byteLength", where)
    if start + size > len(binary):
        raise damaged(f"glTF: {where} ends at byte {start + size}; the binary chunk has {len(binary)}")
    stride = whole(view, "byteStride", where, 0)
    if stride > 252:
        raise damaged(f"glTF: {where} has a stride of {stride} bytes; at most 252 are allowed")
    return binary[start : start + size], stride


def accessor_count(root: dict[str, Any], index: Any) -> int:
    """How many elements an accessor has."""
    return whole(item(root, "accessors", index), "count", f"accessors[{index}]")


def read_accessor(
    root: dict[str, Any], binary: memoryview, index: Any, name: str, width: int, count: int
) -> NDArray[np.float32]:
    """The elements [count,width] of an accessor as float32, normalised integers as fractions (glTF 2.0, 3.6.2.2)."""
    accessor = item(root, "accessors", index)
    where = f"accessors[{index}] ({name})"
    if "sparse" in accessor or "bufferView" not in accessor:
        raise DataError(f"glTF: {where} is sparse or empty, which is not read; export it with plain accessors")
    if _WIDTHS.get(str(accessor.get("type"))) != width:
        raise damaged(f"glTF: {where} has type {str(accessor.get('type'))[:20]}, expected {width} numbers an element")
    if whole(accessor, "count", where) != count:
        raise damaged(f"glTF: {where} has {accessor['count']} elements; POSITION has {count}")
    kind = _KINDS.get(whole(accessor, "componentType", where))
    if kind is None:
        raise damaged(f"glTF: {where} has component type {accessor['componentType']}, expected 5120 to 5126")
    data, stride = view_bytes(root, binary, accessor["bufferView"])
    start = whole(accessor, "byteOffset", where, 0)
    dtype = np.dtype(kind)
    size = width * dtype.itemsize
    stride = stride or size
    if stride < size or start + stride * (count - 1) + size > len(data):
        raise damaged(
            f"glTF: {where} needs {start + stride * (count - 1) + size} bytes ({count} elements of {size} bytes, one "
            f"every {stride}); its buffer view has {len(data)}"
        )
    stored = np.ndarray((count, width), dtype, data, start, (stride, dtype.itemsize))
    if accessor.get("normalized", False) is not True or dtype.kind == "f":
        return stored.astype(np.float32)
    return np.maximum(stored.astype(np.float32) / np.float32(np.iinfo(dtype).max), np.float32(-1.0))

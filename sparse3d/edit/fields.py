# SPDX-License-Identifier: Apache-2.0
"""What the fields of an edit may hold: each kind checks a value that came from JSON and says what is wrong with it."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.edit.history import Bits
from sparse3d.errors import DataError, UsageError

# A value and the words that name its place -> the value as Python has it. Raises UsageError.
Check = Callable[[Any, str], Any]
# Beyond it float32 has lost the place of a splat.
_FAR = 1e9
MAX_POINTS = 10_000


class Field(NamedTuple):
    """check: see above. default: where the field is left out; REQUIRED: it may not be."""

    check: Check
    default: Any


REQUIRED = object()


def number(low: float, high: float, *, whole: bool = False) -> Check:
    def check(value: Any, where: str) -> float:
        kind = "a whole number" if whole else "a number"
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not good or not low <= value <= high or (whole and value != int(value)):
            raise UsageError(f"{where} is {_shown(value)}; give {kind} from {low:g} to {high:g}")
        return int(value) if whole else float(value)

    return check


def optional(inner: Check) -> Check:
    return lambda value, where: None if value is None else inner(value, where)


def vector(length: int, low: float = -_FAR, high: float = _FAR) -> Check:
    def check(value: Any, where: str) -> tuple[float, ...]:
        if not isinstance(value, (list, tuple)) or len(value) != length:
            raise UsageError(f"{where} is {_shown(value)}; give a list of {length} numbers")
        one = number(low, high)
        return tuple(one(item, f"{where}[{i}]") for i, item in enumerate(value))

    return check


def quaternion(value: Any, where: str) -> tuple[float, ...]:
    """Four numbers wxyz of any length that a direction can be read from."""
    quat = vector(4, -1e6, 1e6)(value, where)
    if sum(part * part for part in quat) < 1e-12:
        raise UsageError(f"{where} is {_shown(value)}; a quaternion must not be 0, [1, 0, 0, 0] is no turn")
    return quat


def points(size: int, least: int, most: int = MAX_POINTS) -> Check:
    def check(value: Any, where: str) -> NDArray[np.float64]:
        count = len(value) if isinstance(value, (list, tuple)) else -1
        if not least <= count <= most:
            given = _shown(value) if count < 0 else f"a list of {count}"
            many = str(least) if least == most else f"{least} to {most}"
            raise UsageError(f"{where} is {given}; give a list of {many} points of {size} numbers each")
        one = vector(size)
        return np.array([one(item, f"{where}[{i}]") for i, item in enumerate(value)], np.float64)

    return check


def choice(*known: str) -> Check:
    def check(value: Any, where: str) -> str:
        if value not in known:
            raise UsageError(f"{where} is {_shown(value)}; choose one of {', '.join(known)}")
        return value

    return check


def text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 1000:
        raise UsageError(f"{where} is {_shown(value)}; give a text of 1 to 1000 letters")
    return value


def flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{where} is {_shown(value)}; give true or false")
    return value


def camera(value: Any, where: str) -> Camera:
    """A pinhole camera: width, height, fx, fy, cx, cy in pixels, cam_from_world as four rows of four."""
    names = ("width", "height", "fx", "fy", "cx", "cy", "cam_from_world")
    if not isinstance(value, Mapping) or set(value) != set(names):
        raise UsageError(f"{where} is {_shown(value)}; give an object with {', '.join(names)}")
    sizes = [number(1, 16384, whole=True)(value[name], f"{where}.{name}") for name in names[:2]]
    lens = [number(-1e6, 1e6)(value[name], f"{where}.{name}") for name in names[2:6]]
    pose = points(4, 4, 4)(value["cam_from_world"], f"{where}.cam_from_world")
    turn = pose[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > 1e-3 or tuple(pose[3]) != (0, 0, 0, 1):
        raise UsageError(f"{where}.cam_from_world must turn and shift only; its last row is 0, 0, 0, 1")
    try:
        return Camera(int(sizes[0]), int(sizes[1]), lens[0], lens[1], lens[2], lens[3], pose)
    except DataError as error:
        raise UsageError(f"{where}: {error}") from None


def camera_values(view: Camera) -> dict[str, Any]:
    """The camera as the field of an edit; the inverse of `camera`."""
    values = {name: float(getattr(view, name)) for name in ("fx", "fy", "cx", "cy")}
    return {"width": view.width, "height": view.height, **values, "cam_from_world": view.cam_from_world.tolist()}


def rows(value: Any, where: str) -> Bits:
    """{"count": N, "bits": text}: one bit a row of the document, packed, deflated and in base64."""
    if not isinstance(value, Mapping) or set(value) != {"count", "bits"} or not isinstance(value["bits"], str):
        raise UsageError(f"{where} is {_shown(value)}; give an object with count and bits, as a project file has it")
    count = number(0, 100_000_000, whole=True)(value["count"], f"{where}.count")
    needed = (int(count) + 7) // 8
    try:
        packed = base64.b64decode(value["bits"], validate=True)
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(packed, needed + 1)
    except (ValueError, zlib.error):
        raise UsageError(f"{where}.bits cannot be unpacked; the file is damaged, take an earlier copy") from None
    if len(data) != needed:
        raise UsageError(f"{where}.bits holds {len(data)} bytes, {needed} belong to {count:g} rows")
    return np.unpackbits(np.frombuffer(data, np.uint8), count=int(count)).astype(bool)


def rows_values(bits: Bits) -> dict[str, Any]:
    """A mask as the field of an edit; the inverse of `rows`."""
    packed = zlib.compress(np.packbits(bits).tobytes(), 6)
    return {"count": len(bits), "bits": base64.b64encode(packed).decode("ascii")}


def checked(op: Mapping[str, Any], fields: Mapping[str, Field], where: str) -> dict[str, Any]:
    """The fields of an edit, those left out at their defaults. Raises UsageError for an unknown or missing one."""
    unknown: Sequence[str] = [name for name in op if name not in fields and name != "op"]
    if unknown:
        known = ", ".join(fields) or "none"
        raise UsageError(f"{where} has no field {_shown(unknown[0])}; its fields are: {known}")
    out = {}
    for name, field in fields.items():
        if name not in op and field.default is REQUIRED:
            raise UsageError(f"{where} needs the field {name}; its fields are: {', '.join(fields)}")
        out[name] = field.check(op[name], f"{where}.{name}") if name in op else field.default
    return out


def _shown(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= 60 else words[:57] + "..."

# SPDX-License-Identifier: Apache-2.0
"""Cameras in a JSON file: `cameras.json` of a run, or a path that somebody made in the same form.

{"origin": [x, y, z], "cameras": [{"name", "split", "width", "height", "fx", "fy", "cx", "cy", "cam_from_world": 4x4},
...]}: pixels with centres at +0.5, OpenCV axes; name and split may be missing. origin: the place in the world that the
cameras are counted from (missing: the world's own).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.geometry.places import Origin

# How far R^T R may be from the identity: four decimals in a hand-written file.
_ROTATION_TOLERANCE = 1e-3


class NamedCamera(NamedTuple):
    """A camera and what its photo was used for: train, test, unused, or "" where the file does not say. origin: the
    place in the world that it is counted from."""

    camera: Camera
    split: str
    origin: Origin = (0.0, 0.0, 0.0)


def read_camera_file(path: Path) -> list[NamedCamera]:
    """Raises DataError that names the camera and the key."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    entries = values.get("cameras") if isinstance(values, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(f'{path}: needs a list "cameras" with at least one camera')
    origin = _origin(values.get("origin", [0.0, 0.0, 0.0]), path)
    return [_camera(entry, i, path)._replace(origin=origin) for i, entry in enumerate(entries)]


def _origin(value: Any, path: Path) -> Origin:
    good = isinstance(value, list) and len(value) == 3 and all(type(v) in (int, float) for v in value)
    if not good or not np.isfinite(value).all():
        raise DataError(f"{path}: origin is {str(value)[:60]}, expected three numbers; correct it or leave it out")
    return (float(value[0]), float(value[1]), float(value[2]))


def _camera(entry: Any, index: int, path: Path) -> NamedCamera:
    where = f"{path}: camera {index}"
    if not isinstance(entry, dict):
        raise DataError(f"{where}: is no object")
    missing = [k for k in ("width", "height", "fx", "fy", "cx", "cy", "cam_from_world") if k not in entry]
    if missing:
        raise DataError(f"{where}: lacks {', '.join(missing)}")
    try:
        pose = np.array(entry["cam_from_world"], dtype=np.float64)
        width, height = int(entry["width"]), int(entry["height"])
        fx, fy, cx, cy = (float(entry[key]) for key in ("fx", "fy", "cx", "cy"))
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {error}") from None
    if pose.shape != (4, 4) or not np.isfinite(pose).all() or not np.allclose(pose[3], (0, 0, 0, 1)):
        raise DataError(f"{where}: cam_from_world must be a finite 4x4 matrix with the bottom row 0 0 0 1")
    rotation = pose[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=_ROTATION_TOLERANCE) or np.linalg.det(rotation) < 0:
        raise DataError(f"{where}: the upper left 3x3 of cam_from_world is no rotation")
    name = str(entry.get("name", f"camera {index}"))
    try:
        return NamedCamera(Camera(width, height, fx, fy, cx, cy, pose, name=name), str(entry.get("split", "")))
    except DataError as error:
        raise DataError(f"{where}: {error}") from None

# SPDX-License-Identifier: Apache-2.0
"""The frames of a transforms*.json file, as instant-ngp, nerfstudio and NeRF's Blender scenes write them.

Poses are camera-to-world with OpenGL axes (x right, y up, z backwards). Pixel centres are at +0.5 (instant-ngp and
nerfstudio take K from COLMAP, which counts so). Intrinsics stand at the top or in a frame; a frame's own come first.
Lens coefficients are OpenCV's. Angles (camera_angle_x, camera_angle_y) are full fields of view in radians.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.load.parsers.parser import cam_from_world_opengl, stored_size
from sparse3d.load.parsers.photo_folders import smaller_note
from sparse3d.photos.files import PHOTO_SUFFIXES
from sparse3d.photos.photo import Photo

_PERSPECTIVE_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV", "PERSPECTIVE")
_FISHEYE_MODELS = ("OPENCV_FISHEYE", "FISHEYE")


@dataclass(frozen=True)
class Frames:
    """photos in the order of the file; missing: file names listed that do not exist. notes: sentences on folders that
    stand in for those that the file names."""

    photos: tuple[Photo, ...]
    missing: tuple[str, ...]
    listed: int
    notes: tuple[str, ...] = ()


def read_frames(path: Path, data: Mapping[str, Any], split: str | None = None) -> Frames:
    """Photos of the parsed JSON `data` that was read from `path`. Raises DataError for what a frame lacks."""
    frames = data.get("frames")
    if not isinstance(frames, list) or not frames:
        raise DataError(f"{path}: lists no frames (key 'frames')")
    photos, missing = [], []
    notes: dict[str, None] = {}
    for index, frame in enumerate(frames):
        where = f"{path}: frame {index}"
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise DataError(f"{where} has no file_path")
        name = clean_name(frame["file_path"])
        file = _find_file(path.parent, name)
        if file is None:
            missing.append(name)
            continue
        named = (path.parent / name).parent
        if file.parent != named:
            notes[smaller_note(named.name, file.parent)] = None
        where = f"{where} ({name})"
        camera = _camera(where, {**data, **frame}, file, name + (file.suffix if not _has_suffix(name) else ""))
        mask = frame.get("mask_path")
        mask_path = None
        if isinstance(mask, str) and mask:
            mask_path = path.parent / clean_name(mask)
            if not mask_path.is_file():
                raise DataError(f"{where}: mask_path {mask} does not exist")
        photos.append(Photo(camera.name, file, camera, split=split, mask_path=mask_path))
    return Frames(tuple(photos), tuple(missing), len(frames), tuple(notes))


def clean_name(file_path: str) -> str:
    """A file_path as written -> relative path with '/', without './'."""
    return str(PurePosixPath(file_path.replace("\\", "/")))


def _has_suffix(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES


def _find_file(root: Path, name: str) -> Path | None:
    path = root / name
    if path.is_file():
        return path
    if not _has_suffix(name):
        for suffix in (".png", *PHOTO_SUFFIXES, *(s.upper() for s in PHOTO_SUFFIXES)):
            if (found := path.with_name(path.name + suffix)).is_file():
                return found
    if not path.parent.is_dir():
        # Scenes are often passed on with the shrunk copies only: images_2, images_4, images_8 beside a missing images.
        for factor in (2, 4, 8):
            folder = path.parent.with_name(f"{path.parent.name}_{factor}")
            for candidate in (folder / path.name, folder / (path.stem + ".png")):
                if candidate.is_file():
                    return candidate
    return None


def _number(where: str, values: Mapping[str, Any], key: str) -> float | None:
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{where}: {key} must be a number, found {value!r}")
    return float(value)


def _camera(where: str, values: Mapping[str, Any], file: Path, name: str) -> Camera:
    matrix = np.asarray(values.get("transform_matrix", ()), dtype=object)
    if matrix.shape not in ((4, 4), (3, 4)):
        raise DataError(f"{where}: transform_matrix must be 4x4 (or 3x4), found shape {matrix.shape}")
    try:
        pose = cam_from_world_opengl(matrix.astype(np.float64), where)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: transform_matrix holds something that is not a number ({error})") from error
    width, height = _number(where, values, "w"), _number(where, values, "h")
    if width is None or height is None:
        width, height = stored_size(file)
    fx, fy = _focals(where, values, width, height)
    cx, cy = _number(where, values, "cx"), _number(where, values, "cy")
    distortion, fisheye = _lens(where, values)
    return Camera(
        round(width),
        round(height),
        fx,
        fy,
        width / 2 if cx is None else cx,
        height / 2 if cy is None else cy,
        pose,
        distortion=distortion,
        fisheye=fisheye,
        name=name,
    )


def _focals(where: str, values: Mapping[str, Any], width: float, height: float) -> tuple[float, float]:
    fx, fy = _number(where, values, "fl_x"), _number(where, values, "fl_y")
    angle_x, angle_y = _number(where, values, "camera_angle_x"), _number(where, values, "camera_angle_y")
    if fx is None and angle_x is not None:
        fx = _from_angle(where, "camera_angle_x", angle_x, width)
    if fy is None and values.get("fl_x") is None and angle_y is not None:
        fy = _from_angle(where, "camera_angle_y", angle_y, height)
    fx = fy if fx is None else fx
    if fx is None:
        raise DataError(f"{where}: has no focal length (fl_x or camera_angle_x, in the frame or at the top)")
    fy = fx if fy is None else fy
    if fx <= 0 or fy <= 0:
        raise DataError(f"{where}: the focal length ({fx:g}, {fy:g}) must be positive")
    return fx, fy


def _from_angle(where: str, key: str, angle: float, side: float) -> float:
    if not 0 < angle < math.pi:
        raise DataError(f"{where}: {key} is {angle:g}, expected radians between 0 and pi")
    return 0.5 * side / math.tan(0.5 * angle)


def _lens(where: str, values: Mapping[str, Any]) -> tuple[tuple[float, ...], bool]:
    model = str(values.get("camera_model", "OPENCV")).upper()
    fisheye = model in _FISHEYE_MODELS or bool(values.get("is_fisheye", False))
    if not fisheye and model not in _PERSPECTIVE_MODELS:
        raise DataError(
            f"{where}: camera_model {model} cannot be made a pinhole camera "
            f"(known: {', '.join((*_PERSPECTIVE_MODELS, *_FISHEYE_MODELS))})"
        )
    keys = ("k1", "k2", "k3", "k4") if fisheye else ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
    k = [_number(where, values, key) or 0.0 for key in keys]
    while k and k[-1] == 0.0:
        k.pop()
    return tuple(k), fisheye

# SPDX-License-Identifier: Apache-2.0
"""The frames of a transforms*.json file, as instant-ngp, nerfstudio and NeRF's Blender scenes write them.

Poses are camera-to-world with OpenGL axes (x right, y up, z backwards). Pixel centres are at +0.5 (instant-ngp and
nerfstudio take K from COLMAP, which counts so). Intrinsics: see `nerf_intrinsics`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.load.parsers.nerf_intrinsics import K4, Intrinsics, Source, are_shared, intrinsics_of
from sparse3d.load.parsers.parser import cam_from_world_opengl, plausible
from sparse3d.load.parsers.photo_folders import smaller_note
from sparse3d.photos.files import PHOTO_SUFFIXES
from sparse3d.photos.photo import Photo

# The smaller copies that nerfstudio and LLFF write: images_2, images_4, images_8.
_FACTORS = (2, 4, 8)


@dataclass(frozen=True)
class Frames:
    """photos in the order of the file; missing: file names listed that do not exist. notes: sentences on folders that
    stand in for those that the file names."""

    photos: tuple[Photo, ...]
    missing: tuple[str, ...]
    listed: int
    notes: tuple[str, ...] = ()


def read_frames(path: Path, data: Mapping[str, Any], split: str | None = None, k4: K4 = "auto") -> Frames:
    """Photos of the parsed JSON `data` that was read from `path`. k4: what that coefficient means. Raises DataError
    for what a frame lacks."""
    frames = data.get("frames")
    if not isinstance(frames, list) or not frames:
        raise DataError(
            f"{path}: lists no frames (key 'frames'), so it is no transforms.json; give the photos' folder instead"
        )
    photos, missing = [], []
    notes: dict[str, None] = {}
    shared: Intrinsics | None = None
    for index, frame in enumerate(frames):
        where = f"{path}: frame {index}"
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise DataError(f"{where} has no file_path; add the name of its photo")
        name = clean_name(frame["file_path"])
        file = _find_file(path.parent, name)
        if file is None:
            missing.append(name)
            continue
        named = (path.parent / name).parent
        if file.parent != named:
            notes[smaller_note(named.name, file.parent)] = None
        where = f"{where} ({name})"
        stands_in = file.parent != named
        own = shared if are_shared(frame, data) else None
        if own is None:
            stands_in = file.parent != named
            own = intrinsics_of(Source(where, frame, data, file, _factor(file.parent.name), stands_in), k4, notes)
            shared = own if are_shared(frame, data) else shared
        full_name = name + (file.suffix if not _has_suffix(name) else "")
        camera = _camera(where, frame, own, full_name)
        mask = frame.get("mask_path")
        mask_path = None
        if isinstance(mask, str) and mask:
            mask_path = path.parent / clean_name(mask)
            if not mask_path.is_file():
                raise DataError(f"{where}: mask_path {mask} does not exist; put the mask there or remove the key")
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
        for factor in _FACTORS:
            folder = path.parent.with_name(f"{path.parent.name}_{factor}")
            for candidate in (folder / path.name, folder / (path.stem + ".png")):
                if candidate.is_file():
                    return candidate
    return None


def _factor(folder: str) -> int:
    """The 4 of images_4; 1 for any other name."""
    found = re.fullmatch(r".+_(\d+)", folder)
    return int(found[1]) if found and int(found[1]) in _FACTORS else 1


def _camera(where: str, frame: Mapping[str, Any], own: Intrinsics, name: str) -> Camera:
    matrix = np.asarray(frame.get("transform_matrix", ()), dtype=object)
    if matrix.shape not in ((4, 4), (3, 4)):
        raise DataError(
            f"{where}: transform_matrix must be 4x4 (or 3x4), found shape {matrix.shape}; write it as rows of numbers"
        )
    try:
        pose = cam_from_world_opengl(matrix.astype(np.float64), where)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: transform_matrix holds something that is not a number ({error}); write it as rows of numbers"
        ) from error
    camera = Camera(
        round(own.width), round(own.height), own.fx, own.fy, own.cx, own.cy, pose,
        distortion=own.distortion, lens=own.lens, name=name,
    )  # fmt: skip
    return plausible(camera, where)

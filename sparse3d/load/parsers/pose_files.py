# SPDX-License-Identifier: Apache-2.0
"""Text files with the pose and the K of each photo: pose/NAME.txt and intrinsic/NAME.txt beside image/NAME.jpg.

A pose is 4x4 camera-to-world with OpenCV's axes (x right, y down, z forward); K is 3x3 (or 4x4) with pixel centres
at integers: half a pixel is added. One K for all photos may stand in intrinsic.txt. MobileBrick and ScanNet are
distributed like this. Photos whose pose is not finite (lost by the tracker) are left out and counted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers.matrices import read_numbers, size_of_matrix
from sparse3d.load.parsers.parsed_scene import ParsedScene
from sparse3d.load.parsers.parser import PARSERS, SceneParser, Work, by_name, invert, others_note, rigid, stored_size
from sparse3d.photos.files import list_photos
from sparse3d.photos.photo import Photo

_POSES = ("pose", "poses")
_INTRINSICS = ("intrinsic", "intrinsics")
_SHARED = ("intrinsic.txt", "intrinsics.txt", "K.txt", "intrinsic/intrinsic_color.txt")
_PICTURES = ("image", "images", "color", "rgb")


def _first(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).exists()), None)


def sniff(root: Path) -> str | None:
    if not root.is_dir():
        return None
    poses, k = _first(root, _POSES), _first(root, _INTRINSICS) or _first(root, _SHARED)
    if poses is None or k is None or not any(poses.glob("*.txt")):
        return None
    return f"there are {poses.name}/ and {k.name} with text files"


def parse(root: Path, cfg: SceneConfig, work: Work) -> ParsedScene:
    poses, folder = _first(root, _POSES), _first(root, _PICTURES)
    if poses is None or folder is None:
        raise DataError(f"{root}: needs a folder of poses (pose/) and one of photos (image/); add what is missing")
    files, others = list_photos(folder)
    shared = _first(root, _SHARED)
    intrinsics = _first(root, _INTRINSICS)
    photos, without, lost = [], [], 0
    for file in files:
        pose_path = poses / f"{file.stem}.txt"
        if not pose_path.is_file():
            without.append(file.name)
            continue
        world_from_cam = _matrix(pose_path, ((4, 4), (3, 4)))
        if not np.isfinite(world_from_cam).all():
            lost += 1
            continue
        k_path = intrinsics / f"{file.stem}.txt" if intrinsics is not None and intrinsics.is_dir() else None
        if k_path is None or not k_path.is_file():
            k_path = shared
        if k_path is None:
            raise DataError(
                f"{root}: photo {file.name} has no K ({root.name}/intrinsic/{file.stem}.txt or intrinsic.txt); add one "
                "of these files"
            )
        k = _matrix(k_path, ((3, 3), (4, 4), (3, 4)))
        width, height = size_of_matrix(k[0, 2], k[1, 2], *stored_size(file), str(k_path))
        pose = invert(rigid(world_from_cam[:3, :3], world_from_cam[:3, 3], str(pose_path)))
        camera = Camera(width, height, k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5, pose, name=file.name)
        photos.append(Photo(file.name, file, camera))
    if not photos:
        raise DataError(
            f"{root}: none of the {len(files)} photos in {folder.name}/ has a usable pose in {poses.name}/; check that "
            "the files have the photos' names and hold 4x4 matrices"
        )
    notes = others_note(others, folder)
    if without:
        notes += (
            f"photos left out, as they have no file in {poses.name}/: {len(without)} of {len(files)}, "
            f"first {without[0]}",
        )
    if lost:
        notes += (f"photos left out, as their pose is not finite: {lost} of {len(files)}",)
    return ParsedScene("pose_files", root, by_name(photos, str(root)), notes=notes)


def _matrix(path: Path, shapes: tuple[tuple[int, int], ...]) -> NDArray[np.float64]:
    matrix = read_numbers(path)
    if matrix.size in (9, 16) and 1 in matrix.shape:
        side = 3 if matrix.size == 9 else 4
        matrix = matrix.reshape(side, side)
    if matrix.shape not in shapes:
        raise DataError(
            f"{path}: expected a {shapes[0][0]}x{shapes[0][1]} matrix, "
            f"found {matrix.shape[0]} rows of {matrix.shape[1]}; correct the file"
        )
    return matrix


PARSERS.register("pose_files")(SceneParser("pose_files", "pose/, intrinsic/ and image/ (MobileBrick)", sniff, parse))

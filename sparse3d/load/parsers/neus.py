# SPDX-License-Identifier: Apache-2.0
"""cameras_sphere.npz (or cameras_large.npz, cameras.npz) of IDR and NeuS, with masks: a common form of DTU scans.

world_mat_i is K [R | t] of photo i (4x4, last row 0 0 0 1), with pixel centres at integers: half a pixel is added. The
world is the source's own (millimetres for DTU); scale_mat_i, which maps the unit sphere onto the object, is not
applied, so that results fit the data set's ground truth. Masks: see `photos.masks`.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers.matrices import size_of_matrix
from sparse3d.load.parsers.parsed_scene import ParsedScene
from sparse3d.load.parsers.parser import (
    PARSERS,
    SceneParser,
    Work,
    by_name,
    camera_from_projection,
    others_note,
    stored_size,
)
from sparse3d.load.parsers.photo_folders import is_smaller, smaller_folders, smaller_note
from sparse3d.photos.files import list_photos
from sparse3d.photos.photo import Photo

_FILES = ("cameras_sphere.npz", "cameras_large.npz", "cameras.npz")
_FOLDERS = ("image", "images", "rgb")
# A skew this large would move pixels visibly; smaller ones come from the rounding of the matrices.
_SKEW_PX = 0.5


def _camera_file(root: Path) -> Path | None:
    named = [root / name for name in _FILES if (root / name).is_file()]
    return (named or sorted(root.glob("cameras_*.npz")) or [None])[0] if root.is_dir() else None


def sniff(root: Path) -> str | None:
    path = _camera_file(root)
    return f"there is a {path.name}" if path is not None else None


def parse(root: Path, cfg: SceneConfig, work: Work) -> ParsedScene:
    path = _camera_file(root)
    if path is None:
        raise DataError(f"{root}: holds no cameras_sphere.npz; copy it from the data set")
    matrices = _read_matrices(path)
    folder = _picture_folder(root)
    files, others = list_photos(folder)
    photos, skewed = [], 0
    for file, index in zip(files, _indices(files, matrices, path, folder), strict=True):
        where = f"{path}: world_mat_{index}"
        width, height = stored_size(file)
        projection = matrices[index]
        camera, skew = camera_from_projection(projection, width, height, file.name, where)
        full = size_of_matrix(camera.cx, camera.cy, width, height, where)
        camera, skew = camera_from_projection(projection, *full, file.name, where)
        skewed += abs(skew) > _SKEW_PX
        photos.append(Photo(file.name, file, camera))
    notes = others_note(others, folder)
    if is_smaller(folder):
        notes += (smaller_note("image", folder),)
    if skewed:
        notes += (f"{skewed} cameras have a skew of more than {_SKEW_PX} px, which is dropped",)
    return ParsedScene("neus", root, by_name(photos, str(path)), notes=notes)


def _read_matrices(path: Path) -> dict[int, NDArray[np.float64]]:
    out = {}
    try:
        # Opened here, as NumPy leaves a file open that is not an archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            for key in data.files:
                if match := re.fullmatch(r"world_mat_(\d+)", key):
                    out[int(match[1])] = np.asarray(data[key], np.float64)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{path}: cannot be read as a NumPy archive ({error}); copy it again") from error
    if not out:
        raise DataError(
            f"{path}: holds no world_mat_0, so it is not from IDR or NeuS; give the cameras_sphere.npz of the data set"
        )
    for index, matrix in out.items():
        if matrix.shape not in ((4, 4), (3, 4)):
            raise DataError(
                f"{path}: world_mat_{index} has shape {matrix.shape}, expected 4x4; correct it, or copy the file again"
            )
        out[index] = matrix[:3, :4]
    return out


def _picture_folder(root: Path) -> Path:
    for folder in (*(root / name for name in _FOLDERS), *smaller_folders(root)):
        if folder.is_dir() and list_photos(folder)[0]:
            return folder
    raise DataError(f"{root}: holds no photos in image/, images/ or images_<factor>/; put them there")


def _indices(files: list[Path], matrices: dict[int, NDArray[np.float64]], path: Path, folder: Path) -> list[int]:
    """Which matrix belongs to each photo: the k-th by name, or, where photos are missing, the number in its name."""
    if len(files) == len(matrices) and sorted(matrices) == list(range(len(files))):
        return list(range(len(files)))
    numbers = [int(file.stem) if file.stem.isdigit() else -1 for file in files]
    if all(number in matrices for number in numbers):
        return numbers
    raise DataError(
        f"{path} has {len(matrices)} cameras but {folder.name}/ holds {len(files)} photos, and their names are not "
        "the cameras' numbers; matrix k belongs to the k-th photo by name, so the counts must be equal; put the "
        "missing photos back, or remove those without a camera"
    )


PARSERS.register("neus")(SceneParser("neus", "cameras_sphere.npz with image/ and mask/ (IDR, NeuS, DTU)", sniff, parse))

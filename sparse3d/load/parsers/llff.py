# SPDX-License-Identifier: Apache-2.0
"""poses_bounds.npy of LLFF: row k belongs to the k-th photo by name.

A row is a 3x5 matrix and two depths. Its columns are the camera's down, right and backwards axes in the world, its
position, and (height, width, focal) of the photo that the focal length is for. The principal point is the photo's
middle, pixel centres at +0.5. The two depths (near, far) come from points of all photos, so they are not used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers.matrices import load_npy
from sparse3d.load.parsers.parsed_scene import ParsedScene
from sparse3d.load.parsers.parser import PARSERS, SceneParser, Work, by_name, invert, others_note, rigid
from sparse3d.load.parsers.photo_folders import is_smaller, smaller_folders, smaller_note
from sparse3d.photos.files import list_photos
from sparse3d.photos.photo import Photo


def sniff(root: Path) -> str | None:
    return "there is a poses_bounds.npy" if (root / "poses_bounds.npy").is_file() else None


def parse(root: Path, cfg: SceneConfig, work: Work) -> ParsedScene:
    path = root / "poses_bounds.npy"
    rows = load_npy(path)
    if rows.ndim != 2 or rows.shape[1] != 17:
        raise DataError(
            f"{path}: expected rows of 17 numbers, found shape {rows.shape}; compute it again with LLFF's imgs2poses"
        )
    folder = picture_folders(root)
    if not folder:
        raise DataError(f"{root}: holds no photos in images/ or images_<factor>/ for {path.name}; put them there")
    files, others = list_photos(folder[0])
    if len(files) != len(rows):
        raise DataError(
            f"{path} has {len(rows)} rows but {folder[0].name}/ holds {len(files)} photos; "
            "row k belongs to the k-th photo by name, so the numbers must be equal; put the missing photos back, or "
            "remove those that have no row"
        )
    photos = []
    for file, row in zip(files, rows, strict=True):
        where = f"{path}: row {len(photos)}"
        matrix = row[:15].reshape(3, 5)
        down, right, back, position = matrix[:, 0], matrix[:, 1], matrix[:, 2], matrix[:, 3]
        height, width, focal = matrix[:, 4]
        if not (np.isfinite(matrix[:, 4]).all() and height >= 1 and width >= 1 and focal > 0):
            raise DataError(
                f"{where}: height {height:g}, width {width:g} and focal length {focal:g} are impossible; correct that "
                "row, or compute the file again"
            )
        pose = invert(rigid(np.stack([right, down, -back], axis=1), position, where))
        camera = Camera(round(width), round(height), focal, focal, width / 2, height / 2, pose, name=file.name)
        photos.append(Photo(file.name, file, camera))
    notes = others_note(others, folder[0])
    if is_smaller(folder[0]) and len(folder) == 1:
        notes += (smaller_note("images", folder[0]),)
    if len(folder) > 1:
        notes += (f"photos from {folder[0].name}/; {', '.join(f.name for f in folder[1:])} are passed over",)
    return ParsedScene("llff", root, by_name(photos, str(path)), notes=notes)


def picture_folders(root: Path) -> list[Path]:
    """images/ and images_<factor>/ with photos, the largest pictures first."""
    whole = root / "images"
    return [whole] * (whole.is_dir() and bool(list_photos(whole)[0])) + smaller_folders(root)


PARSERS.register("llff")(SceneParser("llff", "poses_bounds.npy with images/ or images_<factor>/ (LLFF)", sniff, parse))

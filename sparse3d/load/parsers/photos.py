# SPDX-License-Identifier: Apache-2.0
"""A plain folder of photos without cameras, which structure from motion finds later.

Photos lie in the folder itself or in images/, image/ or input/ under it, or, where none of these has any, in images_2/,
images_4/ and so on. Their orientation tag is honoured.
"""

from __future__ import annotations

from pathlib import Path

from sparse3d.errors import DataError
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers.parsed_scene import ParsedScene
from sparse3d.load.parsers.parser import PARSERS, SceneParser, Work, by_name, others_note
from sparse3d.load.parsers.photo_folders import is_smaller, smaller_folders, smaller_note
from sparse3d.photos.files import list_photos
from sparse3d.photos.photo import Photo

_FOLDERS = ("images", "image", "input", ".")


def photo_folder(root: Path) -> Path | None:
    """The first of the known folders that holds photos."""
    for name in _FOLDERS:
        folder = root / name
        if folder.is_dir() and list_photos(folder)[0]:
            return folder
    return next(iter(smaller_folders(root)), None)


def sniff(root: Path) -> str | None:
    if not root.is_dir() or (folder := photo_folder(root)) is None:
        return None
    where = "it" if folder == root else f"{folder.name}/"
    return f"{where} holds {len(list_photos(folder)[0])} photos"


def parse(root: Path, cfg: SceneConfig, work: Work) -> ParsedScene:
    folder = photo_folder(root) if root.is_dir() else None
    if folder is None:
        raise DataError(f"{root}: holds no photos, nor does images/ under it")
    files, others = list_photos(folder)
    photos = by_name([Photo(path.name, path, None, upright=True) for path in files], str(folder))
    notes = others_note(others, folder)
    if folder != root and is_smaller(folder):
        notes += (smaller_note("images", folder),)
    return ParsedScene("photos", root, photos, notes=notes)


PARSERS.register("photos")(SceneParser("photos", "a folder of photos without cameras", sniff, parse))

# SPDX-License-Identifier: Apache-2.0
"""A plain folder of photos without cameras, which structure from motion finds later.

Photos lie in images/, image/ or input/ and the folders under it, or in the folder itself; where it has none and no
video, in the folders under it (DCIM/100APPLE, front/ and back/ of a rig); or, where none of these has any, in
images_2/, images_4/ and so on. Their orientation tag is honoured.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sparse3d.errors import DataError
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers.parsed_scene import ParsedScene
from sparse3d.load.parsers.parser import PARSERS, SceneParser, Work, by_name, others_note
from sparse3d.load.parsers.photo_folders import is_smaller, smaller_folders, smaller_note
from sparse3d.photos.below import photos_below
from sparse3d.photos.files import PHOTO_SUFFIXES, list_photos
from sparse3d.photos.mask_files import is_mask_name
from sparse3d.photos.photo import Photo
from sparse3d.photos.video import is_video

_FOLDERS = ("images", "image", "input", ".")


def find_photos(root: Path) -> tuple[Path, list[str]] | None:
    """The first of the known folders that holds photos, and their paths from it with '/', sorted."""
    for name in _FOLDERS:
        folder = root / name
        if folder.is_dir() and (found := _photos_in(folder, deep=name != ".")):
            return folder, found
    smaller = next(iter(smaller_folders(root)), None)
    return None if smaller is None else (smaller, _photos_in(smaller, deep=True))


def _photos_in(folder: Path, deep: bool) -> list[str]:
    if not deep:
        here = photos_below(folder, 0)
        if here or any(is_video(path) for path in folder.iterdir()):
            return _without_masks(here)
    return _without_masks(photos_below(folder))


def _without_masks(names: list[str]) -> list[str]:
    """The names but x_mask.png beside x.jpg."""
    if not any("mask" in name for name in names):
        return names
    beside: dict[str, set[str]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        beside.setdefault(folder, set()).add(file.rpartition(".")[0])
    return [n for n in names if not is_mask_name(n.rpartition("/")[2], beside[n.rpartition("/")[0]])]


def sniff(root: Path) -> str | None:
    if not root.is_dir() or (found := find_photos(root)) is None:
        return None
    folder, photos = found
    where = "it" if folder == root else f"{folder.name}/"
    return f"{where} holds {len(photos)} photos"


def parse(root: Path, cfg: SceneConfig, work: Work) -> ParsedScene:
    found = find_photos(root) if root.is_dir() else None
    if found is None:
        raise DataError(
            f"{root}: holds no photos, nor does images/ under it; give a folder with photos "
            f"({', '.join(PHOTO_SUFFIXES[:6])}, ...)"
        )
    folder, files = found
    photos = by_name([Photo(name, folder / name, None, upright=True) for name in files], str(folder))
    notes = others_note(list_photos(folder)[1], folder)
    inside = Counter(photo.name.rpartition("/")[0] for photo in photos)
    if len(inside) > 1:
        counts = ", ".join(f"{name or folder.name}/ {count}" for name, count in sorted(inside.items()))
        notes += (f"photos from {len(inside)} folders: {counts}",)
    if folder == root and "" in inside:
        left = len(photos_below(root)) - len(photos_below(root, 0))
        if left:
            notes += (f"photos in folders under {root.name or root}, not used: {left}; put all into one images/",)
    if folder != root and is_smaller(folder):
        notes += (smaller_note("images", folder),)
    return ParsedScene("photos", root, photos, notes=notes)


PARSERS.register("photos")(SceneParser("photos", "a folder of photos without cameras", sniff, parse))

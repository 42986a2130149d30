# SPDX-License-Identifier: Apache-2.0
"""Photos in a folder and in the folders under it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sparse3d.errors import DataError
from sparse3d.photos.files import PHOTO_SUFFIXES

# Folders beside photos whose pictures are none: masks, depth, normals, smaller copies, what programs write.
_NO_PHOTOS = re.compile(
    r"\..*|__macosx|masks?(_.*)?|.*_masks?|segmentations?|objects|(depth|normal|confidence|disparity)(_?maps?)?s?(_\d+)?"
    r"|images?_\d+|thumb(nail)?s?|previews?|sparse|colmap|dense|stereo|distorted|runs?|outputs?|results?|frames\.json",
    re.IGNORECASE,
)

# A whole disk given by mistake is not walked through.
_DEPTH = 4


def photos_below(folder: Path, depth: int = _DEPTH) -> list[str]:
    """Photos in `folder` and up to `depth` folders under it: their paths from it with '/', sorted; hidden ones and
    folders whose pictures are no photos (masks, depth, smaller copies) are left aside. Raises DataError for a folder
    that cannot be listed."""
    found: list[str] = []
    _collect(str(folder), "", depth, found)
    return sorted(found)


def _collect(at: str, before: str, depth: int, found: list[str]) -> None:
    try:
        with os.scandir(at) as entries:
            for entry in entries:
                name = entry.name
                if name.lower().endswith(PHOTO_SUFFIXES):
                    if not name.startswith(".") and entry.is_file():
                        found.append(before + name)
                elif depth and entry.is_dir(follow_symlinks=not before) and not _NO_PHOTOS.fullmatch(name):
                    _collect(entry.path, f"{before}{name}/", depth - 1, found)
    except OSError as error:
        raise DataError(f"{at}: cannot be listed: {error.strerror}; check that you may read it") from error


def unlisted_note(folder: Path, listed: set[str], where: str) -> tuple[str, ...]:
    """A sentence that counts the photos below `folder` that are not among the `listed` names (relative, with '/'), if
    there are any. where: what lists them."""
    names = photos_below(folder)
    left = [name for name in names if name not in listed]
    if not left:
        return ()
    count = f"{len(left)} of {len(names)} photos in {folder.name}/ {'is' if len(left) == 1 else 'are'}"
    return (f"{count} not in {where} and left out, first {left[0]}",)

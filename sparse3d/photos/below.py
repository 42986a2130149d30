# SPDX-License-Identifier: Apache-2.0
"""Photos in a folder and in the folders under it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sparse3d.errors import DataError
from sparse3d.photos.files import is_photo

# Folders beside photos whose pictures are none: masks, depth, normals, smaller copies, what programs write.
_NO_PHOTOS = re.compile(
    r"\..*|__macosx|masks?(_.*)?|.*_masks?|segmentations?|objects|(depth|normal|confidence|disparity)(_?maps?)?s?(_\d+)?"
    r"|images?_\d+|thumb(nail)?s?|previews?|sparse|colmap|dense|stereo|distorted|runs?|outputs?|results?|frames\.json",
    re.IGNORECASE,
)


def photos_below(folder: Path) -> list[Path]:
    """Photos in `folder` and the folders under it, sorted by path; hidden ones and folders whose pictures are no photos
    (masks, depth, smaller copies) are left aside. Raises DataError for a folder that cannot be listed."""
    found = []

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be listed: {error.strerror}; check that you may read it")

    for at, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not _NO_PHOTOS.fullmatch(name))
        found += [Path(at) / name for name in files if not name.startswith(".") and is_photo(Path(name))]
    return sorted(found)


def unlisted_note(folder: Path, listed: set[str], where: str) -> tuple[str, ...]:
    """A sentence that counts the photos below `folder` that are not among the `listed` names (relative, with '/'), if
    there are any. where: what lists them."""
    names = [path.relative_to(folder).as_posix() for path in photos_below(folder)]
    left = [name for name in names if name not in listed]
    if not left:
        return ()
    verb = "is" if len(left) == 1 else "are"
    return (
        f"{len(left)} of {len(names)} photos in {folder.name}/ {verb} not in {where} and left out, first {left[0]}",
    )

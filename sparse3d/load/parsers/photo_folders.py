# SPDX-License-Identifier: Apache-2.0
"""Photos that are there in smaller copies only: images_2/, images_4/, images_8/ in place of images/."""

from __future__ import annotations

import re
from pathlib import Path

from sparse3d.photos.files import list_photos


def smaller_folders(base: Path) -> list[Path]:
    """The folders images_<factor>/ (or image_<factor>/) in `base` that hold photos, the largest pictures first."""
    found = [p for p in base.iterdir() if is_smaller(p) and p.is_dir() and list_photos(p)[0]]
    return sorted(found, key=lambda p: (int(p.name.split("_")[1]), p.name))


def is_smaller(folder: Path) -> bool:
    return re.fullmatch(r"images?_\d+", folder.name) is not None


def smaller_note(named: str, taken: Path) -> str:
    """The sentence that says which folder stands in for the one that was looked for, `named`."""
    return f"{named}/ does not hold the photos; their smaller copies in {taken.name}/ are taken"

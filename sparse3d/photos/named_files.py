# SPDX-License-Identifier: Apache-2.0
"""Files that belong to a photo and are named like it: masks, depth maps, normal maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def file_like(folder: Path, photo_name: str, suffixes: Sequence[str], other_than: Path | None = None) -> Path | None:
    """The file in `folder` that belongs to a photo: NAME or NAME.jpg with one of the suffixes, in the photo's own
    subfolder or at the top; a name that is a number may have other leading zeros. None if there is none besides
    `other_than`."""
    relative = Path(photo_name)
    stems = [relative.with_suffix(""), relative, Path(relative.stem), Path(relative.name)]
    if relative.stem.isdigit():
        # NeuS writes image/000012.png and mask/012.png.
        stems += [Path(f"{int(relative.stem):0{width}d}") for width in (3, 4, 5, 6)]
    for stem in dict.fromkeys(stems):
        for suffix in suffixes:
            path = folder / stem.parent / (stem.name + suffix)
            if path.is_file() and path != other_than:
                return path
    return None

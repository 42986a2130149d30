# SPDX-License-Identifier: Apache-2.0
"""Mask pictures that belong to photos: where they are looked for, and what they mean (white: the pixel counts)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.photos.files import decode
from sparse3d.photos.named_files import file_like
from sparse3d.photos.photo import Photo

# A mask that was shrunk has soft edges: a pixel counts from this grey level on.
MASK_LEVEL = 128
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def find_masks(
    root: Path, photos: tuple[Photo, ...], given: Path | None = None
) -> tuple[tuple[Photo, ...], tuple[str, ...]]:
    """The photos with `mask_path` filled in where a mask folder has a file for them, and a note.

    For photos in images_4/ the folders masks_4 and mask_4 come before masks and mask. A mask is named like its photo
    (NAME.png or NAME.jpg.png); a name that is a number may have other leading zeros.
    given: the folder to look in instead, whatever masks the scene has. Raises DataError if it has none for any photo.
    """
    if given is None and any(photo.mask_path for photo in photos):
        return photos, ()
    for folder in _folders(root, photos) if given is None else [given]:
        found = [file_like(folder, photo.name, _SUFFIXES, other_than=photo.path) for photo in photos]
        count = sum(path is not None for path in found)
        if not count:
            continue
        without = "" if count == len(photos) else "; those without count everywhere"
        note = f"masks for {count} of {len(photos)} photos in {folder.name}/ (white = keep){without}"
        masked = tuple(replace(p, mask_path=path) for p, path in zip(photos, found, strict=True))
        return masked, (note,)
    if given is not None:
        raise DataError(
            f"--prior-masks {given}: holds no mask for any of the {len(photos)} photos; a mask is named like its "
            f"photo ({Path(photos[0].name).stem}.png)"
        )
    return photos, ()


def read_mask(path: Path, *, upright: bool = False) -> NDArray[np.bool_]:
    """Mask file -> [H,W], true where the pixel counts: where the brightest channel and the alpha channel, if there is
    one, are at least MASK_LEVEL."""
    rgb, alpha = decode(path, upright=upright)
    grey = rgb.max(axis=2)
    if alpha is not None and alpha.min() < MASK_LEVEL:
        grey = np.minimum(grey, alpha)
    return grey >= MASK_LEVEL


def _folders(root: Path, photos: tuple[Photo, ...]) -> list[Path]:
    names = ["masks", "mask"]
    bases = [root]
    if photos:
        folder = photos[0].path.parent
        bases += [folder, folder.parent] if folder != root and folder.is_relative_to(root) else []
        size = re.search(r"_(\d+)$", folder.name)
        if size:
            names = [f"masks_{size[1]}", f"mask_{size[1]}", *names]
    unique = dict.fromkeys(base / name for base in bases for name in names)
    return [folder for folder in unique if folder.is_dir()]

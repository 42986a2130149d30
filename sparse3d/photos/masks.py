# SPDX-License-Identifier: Apache-2.0
"""Mask pictures that belong to photos: where they are looked for, and what they mean (white: the pixel counts)."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.photos.files import decode
from sparse3d.photos.mask_files import MASK_ENDINGS, MASK_SUFFIXES, MaskFolder
from sparse3d.photos.photo import Photo

# A mask that was shrunk has soft edges: a pixel counts from this grey level on.
MASK_LEVEL = 128


def find_masks(
    root: Path, photos: tuple[Photo, ...], given: Path | None = None
) -> tuple[tuple[Photo, ...], tuple[str, ...]]:
    """The photos with `mask_path` filled in where a mask folder has a file for them, and notes.

    Folders are masks/ and mask/ in the scene, beside the photos and above them; for photos in images_4/ the folders
    masks_4 and mask_4 come first; last, NAME_mask.png beside a photo. Names: see `mask_files`.
    given: the folder to look in instead, whatever masks the scene has. Raises DataError if it has none for any photo.
    """
    if given is None and any(photo.mask_path for photo in photos):
        return photos, ()
    places = [(photo.path, photo.name) for photo in photos]
    found: list[Path | None] = [None] * len(photos)
    used, unused, shared = [], [], 0
    for folder, base in _folders(root, photos) if given is None else [(given, given)]:
        left = [i for i, path in enumerate(found) if path is None and (given or places[i][0].is_relative_to(base))]
        masks = MaskFolder(folder, base)
        hits, several = masks.find([places[i] for i in left])
        shared += several
        for i, path in zip(left, hits, strict=True):
            found[i] = path
        if any(hits):
            used.append(folder)
        elif len(masks) and not several:
            unused.append((folder, len(masks)))
        if all(found):
            break
    if not any(found) and given is None:
        found = _beside(places)
        used = sorted({path.parent for path in found if path is not None})
    if given is not None and not any(found):
        raise DataError(
            f"--prior-masks {given}: holds no mask for any of the {len(photos)} photos; a mask is named like its "
            f"photo ({Path(photos[0].name).stem}.png)"
        )
    notes = _notes(root, found, used, shared)
    if not any(found) and photos:
        named = Path(photos[0].name).with_suffix(".png").as_posix()
        for folder, count in unused:
            at = f"{folder.name}/"
            notes += (f"{at} holds {count} pictures, but none is named like a photo ({at}{named}); they are not used",)
    masked = tuple(replace(p, mask_path=path or p.mask_path) for p, path in zip(photos, found, strict=True))
    return masked, notes


def _notes(root: Path, found: list[Path | None], used: list[Path], shared: int) -> tuple[str, ...]:
    notes = ()
    count = sum(path is not None for path in found)
    if count:
        without = "" if count == len(found) else "; those without count everywhere"
        alone = len({folder.name for folder in used}) == len(used)
        shown = [f.name if alone or not f.is_relative_to(root) else f.relative_to(root).as_posix() for f in used]
        where = ", ".join(f"{name}/" for name in shown[:3]) + (" and others" if len(shown) > 3 else "")
        notes += (f"masks for {count} of {len(found)} photos in {where} (white = keep){without}",)
    if shared:
        notes += (
            f"photos without a mask, because the one of their name would fit others too: {shared}; put masks into "
            "subfolders as the photos are",
        )
    return notes


def _beside(places: list[tuple[Path, str]]) -> list[Path | None]:
    """NAME_mask.png in the photo's own folder."""
    photos = {path for path, _ in places}
    masks: dict[Path, set[str]] = {}
    for folder in {path.parent for path, _ in places}:
        names = {name for name in os.listdir(folder) if "mask" in name}
        if names:
            masks[folder] = names
    found: list[Path | None] = [None] * len(places)
    if not masks:
        return found
    for i, (path, _) in enumerate(places):
        names = masks.get(path.parent, set())
        candidates = (
            f"{stem}{end}{s}" for stem in (path.stem, path.name) for end in MASK_ENDINGS for s in MASK_SUFFIXES
        )
        hits = (path.with_name(name) for name in candidates if name in names)
        found[i] = next((hit for hit in hits if hit not in photos), None)
    return found


def read_mask(path: Path, *, upright: bool = False) -> NDArray[np.bool_]:
    """Mask file -> [H,W], true where the pixel counts: where the brightest channel and the alpha channel, if there is
    one, are at least MASK_LEVEL."""
    rgb, alpha = decode(path, upright=upright)
    grey = rgb.max(axis=2)
    if alpha is not None and alpha.min() < MASK_LEVEL:
        grey = np.minimum(grey, alpha)
    return grey >= MASK_LEVEL


def _folders(root: Path, photos: tuple[Photo, ...]) -> list[tuple[Path, Path]]:
    """Mask folders that exist, each with the folder that it lies in."""
    names = ["masks", "mask"]
    bases = {root: None}
    for folder in dict.fromkeys(photo.path.parent for photo in photos):
        inside = [folder, *folder.parents]
        if root in inside:
            bases |= dict.fromkeys(reversed(inside[: inside.index(root)]))
    if photos:
        sizes = (re.search(r"_(\d+)$", part) for part in reversed(photos[0].path.parent.parts))
        if size := next((found[1] for found in sizes if found), None):
            names = [f"masks_{size}", f"mask_{size}", *names]
    return [(base / name, base) for base in bases for name in names if (base / name).is_dir()]

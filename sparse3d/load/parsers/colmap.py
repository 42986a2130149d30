# SPDX-License-Identifier: Apache-2.0
"""A COLMAP model with its photos. Conventions: see `colmap_model`.

The model is looked for in sparse, colmap/sparse and the given folder itself, and in the numbered folders there, of
which the one with the most photos is taken; and nowhere else: a folder may also hold a model that is meant as ground
truth. Its points were computed from all of its photos.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from sparse3d.errors import DataError
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers.colmap_model import ColmapModel, count_images, has_model, read_model
from sparse3d.load.parsers.parsed_scene import ParsedScene
from sparse3d.load.parsers.parser import PARSERS, SceneParser, Work, by_name, dropped_note
from sparse3d.load.parsers.photo_folders import is_smaller, smaller_note
from sparse3d.photos.below import photos_below, unlisted_note
from sparse3d.photos.photo import Photo
from sparse3d.records.points import Points

_FOLDERS = ("sparse", "colmap/sparse", ".")


def model_folders(root: Path) -> list[Path]:
    """The models in the first of the known folders that holds any, by number, one without a number last."""
    for name in _FOLDERS:
        base = root / name
        if base.is_dir():
            numbered = [p for p in base.iterdir() if p.name.isdecimal() and p.is_dir()]
            if found := [p for p in (*sorted(numbered, key=lambda p: int(p.name)), base) if has_model(p)]:
                return found
    return []


def model_folder(root: Path) -> Path | None:
    """The model with the most photos; of equal ones the first."""
    found = model_folders(root)
    return max(found, key=count_images) if len(found) > 1 else next(iter(found), None)


def sniff(root: Path) -> str | None:
    found = model_folders(root)
    if not found:
        return None
    # Which of several is taken depends on their contents, which may be damaged: `parse` says that.
    if len(found) > 1:
        where = found[0].parent if found[0].name.isdecimal() else found[0]
        return f"{where.relative_to(root)} holds {len(found)} COLMAP models"
    folder = found[0]
    return f"{folder.relative_to(root)} holds a COLMAP model" if folder != root else "it holds a COLMAP model"


def parse(root: Path, cfg: SceneConfig, work: Work) -> ParsedScene:
    folder = model_folder(root)
    if folder is None:
        raise DataError(
            f"{root}: holds no COLMAP model (looked in {', '.join(_FOLDERS)} for cameras and images); run COLMAP, or "
            "give the photos without it"
        )
    model = read_model(folder)
    names = [camera.name for camera in model.images]
    pictures = _picture_folder(root, folder, names)
    photos, notes = _placed(model, pictures)
    if is_smaller(pictures):
        notes += (smaller_note("images", pictures),)
    notes += _others_note(root, folder)
    if pictures not in (root, folder):
        notes += unlisted_note(pictures, {*names, *(photo.name for photo in photos)}, "the COLMAP model")
    # A point seen in one photo only is a leftover of filtering and has no measured depth. Networks that write such
    # models (VGGT, MASt3R, DUSt3R) give no tracks at all: then every point counts.
    tracked = model.track_lengths >= 2
    keep = (tracked if tracked.any() else ~tracked) & np.isfinite(model.xyz).all(axis=1)
    if keep.any() and not tracked.any():
        notes += (f"the model's {int(keep.sum())} points have no tracks; all of them count",)
    points = None
    if keep.any():
        points = Points(
            model.xyz[keep],
            (model.rgb[keep] / 255.0).astype(np.float32),
            model.error_px[keep].astype(np.float32),
        )
    base = pictures.parent if re.match(r"images?(_\d+)?$", pictures.name) else root
    return ParsedScene("colmap", base, by_name(photos, str(folder)), points, points_from_all_photos=True, notes=notes)


def _placed(model: ColmapModel, pictures: Path) -> tuple[list[Photo], tuple[str, ...]]:
    """The model's photos that are there, and sentences on the others and on those under another suffix."""
    photos, missing = [], []
    for camera in model.images:
        path = pictures / camera.name
        if path.is_file():
            photos.append(Photo(camera.name, path, camera))
        else:
            missing.append(camera)
    other = _by_stem(pictures) if missing else {}
    found = {c.name: names[0] for c in missing if len(names := other.get(_stem(c.name), [])) == 1}
    notes = dropped_note([c.name for c in missing if c.name not in found], len(model.images), "the COLMAP model")
    taken = {photo.name for photo in photos}
    again = [c.name for c in missing if found.get(c.name) in taken]
    if again:
        raise DataError(f"{pictures}: {found[again[0]]} would be two photos of the COLMAP model; put {again[0]} there")
    photos += [
        Photo(found[c.name], pictures / found[c.name], replace(c, name=found[c.name]))
        for c in missing
        if c.name in found
    ]
    if found:
        old, new = next(iter(found.items()))
        notes += (
            f"photos of the COLMAP model that are there under another suffix: {len(found)}, first {new} for {old}",
        )
    return photos, notes


def _by_stem(pictures: Path) -> dict[str, list[str]]:
    """Photos below the folder, by their names without suffix: cut out of their background they are PNG, and COLMAP on
    Windows does not mind .JPG."""
    out: dict[str, list[str]] = {}
    for name in photos_below(pictures):
        out.setdefault(_stem(name), []).append(name)
    return out


def _stem(name: str) -> str:
    return name.rpartition(".")[0].lower()


def _others_note(root: Path, folder: Path) -> tuple[str, ...]:
    """A sentence that counts the photos of the models that are passed over, if there are any."""
    others = [p for p in model_folders(root) if p != folder]
    if not others:
        return ()
    counts = ", ".join(f"{_shown(root, p)} with {_photos(count_images(p))}" for p in others)
    return (
        f"the COLMAP model in {_shown(root, folder)} is read, which has {_photos(count_images(folder))}; passed over: "
        f"{counts} (to take another, give its folder as the scene)",
    )


def _shown(root: Path, folder: Path) -> str:
    return folder.relative_to(root).as_posix() if folder != root else root.name


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"


def _picture_folder(root: Path, model: Path, names: list[str]) -> Path:
    """The folder in which most of the model's photos are. Raises DataError where it finds none."""
    above = list(model.parents if model != root else root.parents)[:3]
    bases = dict.fromkeys((root, *above))
    candidates = []
    for base in bases:
        candidates += [base / "images", base / "image", base / "input"]
        smaller = [p for p in base.glob("images_*") if is_smaller(p)]
        candidates += sorted(smaller, key=lambda p: int(p.name[7:]))
        candidates.append(base)
        counts = [sum((folder / name).is_file() for name in names) for folder in candidates]
        if any(counts):
            return candidates[counts.index(max(counts))]
    stems = {_stem(name) for name in names}
    for folder in (p for p in candidates if p not in bases and p.is_dir()):
        if not stems.isdisjoint(_by_stem(folder)):
            return folder
    tried = ", ".join(str(p.relative_to(root)) for p in candidates if p.is_relative_to(root) and p.is_dir())
    raise DataError(
        f"{root}: none of the {len(names)} photos of the COLMAP model is there (first {names[0]}; looked in "
        f"{tried or 'images'}); put them in images/"
    )


PARSERS.register("colmap")(SceneParser("colmap", "a COLMAP model in sparse/0 with images/", sniff, parse))

# SPDX-License-Identifier: Apache-2.0
"""transforms.json of nerfstudio and instant-ngp. Conventions of poses, pixels and lenses: see `nerf_frames`.

train_filenames, val_filenames and test_filenames give the scene's own split. `ply_file_path` is a point cloud in the
same world as the poses: `applied_transform`, which leads from COLMAP's world to this one, has been applied to both, so
it is not applied again. Such points come from all photos.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparse3d.errors import DataError
from sparse3d.formats import read_points
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers.nerf_frames import clean_name, read_frames
from sparse3d.load.parsers.parsed_scene import ParsedScene
from sparse3d.load.parsers.parser import PARSERS, SceneParser, Work, by_name, dropped_note, read_json
from sparse3d.photos.below import unlisted_note
from sparse3d.photos.photo import Photo
from sparse3d.records.points import Points


def sniff(root: Path) -> str | None:
    if root.is_file():
        return f"{root.name} is a list of frames" if root.suffix.lower() == ".json" else None
    return "there is a transforms.json" if (root / "transforms.json").is_file() else None


def parse(root: Path, cfg: SceneConfig, work: Work) -> ParsedScene:
    path = root if root.is_file() else root / "transforms.json"
    data = read_json(path)
    frames = read_frames(path, data, k4=cfg.k4)
    if not frames.photos:
        raise DataError(
            f"{path}: none of the {frames.listed} photos it lists exists, first {path.parent / frames.missing[0]}; "
            "check that the pictures lie where file_path says"
        )
    notes = dropped_note(frames.missing, frames.listed, path.name) + frames.notes
    notes += _unlisted(path, frames.photos)
    photos = by_name(_with_splits(path, data, frames.photos), str(path))
    points = None
    ply = data.get("ply_file_path")
    if isinstance(ply, str) and ply:
        ply_path = path.parent / clean_name(ply)
        if ply_path.is_file():
            cloud = read_points(ply_path)
            points = Points(cloud.xyz, cloud.rgb)
            notes += cloud.notes
        else:
            notes += (f"{path.name} names points in {ply}, which does not exist",)
    return ParsedScene("transforms", path.parent, photos, points, points_from_all_photos=True, notes=notes)


def _unlisted(path: Path, photos: tuple[Photo, ...]) -> tuple[str, ...]:
    """A sentence that counts the photos that lie with those listed but are not, where all lie in one folder."""
    root = str(path.parent) + os.sep
    inside = [str(photo.path)[len(root) :] for photo in photos if str(photo.path).startswith(root)]
    tops = {name.partition(os.sep)[0] for name in inside}
    if len(inside) < len(photos) or len(tops) != 1 or os.sep not in inside[0]:
        return ()
    (top,) = tops
    listed = {name[len(top) + 1 :].replace(os.sep, "/") for name in inside}
    return unlisted_note(path.parent / top, listed, path.name)


def _with_splits(path: Path, data: dict[str, Any], photos: tuple[Photo, ...]) -> list[Photo]:
    lists = {key: data.get(f"{key}_filenames") for key in ("train", "val", "test")}
    given = {key: {clean_name(str(n)) for n in names} for key, names in lists.items() if isinstance(names, list)}
    if not any(given.values()):
        return list(photos)
    # Without a test list, its author measured on the validation photos.
    test = given.get("test") or given.get("val") or set()
    train = given.get("train")
    out = []
    for photo in photos:
        if photo.name in test:
            if train and photo.name in train:
                raise DataError(
                    f"{path}: {photo.name} is both in train_filenames and in the test list; take it out of one"
                )
            split = "test"
        else:
            split = "train" if train is None or photo.name in train else "unused"
        out.append(replace(photo, split=split))
    return out


PARSERS.register("transforms")(SceneParser("transforms", "transforms.json (nerfstudio, instant-ngp)", sniff, parse))

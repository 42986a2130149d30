# SPDX-License-Identifier: Apache-2.0
"""transforms_train.json with transforms_test.json (and _val): NeRF's Blender scenes, and others split into such files.

Conventions of poses, pixels and lenses: see `nerf_frames`. Photos are RGBA; the alpha channel is composited over the
configured background (white in NeRF's papers). The validation pictures are used only where there are no test pictures.
"""

from __future__ import annotations

from pathlib import Path

from sparse3d.errors import DataError
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers.nerf_frames import read_frames
from sparse3d.load.parsers.parsed_scene import ParsedScene
from sparse3d.load.parsers.parser import PARSERS, SceneParser, Work, by_name, dropped_note, read_json
from sparse3d.photos.photo import Photo


def sniff(root: Path) -> str | None:
    return "there is a transforms_train.json" if (root / "transforms_train.json").is_file() else None


def parse(root: Path, cfg: SceneConfig, work: Work) -> ParsedScene:
    has_test = (root / "transforms_test.json").is_file()
    splits = {"train": "train", "test": "test", "val": "unused" if has_test else "test"}
    photos: list[Photo] = []
    notes: tuple[str, ...] = ()
    for part, split in splits.items():
        path = root / f"transforms_{part}.json"
        if part != "train" and (not path.is_file() or split == "unused"):
            continue
        frames = read_frames(path, read_json(path), split, cfg.k4)
        if not frames.photos and part == "train":
            raise DataError(
                f"{path}: none of the {frames.listed} photos it lists exists, first {root / frames.missing[0]}; "
                "check that the pictures lie where file_path says"
            )
        notes += dropped_note(frames.missing, frames.listed, path.name) + frames.notes
        photos += frames.photos
    return ParsedScene("blender", root, by_name(photos, str(root)), notes=notes)


PARSERS.register("blender")(SceneParser("blender", "transforms_train.json (NeRF's Blender scenes)", sniff, parse))

# SPDX-License-Identifier: Apache-2.0
"""NAME_par.txt of the Middlebury multi-view data: a count, then for each photo a line with name, K (9), R (9), t (3).

P = K [R | t] maps the world to pixels whose centres are at integers: half a pixel is added. R and t are already
`cam_from_world` with OpenCV's axes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers.matrices import size_of_matrix
from sparse3d.load.parsers.parsed_scene import ParsedScene
from sparse3d.load.parsers.parser import PARSERS, SceneParser, Work, by_name, dropped_note, rigid, stored_size
from sparse3d.photos.photo import Photo


def _par_file(root: Path) -> Path | None:
    found = sorted(root.glob("*_par.txt")) if root.is_dir() else []
    return found[0] if found else None


def sniff(root: Path) -> str | None:
    path = _par_file(root)
    return f"there is a {path.name}" if path is not None else None


def parse(root: Path, cfg: SceneConfig, work: Work) -> ParsedScene:
    path = _par_file(root)
    if path is None:
        raise DataError(f"{root}: holds no NAME_par.txt; copy it from the data set")
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}); save it as UTF-8") from error
    if not lines or len(lines[0]) != 1 or not lines[0][0].isdigit():
        raise DataError(
            f"{path}: line 1 must be the number of photos, found {' '.join(lines[0])[:60]!r}; correct it"
            if lines
            else f"{path}: is empty; copy it again from the data set"
        )
    if int(lines[0][0]) != len(lines) - 1:
        raise DataError(
            f"{path}: line 1 says {lines[0][0]} photos, but {len(lines) - 1} lines follow; it is cut off or edited; "
            "copy it again, or correct the number"
        )
    photos, missing = [], []
    for number, words in enumerate(lines[1:], start=2):
        where = f"{path}: line {number}"
        if len(words) != 22:
            raise DataError(
                f"{where}: expected a name and 21 numbers (K, R, t), found {len(words) - 1} numbers; correct that line"
            )
        try:
            values = np.array([float(word) for word in words[1:]])
        except ValueError as error:
            raise DataError(f"{where}: {error}; correct that line") from error
        file = root / words[0]
        if not file.is_file():
            missing.append(words[0])
            continue
        k, rotation, translation = values[:9].reshape(3, 3), values[9:18].reshape(3, 3), values[18:]
        width, height = size_of_matrix(k[0, 2], k[1, 2], *stored_size(file), where)
        pose = rigid(rotation, translation, where)
        camera = Camera(width, height, k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5, pose, name=words[0])
        photos.append(Photo(words[0], file, camera))
    if not photos:
        raise DataError(
            f"{path}: none of the {len(missing)} photos it lists exists, first {root / missing[0]}; put them there"
            if missing
            else f"{path}: lists no photos; copy it again from the data set"
        )
    notes = dropped_note(missing, len(lines) - 1, path.name)
    return ParsedScene("middlebury", root, by_name(photos, str(path)), notes=notes)


PARSERS.register("middlebury")(SceneParser("middlebury", "NAME_par.txt with photos (Middlebury)", sniff, parse))

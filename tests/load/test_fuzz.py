# SPDX-License-Identifier: Apache-2.0
"""Damaged models, lists of frames and videos: whatever is in them, they are read or refused in a sentence.

`python -m tests.load.test_fuzz 2000` tries that many damages of each kind.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparse3d.errors import DataError, UsageError
from sparse3d.load import SceneConfig, load_scene
from sparse3d.photos.undistort import undistort_maps
from sparse3d.photos.video import extract_frames
from tests.load import makers
from tests.photos.test_film import number_picture, write

ROUNDS = 40
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e-9, 1e9, 1e300, -0.0, float("nan"), float("inf"), "", "1", "OPENCV", "FULL_OPENCV",
    [], {}, [[1, 2], [3]], "../../x.png", "images/000.png\0",
)  # fmt: skip
KEYS = (
    "w", "h", "fl_x", "fl_y", "cx", "cy", "k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2", "camera_angle_x",
    "camera_angle_y", "x_fov", "y_fov", "is_fisheye", "camera_model", "file_path", "transform_matrix", "mask_path",
    "latlong",
)  # fmt: skip


def read(root: Path) -> None:
    """Load, and undistort what was loaded: what a photo's reader does before it looks at pixels."""
    scene = load_scene(root, SceneConfig(test_every=0))
    for i in range(len(scene.names)):
        camera = scene.images.photo(i).camera
        assert camera is not None
        if camera.lens != "opencv" or any(camera.distortion):
            undistort_maps(camera)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, cut out or doubled."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out)) if out else 0
        how = rng.randrange(4)
        if how == 0 and out:
            out[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif how == 1:
            out[at : at + rng.choice((1, 4, 8))] = rng.randbytes(rng.choice((0, 1, 4, 8)))
        elif how == 2:
            out = out[:at]
        else:
            out[at:at] = out[at : at + rng.randrange(40)]
    return bytes(out)


def model(root: Path, rng: random.Random) -> Callable[[], None]:
    cams = makers.cameras(3)
    kinds = [
        (1, None),
        (6, [70.0, 70.0, 32.0, 24.0, *[0.01] * 8]),
        (13, [70.0, 70.0, 32.0, 24.0, 0.1]),
        (16, [70.0, 70.0, 32.0, 24.0, 0.6, 1.1]),
    ]
    makers.write_photos(root / "images", cams)
    if rng.random() < 0.5:
        makers.write_colmap_bin(root / "sparse" / "0", cams, *rng.choice(kinds))
    else:
        makers.write_colmap_txt(root / "sparse" / "0", cams)
    path = rng.choice(sorted((root / "sparse" / "0").iterdir()))
    path.write_bytes(damaged(path.read_bytes(), rng))
    return lambda: read(root)


def frames(root: Path, rng: random.Random) -> Callable[[], None]:
    path = makers.write_transforms(root, makers.cameras(3))
    data = json.loads(path.read_text())
    for _ in range(rng.randint(1, 4)):
        level = rng.choice([data, *data["frames"]])
        key = rng.choice(KEYS)
        if rng.random() < 0.3:
            level.pop(key, None)
        else:
            level[key] = rng.choice(ODD) if rng.random() < 0.6 else rng.uniform(-2, 2) * 10 ** rng.randint(-3, 4)
    text = json.dumps(data).encode()
    path.write_bytes(damaged(text, rng) if rng.random() < 0.3 else text)
    return lambda: read(root)


def film(root: Path, rng: random.Random) -> Callable[[], None]:
    suffix = rng.choice((".mp4", ".mkv", ".avi"))
    path = root / f"v{suffix}"
    root.mkdir(parents=True)
    kept = Path(tempfile.gettempdir()) / f"sparse3d-fuzz{suffix}"
    if not kept.is_file():
        write(kept, [number_picture(k) for k in range(8)])
    path.write_bytes(damaged(kept.read_bytes(), rng))
    return lambda: enough(extract_frames(path, root / "frames", 4))


def enough(paths: list[Path]) -> None:
    assert len(paths) >= 2


def rounds(kind: Callable[[Path, random.Random], Callable[[], None]], folder: Path, count: int) -> tuple[int, int]:
    """How many damaged scenes were read, and how many refused."""
    taken = refused = 0
    for number in range(count):
        root = folder / str(number)
        act = kind(root, random.Random(number))
        try:
            act()
            taken += 1
        except (DataError, UsageError):
            refused += 1
        shutil.rmtree(root)
    return taken, refused


@pytest.mark.parametrize("kind", [model, frames, film])
def test_damaged_scenes_are_read_or_refused(tmp_path: Path, kind) -> None:
    taken, refused = rounds(kind, tmp_path, ROUNDS)
    assert taken + refused == ROUNDS
    assert min(taken, refused) > 0


if __name__ == "__main__":
    for each in (model, frames, film):
        found = rounds(each, Path(tempfile.mkdtemp()), int(sys.argv[1]))
        sys.stdout.write(f"{each.__name__}: {found[0]} read, {found[1]} refused\n")

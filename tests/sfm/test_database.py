# SPDX-License-Identifier: Apache-2.0
"""Features in the mapper's database: which photos are enlarged for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycolmap
import pytest

from sparse3d.sfm.database import extract


def _job(folder: Path, pictures: dict[str, np.ndarray]) -> dict[str, Any]:
    (folder / "photos").mkdir()
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / "photos" / name), picture)
    height, width = next(iter(pictures.values())).shape
    return {
        "photos": [{"file": name, "train": True, "lens": 0} for name in pictures],
        "lenses": [{"width": width, "height": height, "focal_px": 0.0}],
        "masks": False,
        "fixed_below": 6,
        "threads": 2,
    }


def _scales(database: Path) -> dict[str, np.ndarray]:
    with pycolmap.Database.open(database) as db:
        found = {image.name: np.asarray(db.read_keypoints(image.image_id)) for image in db.read_all_images()}
        assert len(db.read_all_cameras()) == 1
    return {name: np.hypot(rows[:, 2], rows[:, 4]) for name, rows in found.items()}


@pytest.mark.parametrize(("height", "enlarged"), [(900, {"poor.png"}), (700, {"rich.png", "poor.png"})])
def test_only_small_photos_and_those_with_few_features_are_enlarged(
    tmp_path: Path, height: int, enlarged: set[str]
) -> None:
    """Of a large photo with much to see, the features smaller than those of the photo as it is are left out."""
    noise = np.random.default_rng(0).integers(0, 256, (height, 1200)).astype(np.uint8)
    rich = cv2.GaussianBlur(noise, (0, 0), 1.2) * 1.0
    rich = np.clip(128 + 3 * (rich - 128), 0, 255).astype(np.uint8)
    poor = np.full((height, 1200), 90, np.uint8)
    poor[200:500, 300:700] = rich[200:500, 300:700]
    job = _job(tmp_path, {"rich.png": rich, "poor.png": poor})
    told: list[float] = []
    extract(job, tmp_path, tmp_path / "p.db", ["rich.png", "poor.png"], lambda _, f: told.append(f), affine=False)
    scales = _scales(tmp_path / "p.db")
    assert {name for name, found in scales.items() if found.min() < 1.4} == enlarged
    assert all(len(found) > 1000 for found in scales.values())
    assert told[-1] == 1.0

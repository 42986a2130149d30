# SPDX-License-Identifier: Apache-2.0
"""`--max-side auto`: the size follows the number of photos, their sharpness and the preset's effort."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sparse3d.load import SceneConfig, load_scene
from sparse3d.load.training_size import side_for, training_size
from sparse3d.photos.photo import Photo
from tests.load import makers

AUTO = SceneConfig(max_side="auto", auto_side=640)


def photos_of(folder: Path, count: int, width: int = 1600, height: int = 1200, blur_px: float = 0.0) -> list[Photo]:
    """Random squares of all sizes down to a pixel, blurred by a Gaussian."""
    rng = np.random.default_rng(0)
    fine = sum(
        cv2.resize(
            rng.uniform(0, 1, (height // cell, width // cell)).astype(np.float32), (width, height),
            interpolation=cv2.INTER_NEAREST,
        )
        for cell in (1, 2, 4, 8, 16)
    )  # fmt: skip
    picture = np.asarray(fine, np.float32) / 5.0
    if blur_px:
        picture = cv2.GaussianBlur(picture, (0, 0), blur_px)
    folder.mkdir()
    out = []
    for k in range(count):
        path = folder / f"{k}.png"
        Image.fromarray((picture * 255).astype(np.uint8)).convert("RGB").save(path, compress_level=1)
        out.append(Photo(path.name, path, None))
    return out


def test_few_photos_get_smaller_ones_and_many_the_presets_side() -> None:
    assert [side_for(count, 960) for count in (2, 4, 12, 40)] == [528, 672, 960, 960]
    assert side_for(12, 640) == 640


def test_sharp_photos_are_shrunk_to_what_their_number_carries(tmp_path: Path) -> None:
    photos = photos_of(tmp_path / "sharp", 4)
    found = training_size(photos, AUTO)
    assert found.side == side_for(4, 640) == 448
    assert "1600 pixels are trained at 448" in found.reason
    assert training_size(photos, AUTO) == found


def test_blurred_photos_are_shrunk_more(tmp_path: Path) -> None:
    blurred = training_size(photos_of(tmp_path / "blurred", 4, blur_px=12.0), AUTO)
    assert blurred.side is not None
    assert blurred.side < side_for(4, 640)
    assert "finer detail is not in these photos" in blurred.reason


def test_photos_that_are_hardly_larger_keep_their_size(tmp_path: Path) -> None:
    photos = photos_of(tmp_path / "small", 4, width=520, height=400)
    assert training_size(photos, AUTO).side is None


@pytest.mark.parametrize(
    ("cfg", "side"),
    [
        (SceneConfig(), None),
        (SceneConfig(max_side="full"), None),
        (SceneConfig(max_side=300), 300),
        (SceneConfig(max_side="auto", downscale=2.0), None),
    ],
)
def test_what_is_given_by_hand_wins(tmp_path: Path, cfg: SceneConfig, side: int | None) -> None:
    assert training_size(photos_of(tmp_path / "photos", 1), cfg).side == side


def test_the_scene_has_that_size_and_says_so(tmp_path: Path) -> None:
    cams = [replace(c.resized(1280, 960), name=c.name) for c in makers.cameras(3)]
    makers.write_transforms(tmp_path, cams)
    rng = np.random.default_rng(1)
    for path in sorted((tmp_path / "images").iterdir()):
        Image.fromarray(rng.integers(0, 255, (960, 1280, 3), np.uint8)).save(path)
    scene = load_scene(tmp_path, AUTO)
    assert side_for(3, 640) == 400
    assert scene.images.size(0) == (400, 300)
    assert any("are trained at 400" in note for note in scene.notes)
    assert load_scene(tmp_path).images.size(0) == (1280, 960)

# SPDX-License-Identifier: Apache-2.0
"""Masks are found in the layouts that people have, each by its own photo, and never by two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparse3d.load import SceneConfig, load_scene
from sparse3d.load.parsers import PARSERS, Work
from sparse3d.photos.masks import find_masks, read_mask
from sparse3d.photos.photo import Photo
from tests.load import makers

SIDES = ("front", "back")


def rig(root: Path, photo: str, mask: str) -> tuple[Photo, ...]:
    """Three photos of each of two cameras; `photo` and `mask` say where the files are. Masks of front are white on the
    left, of back on the right."""
    photos = []
    for side in SIDES:
        for number in (1, 2, 3):
            parts = {"side": side, "name": f"{number:06d}", "number": f"{number:03d}"}
            path = root / photo.format(**parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 4), (100, 110, 120)).save(path)
            pixels = np.zeros((4, 8), np.uint8)
            pixels[:, slice(0, 4) if side == "front" else slice(4, 8)] = 255
            file = root / mask.format(**parts)
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
            photos.append(Photo(path.relative_to(root).as_posix(), path, None))
    return tuple(photos)


LAYOUTS = {
    "beside images": ("images/{side}/{name}.jpg", "masks/{side}/{name}.png"),
    "with the suffix of the photo": ("images/{side}/{name}.jpg", "masks/{side}/{name}.jpg.png"),
    "singular": ("images/{side}/{name}.jpg", "mask/{side}/{name}.png"),
    "whole path": ("images/{side}/{name}.jpg", "masks/images/{side}/{name}.png"),
    "in the photos' folder": ("images/{side}/{name}.jpg", "images/{side}/masks/{name}.png"),
    "in images": ("images/{side}/{name}.jpg", "images/masks/{side}/{name}.png"),
    "a scene each": ("{side}/images/{name}.jpg", "{side}/masks/{name}.png"),
    "no images folder": ("{side}/{name}.jpg", "masks/{side}/{name}.png"),
    "deeper": ("images/rig/{side}/{name}.jpg", "masks/rig/{side}/{name}.png"),
    "as deep as needed": ("images/rig/{side}/{name}.jpg", "masks/{side}/{name}.png"),
    "other zeros": ("images/{side}/{name}.png", "masks/{side}/{number}.png"),
    "smaller copies": ("images_4/{side}/{name}.jpg", "masks_4/{side}/{name}.png"),
    "full masks for smaller copies": ("images_4/{side}/{name}.jpg", "masks/{side}/{name}.png"),
    "flat": ("images/{side}/{name}.jpg", "masks/{side}_{name}.png"),
    "named mask": ("images/{side}/{name}.jpg", "masks/{side}/{name}_mask.png"),
    "beside the photo": ("images/{side}/{name}.jpg", "images/{side}/{name}_mask.png"),
    "capitals": ("images/{side}/{name}.JPG", "masks/{side}/{name}.PNG"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_photo_has_its_own(tmp_path: Path, layout: str) -> None:
    photos = rig(tmp_path, *LAYOUTS[layout])
    masked, notes = find_masks(tmp_path, photos)
    assert notes[0].startswith("masks for 6 of 6 photos in ")
    for photo in masked:
        assert photo.mask_path is not None
        left = read_mask(photo.mask_path)[:, :4].mean()
        assert left == (1.0 if "front" in photo.name else 0.0)


def test_a_file_that_fits_two_photos_is_used_for_none(tmp_path: Path) -> None:
    photos = rig(tmp_path, "images/{side}/{name}.jpg", "elsewhere/{side}/{name}.png")
    (tmp_path / "masks").mkdir()
    Image.new("L", (8, 4), 255).save(tmp_path / "masks" / "000001.png")
    masked, notes = find_masks(tmp_path, photos)
    assert all(photo.mask_path is None for photo in masked)
    assert notes == (
        "photos without a mask, because the one of their name would fit others too: 2; put masks into subfolders as "
        "the photos are",
    )
    # With subfolders for one camera only, the file above them does not become the other's.
    for number in (1, 2, 3):
        (tmp_path / "masks" / "front").mkdir(exist_ok=True)
        Image.new("L", (8, 4), 255).save(tmp_path / "masks" / "front" / f"{number:06d}.png")
    masked, notes = find_masks(tmp_path, photos)
    assert [photo.mask_path is not None for photo in masked] == [True] * 3 + [False] * 3
    assert notes[0] == "masks for 3 of 6 photos in masks/ (white = keep); those without count everywhere"


def test_masks_that_fit_no_photo_are_said(tmp_path: Path) -> None:
    photos = rig(tmp_path, "images/{side}/{name}.jpg", "masks/{side}/other{name}.png")
    masked, notes = find_masks(tmp_path, photos)
    assert all(photo.mask_path is None for photo in masked)
    assert notes == (
        "masks/ holds 6 pictures, but none is named like a photo (masks/images/front/000001.png); they are not used",
    )


@pytest.mark.parametrize("kind", ["transforms", "colmap"])
def test_scenes_with_cameras(tmp_path: Path, kind: str) -> None:
    rig(tmp_path, "images/{side}/{name}.jpg", "masks/{side}/{name}.png")
    cams = makers.cameras(6, 8, 4)
    names = [f"{side}/{number:06d}.jpg" for side in SIDES for number in (1, 2, 3)]
    named = [
        makers.Camera(8, 4, 9.0, 9.0, 4.0, 2.0, c.cam_from_world, name=n) for c, n in zip(cams, names, strict=True)
    ]
    if kind == "colmap":
        makers.write_colmap_bin(tmp_path / "sparse" / "0", named)
    else:
        for camera in named:
            (tmp_path / "images" / camera.name).unlink()
        makers.write_transforms(tmp_path, named)
    scene = load_scene(tmp_path, SceneConfig(test_every=0))
    assert scene.kind == kind
    for i, name in enumerate(scene.names):
        mask = scene.images.mask(i)
        assert mask is not None
        assert float(mask[:, :4].mean()) == (1.0 if "front" in name else 0.0)


@pytest.mark.parametrize(
    ("photo", "names"),
    [
        ("images/{side}/{name}.jpg", "{side}/{name}.jpg"),
        ("{side}/{name}.jpg", "{side}/{name}.jpg"),
        ("DCIM/{side}/{name}.jpg", "DCIM/{side}/{name}.jpg"),
    ],
)
def test_plain_photos_at_several_depths(tmp_path: Path, photo: str, names: str) -> None:
    rig(tmp_path, photo, "masks/{side}/{name}.png")
    parsed = PARSERS["photos"].parse(tmp_path, SceneConfig(), Work(None, None))
    expected = sorted(names.format(side=side, name=f"{n:06d}") for side in SIDES for n in (1, 2, 3))
    assert [p.name for p in parsed.photos] == expected
    assert any(note.startswith("photos from 2 folders: ") and "back/ 3" in note for note in parsed.notes)
    _, notes = find_masks(parsed.root, parsed.photos)
    assert notes[0].startswith("masks for 6 of 6 photos")


def test_photos_that_are_left_out_are_counted(tmp_path: Path) -> None:
    """Photos at the top are the scene; those under them are not, and masks beside photos are none."""
    makers.write_photos(tmp_path, makers.cameras(3))
    makers.write_photos(tmp_path / "other", makers.cameras(2))
    Image.new("L", (64, 48), 255).save(tmp_path / "001_mask.png")
    parsed = PARSERS["photos"].parse(tmp_path, SceneConfig(), Work(None, None))
    assert [p.name for p in parsed.photos] == ["000.png", "001.png", "002.png"]
    assert f"photos in folders under {tmp_path.name}, not used: 2; put all into one images/" in parsed.notes
    masked, _ = find_masks(parsed.root, parsed.photos)
    assert [p.mask_path is not None for p in masked] == [False, True, False]

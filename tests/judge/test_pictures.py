# SPDX-License-Identifier: Apache-2.0
"""Photos with alpha and masks over any background, against composing them by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.judge.pictures import Pictures
from sparse3d.photos.photo import Photo
from sparse3d.photos.store import ImageStore
from sparse3d.records.scene import Scene

WIDTH, HEIGHT = 12, 8
# Photos are composited to 8 bits when they are read.
ROUNDING = 0.6 / 255


def pixels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours [H,W,3] and alpha [H,W] in bytes, and the mask [H,W] bool; opaque, half and fully transparent pixels lie
    on both sides of the mask's edge."""
    rng = np.random.default_rng(4)
    alpha = rng.integers(0, 256, (HEIGHT, WIDTH))
    alpha[::4], alpha[1::4] = 255, 0
    # An edge at odd places: at half size some pixels lie across it.
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[1:, 2:9] = True
    return rng.integers(0, 256, (HEIGHT, WIDTH, 3)), alpha, mask


def scene(folder: Path, read_over: str, *, masked: bool) -> Scene:
    """One photo."""
    colours, alpha, mask = pixels()
    Image.fromarray(np.dstack([colours, alpha]).astype(np.uint8), "RGBA").save(folder / "a.png")
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "mask.png")
    camera = Camera(WIDTH, HEIGHT, 10.0, 10.0, WIDTH / 2, HEIGHT / 2, np.eye(4), name="a.png")
    mask_path = folder / "mask.png" if masked else None
    photo = Photo("a.png", folder / "a.png", camera, mask_path=mask_path, upright=True)
    store = ImageStore([photo], [camera], background=read_over)
    return Scene("test", folder, ("a.png",), (camera,), store, train=(0,), test=(), has_masks=masked)


def halved(plane: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels."""
    return plane.reshape(HEIGHT // 2, 2, WIDTH // 2, 2, -1).mean(axis=(1, 3))


def by_hand(background: torch.Tensor, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The photo [H,W,3] over the background, and its mask [H,W,1] of 0 and 1."""
    colours, alpha, mask = pixels()
    cover = alpha[..., None] / 255.0
    photo = cover * colours / 255.0 + (1.0 - cover) * background.double().numpy()
    kept = mask[..., None].astype(np.float64)
    return (photo, kept) if scale == 1 else (halved(photo), (halved(kept) >= 0.5).astype(np.float64))


def backgrounds() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("read_over", ["white", "black"])
def test_transparent_photos_over_random_backgrounds(tmp_path: Path, read_over: str, scale: int):
    pictures = Pictures(scene(tmp_path, read_over, masked=False), background="random")
    for background in backgrounds():
        found, mask = pictures.target(0, scale, background)
        assert mask is None
        off = float(np.abs(found.numpy() - by_hand(background, scale)[0]).max())
        assert off < ROUNDING


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("read_over", ["white", "black"])
def test_masks_of_transparent_photos_are_given_out_for_the_loss(tmp_path: Path, read_over: str, scale: int):
    pictures = Pictures(scene(tmp_path, read_over, masked=True), masks="loss", background="random")
    for background in backgrounds():
        found, mask = pictures.target(0, scale, background)
        photo, kept = by_hand(background, scale)
        off = float(np.abs(found.numpy() - photo).max())
        assert off < ROUNDING
        assert mask is not None
        assert np.array_equal(mask.numpy(), kept[..., 0])


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("read_over", ["white", "black"])
def test_masks_paint_the_background_over_transparent_photos(tmp_path: Path, read_over: str, scale: int):
    """What the mask keeps shows the background as far as the photo is transparent there; what it leaves out shows
    nothing else."""
    pictures = Pictures(scene(tmp_path, read_over, masked=True), masks="background", background="random")
    for background in backgrounds():
        found, mask = pictures.target(0, scale, background)
        photo, kept = by_hand(background, scale)
        assert mask is None
        expected = kept * photo + (1.0 - kept) * background.double().numpy()
        off = float(np.abs(found.numpy() - expected).max())
        assert off < ROUNDING

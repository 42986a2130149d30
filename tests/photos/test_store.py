# SPDX-License-Identifier: Apache-2.0
"""The store of photos: exact averages, masks, the memory budget, threads."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.load import SceneConfig, load_scene
from sparse3d.load.scene import final_size
from sparse3d.photos.photo import Photo
from sparse3d.photos.store import ImageStore
from tests.load import makers


def make_store(folder: Path, cams: list[Camera], size: tuple[int, int] | None = None, **options) -> ImageStore:
    makers.write_photos(folder, cams)
    photos = [Photo(c.name, folder / c.name, c, upright=False) for c in cams]
    return ImageStore(photos, [c.resized(*size) if size else c for c in cams], **options)


def test_pixels_as_in_the_file(tmp_path: Path) -> None:
    store = make_store(tmp_path, makers.cameras(2))
    image = store[1]
    assert image.dtype == torch.float32
    np.testing.assert_array_equal(image.numpy(), makers.picture(64, 48, 1).astype(np.float32) / 255)
    image.zero_()
    assert float(store[1].max()) > 0.5, "the caller's change must not reach the cache"
    assert store.mask(1) is None
    assert store.alpha(1) is None
    assert len(store) == 2
    with pytest.raises(IndexError, match="photo 2 of 2"):
        store[2]


def test_resize_is_the_mean_of_the_covered_area(tmp_path: Path) -> None:
    store = make_store(tmp_path, makers.cameras(1), (16, 12))
    blocks = makers.picture(64, 48).astype(np.float64).reshape(12, 4, 16, 4, 3).mean(axis=(1, 3))
    # Rounded to 8 bits once.
    assert np.abs(store[0].numpy() * 255 - blocks).max() <= 0.51


def test_resize_moves_no_point(tmp_path: Path) -> None:
    # A blob's centre of mass must land at K' = diag(sx, sy, 1) K, for a ratio that is not a whole number too.
    y, x = np.mgrid[0:48, 0:64] + 0.5
    blob = 250 * np.exp(-((x - 40.3) ** 2 + (y - 21.7) ** 2) / 18)
    Image.fromarray(np.repeat(blob[:, :, None], 3, axis=2).astype(np.uint8)).save(tmp_path / "000.png")
    camera = makers.cameras(1)[0]
    store = ImageStore([Photo("000.png", tmp_path / "000.png", camera, upright=False)], [camera.resized(27, 20)])
    small = store[0].numpy()[:, :, 0].astype(np.float64)
    y, x = np.mgrid[0:20, 0:27] + 0.5
    found = (small * x).sum() / small.sum(), (small * y).sum() / small.sum()
    np.testing.assert_allclose(found, (40.3 * 27 / 64, 21.7 * 20 / 48), atol=0.03)


def test_at_scale_averages_and_its_camera_fits(tmp_path: Path) -> None:
    store = make_store(tmp_path, makers.cameras(1))
    half = store.at_scale(0, 2)
    assert half.shape == (24, 32, 3)
    expected = store[0].numpy().reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(half.numpy(), expected, atol=1e-6)
    assert store.scaled_size(0, 2) == (32, 24)
    assert torch.equal(store.at_scale(0, 1), store[0])
    assert store.at_scale(0, 4).shape == (12, 16, 3)


def test_masks_are_found_thresholded_and_shrunk(tmp_path: Path) -> None:
    cams = makers.cameras(3)
    makers.write_transforms(tmp_path, cams)
    grey = np.zeros((48, 64), np.uint8)
    grey[:, 32:] = 255
    grey[:, 30:32] = 100
    (tmp_path / "masks").mkdir()
    Image.fromarray(grey).save(tmp_path / "masks" / "000.png")
    Image.fromarray(grey).save(tmp_path / "masks" / "001.png.png")
    scene = load_scene(tmp_path)
    assert scene.has_masks
    assert "masks for 2 of 3 photos in masks/ (white = keep); those without count everywhere" in scene.notes
    for index in (0, 1):
        mask = scene.images.mask(index)
        assert mask is not None
        np.testing.assert_array_equal(mask.numpy(), (grey >= 128).astype(np.float32))
    assert scene.images.mask(2) is None
    small = load_scene(tmp_path, SceneConfig(downscale=4)).images.mask(0)
    assert small is not None
    assert small.shape == (12, 16)
    assert float(small.mean()) == 0.5
    half = scene.images.mask(0, 2)
    assert half is not None
    assert half.shape == (24, 32)


def test_mask_of_another_size_and_shape(tmp_path: Path) -> None:
    cams = makers.cameras(2)
    path = makers.write_transforms(tmp_path, cams)
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.full((24, 32), 255, np.uint8)).save(tmp_path / "masks" / "000.png")
    assert load_scene(path).images.mask(0) is not None
    Image.fromarray(np.full((48, 48), 255, np.uint8)).save(tmp_path / "masks" / "000.png")
    with pytest.raises(DataError, match=r"mask .*000\.png is 48x48 pixels, but photo images/000\.png is 64x48"):
        _ = load_scene(path).images[0]


def test_named_mask_of_transforms(tmp_path: Path) -> None:
    cams = makers.cameras(2)
    frames = [
        {"file_path": f"images/{c.name}", "transform_matrix": makers.opengl(c), "mask_path": f"keep/{c.name}"}
        for c in cams
    ]
    makers.write_transforms(tmp_path, cams, frames=frames)
    with pytest.raises(DataError, match=r"frame 0 \(images/000\.png\): mask_path keep/000\.png does not exist"):
        load_scene(tmp_path)
    (tmp_path / "keep").mkdir()
    for k, camera in enumerate(cams):
        Image.fromarray(np.full((48, 64), 255 * k, np.uint8)).save(tmp_path / "keep" / camera.name)
    scene = load_scene(tmp_path)
    masks = [scene.images.mask(k) for k in (0, 1)]
    assert [float(m.mean()) for m in masks if m is not None] == [0.0, 1.0]


def test_memory_budget_is_kept_and_the_oldest_leaves(tmp_path: Path) -> None:
    cams = makers.cameras(20, 400, 300)
    each = 400 * 300 * 3
    store = make_store(tmp_path, cams, cache_mb=1)
    seen = 0
    for k in range(20):
        _ = store[k]
        assert store.cached_bytes <= 1_000_000
        seen = max(seen, store.cached_bytes)
    assert seen == 2 * each
    decoded = []
    original = store._make
    store._make = lambda index: decoded.append(index) or original(index)  # type: ignore[method-assign]
    for k in (19, 18, 19, 17, 18):
        _ = store[k]
    assert decoded == [17, 18], "19 and 18 were kept; 17 displaced 18, the one longest unused"


def test_a_photo_larger_than_the_budget_still_comes_out(tmp_path: Path) -> None:
    store = make_store(tmp_path, makers.cameras(1, 700, 600), cache_mb=1)
    assert store[0].shape == (600, 700, 3)
    assert store.cached_bytes == 0


def test_preload_stops_at_the_budget(tmp_path: Path) -> None:
    store = make_store(tmp_path, makers.cameras(6, 400, 300), cache_mb=1)
    told: list[float] = []
    store.preload([4, 5, 0, 1], lambda what, share: told.append(share))
    assert told == [0.25, 0.5]
    assert store.cached_bytes == 2 * 400 * 300 * 3
    whole = make_store(tmp_path, makers.cameras(6, 400, 300))
    whole.preload(range(6))
    assert whole.cached_bytes == 6 * 400 * 300 * 3
    for path in tmp_path.iterdir():
        path.unlink()
    np.testing.assert_array_equal(whole.rgb8(5), makers.picture(400, 300, 5))


def test_many_threads_and_prefetch_give_the_same_pixels(tmp_path: Path) -> None:
    store = make_store(tmp_path, makers.cameras(8, 400, 300), cache_mb=1)
    expected = [makers.picture(400, 300, k) for k in range(8)]
    wrong: list[int] = []

    def read(seed: int) -> None:
        for k in np.random.default_rng(seed).integers(0, 8, 40):
            store.prefetch([int(k), (int(k) + 1) % 8])
            if not np.array_equal(store.rgb8(int(k)), expected[k]):
                wrong.append(int(k))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert store.cached_bytes <= 1_000_000
    store.close()
    assert store.cached_bytes == 0
    np.testing.assert_array_equal(store.rgb8(3), expected[3])


def test_damaged_photo_is_reported_where_it_is_asked_for(tmp_path: Path) -> None:
    store = make_store(tmp_path, makers.cameras(3))
    data = (tmp_path / "001.png").read_bytes()
    (tmp_path / "001.png").write_bytes(data[: len(data) // 2])
    store.prefetch([0, 1, 2])
    store.close()
    for _ in range(2):
        with pytest.raises(DataError, match=r"photo .*001\.png cannot be decoded"):
            _ = store[1]
    assert store[2].shape == (48, 64, 3)


def test_photo_that_changed_its_size(tmp_path: Path) -> None:
    store = make_store(tmp_path, makers.cameras(1))
    Image.fromarray(makers.picture(32, 48)).save(tmp_path / "000.png")
    with pytest.raises(DataError, match=r"000\.png is 32x48 pixels, its header said 64x48"):
        _ = store[0]


def test_distorted_photo_is_undistorted_with_opencv_as_witness(tmp_path: Path) -> None:
    camera = replace(makers.cameras(1, 160, 120)[0], fx=150.0, fy=152.0, distortion=(0.1, -0.05, 0.002, -0.001))
    extra = dict(zip(("k1", "k2", "p1", "p2"), camera.distortion, strict=True))
    makers.write_transforms(tmp_path, [camera], **extra)
    scene = load_scene(tmp_path)
    assert "photos undistorted: 1" in scene.notes
    pinhole = scene.cameras[0]
    assert (pinhole.width, pinhole.height, pinhole.distortion) == (160, 120, ())
    shift = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    maps = cv2.initUndistortRectifyMap(
        camera.K - shift, np.array(camera.distortion), np.eye(3), pinhole.K - shift, (160, 120), cv2.CV_32FC1
    )
    expected = cv2.remap(makers.picture(160, 120), *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    difference = np.abs(scene.images.rgb8(0).astype(int) - expected)
    assert difference.max() <= 2
    assert np.abs(makers.picture(160, 120).astype(int) - expected).mean() > 2, "the distortion must be visible"


@pytest.mark.parametrize(
    ("size", "settings", "expected"),
    [
        ((1080, 1920), {"max_side": 480}, (270, 480)),
        ((1920, 1080), {"max_side": 480}, (480, 270)),
        ((400, 300), {"max_side": 480}, (400, 300)),
        ((4032, 3024), {"downscale": 8.0}, (504, 378)),
        ((101, 67), {"downscale": 2.0}, (50, 34)),
        ((10, 2000), {"max_side": 100}, (1, 100)),
        ((640, 480), {}, (640, 480)),
    ],
)
def test_final_size(size: tuple[int, int], settings: dict, expected: tuple[int, int]) -> None:
    assert final_size(*size, SceneConfig(**settings)) == expected

# SPDX-License-Identifier: Apache-2.0
"""Photos of every kind come out as upright 8-bit sRGB; damaged ones are named."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from sparse3d.errors import DataError
from sparse3d.photos.color import orient
from sparse3d.photos.files import composite, decode, list_photos, looks_complete, photo_info
from tests.load.makers import picture

WIDTH, HEIGHT = 32, 20
PICTURE = picture(WIDTH, HEIGHT)


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.png", {}, 0),
        ("a.jpg", {"quality": 97, "subsampling": 0}, 6),
        ("a.webp", {"lossless": True}, 0),
        ("a.avif", {"quality": 95, "subsampling": "4:4:4"}, 8),
        ("a.tif", {}, 0),
        ("a.bmp", {}, 0),
    ],
)
def test_kinds_of_files(tmp_path: Path, name: str, options: dict, tolerance: int) -> None:
    path = saved(tmp_path / name, Image.fromarray(PICTURE), **options)
    rgb, alpha = decode(path)
    assert alpha is None
    assert rgb.dtype == np.uint8
    assert np.abs(rgb.astype(int) - PICTURE).max() <= tolerance
    info = photo_info(path)
    assert (info.width, info.height, info.orientation, info.has_alpha) == (WIDTH, HEIGHT, 1, False)


def test_heic() -> None:
    path = Path(__file__).parent / "data" / "tiny.heic"
    rgb, alpha = decode(path)
    assert alpha is None
    assert photo_info(path).size(upright=True) == (128, 80)
    assert rgb.shape == (80, 128, 3)
    assert np.abs(rgb.astype(int) - picture(128, 80)).mean() < 6


def test_heic_of_12_megapixels(tmp_path: Path) -> None:
    photo = cv2.resize(picture(400, 300), (4000, 3000), interpolation=cv2.INTER_LINEAR)
    path = tmp_path / "IMG_0001.HEIC"
    pillow_heif.from_pillow(Image.fromarray(photo)).save(path, quality=50)
    info = photo_info(path)
    assert (info.width, info.height, info.has_alpha) == (4000, 3000, False)
    rgb, alpha = decode(path)
    assert alpha is None
    assert rgb.shape == (3000, 4000, 3)
    assert np.abs(rgb[::10, ::10].astype(int) - photo[::10, ::10]).mean() < 6


def test_grey_palette_and_one_bit(tmp_path: Path) -> None:
    grey = Image.fromarray(PICTURE).convert("L")
    rgb, _ = decode(saved(tmp_path / "grey.png", grey))
    np.testing.assert_array_equal(rgb, np.repeat(np.asarray(grey)[:, :, None], 3, axis=2))
    palette = Image.fromarray(PICTURE).quantize(16)
    rgb, alpha = decode(saved(tmp_path / "palette.png", palette))
    np.testing.assert_array_equal(rgb, np.asarray(palette.convert("RGB")))
    assert alpha is None
    one = Image.fromarray(PICTURE).convert("1")
    rgb, _ = decode(saved(tmp_path / "one.png", one))
    assert set(np.unique(rgb)) == {0, 255}


def test_palette_with_transparency(tmp_path: Path) -> None:
    palette = Image.fromarray(PICTURE).quantize(4)
    path = saved(tmp_path / "p.png", palette, transparency=0)
    rgb, alpha = decode(path)
    assert alpha is not None
    np.testing.assert_array_equal(alpha == 0, np.asarray(palette) == 0)
    assert photo_info(path).has_alpha
    assert rgb.shape == (HEIGHT, WIDTH, 3)


def test_sixteen_bits_are_rounded_not_cut(tmp_path: Path) -> None:
    wide = np.array([[[0, 65535, 128], [129, 255, 32767], [32768, 65406, 65407]]], np.uint16)
    expected = np.rint(wide / 257).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "rgb16.png"), wide[:, :, ::-1])
    np.testing.assert_array_equal(decode(tmp_path / "rgb16.png")[0], expected)
    with_alpha = np.dstack([wide[:, :, ::-1], np.array([[0, 65535, 32768]], np.uint16)])
    cv2.imwrite(str(tmp_path / "rgba16.png"), with_alpha)
    rgb, alpha = decode(tmp_path / "rgba16.png")
    np.testing.assert_array_equal(rgb, expected)
    np.testing.assert_array_equal(alpha, [[0, 255, 128]])
    cv2.imwrite(str(tmp_path / "grey16.png"), wide[:, :, 0])
    np.testing.assert_array_equal(decode(tmp_path / "grey16.png")[0][:, :, 1], expected[:, :, 0])


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = saved(tmp_path / "cmyk.jpg", Image.fromarray(PICTURE).convert("CMYK"), quality=98, subsampling=0)
    assert np.abs(decode(path)[0].astype(int) - PICTURE).max() < 12


def test_jpeg_has_the_same_pixels_with_an_opencv_that_decodes_to_bgr_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV before 4.11 has no IMREAD_COLOR_RGB."""
    path = saved(tmp_path / "a.jpg", Image.fromarray(PICTURE), quality=90)
    monkeypatch.delattr(cv2, "IMREAD_COLOR_RGB", raising=False)
    rgb, alpha = decode(path)
    assert alpha is None
    assert rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb, np.asarray(Image.open(path)))
    monkeypatch.undo()
    np.testing.assert_array_equal(rgb, decode(path)[0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    # Pillow's own transpositions, which undo what the tag says, are the outside witness.
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(PICTURE)
    path = saved(tmp_path / "turned.png", stored, exif=exif)
    upright = stored.transpose(undo[orientation]) if orientation in undo else stored
    np.testing.assert_array_equal(decode(path)[0], np.asarray(upright))
    np.testing.assert_array_equal(decode(path, upright=False)[0], PICTURE)
    assert photo_info(path).size(upright=True) == upright.size
    assert photo_info(path).size(upright=False) == (WIDTH, HEIGHT)


def test_orient_keeps_unknown_values() -> None:
    np.testing.assert_array_equal(orient(PICTURE, 0), PICTURE)
    np.testing.assert_array_equal(orient(PICTURE, 9), PICTURE)


def swapped_profile() -> bytes:
    """An RGB profile whose red and blue primaries are exchanged, so that ignoring it cannot pass."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {}
    count = int.from_bytes(data[128:132], "big")
    for k in range(count):
        at = 132 + 12 * k
        tags[bytes(data[at : at + 4])] = at
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    data[red + 4 : red + 12], data[blue + 4 : blue + 12] = data[blue + 4 : blue + 12], data[red + 4 : red + 12]
    return bytes(data).replace(b"s\0R\0G\0B\0", b"o\0t\0h\0r\0").replace(b"\0s\0R\0G\0B", b"\0o\0t\0h\0r")


def test_embedded_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    path = saved(tmp_path / "swapped.png", Image.fromarray(PICTURE), icc_profile=swapped_profile())
    assert photo_info(path).profile is not None
    rgb, _ = decode(path)
    assert np.abs(rgb.astype(int) - PICTURE[:, :, ::-1]).max() <= 3


def test_srgb_and_broken_profiles_change_nothing(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, profile, said in (("srgb.png", srgb, None), ("broken.png", b"not a profile", "unreadable")):
        path = saved(tmp_path / name, Image.fromarray(PICTURE), icc_profile=profile)
        assert photo_info(path).profile == said
        np.testing.assert_array_equal(decode(path)[0], PICTURE)


def test_composite_over_white_and_black() -> None:
    rgb = np.array([[[200, 100, 0], [10, 20, 30], [10, 20, 30]]], np.uint8)
    alpha = np.array([[128, 0, 255]], np.uint8)
    white = composite(rgb, alpha, "white")
    np.testing.assert_array_equal(white[0, 0], np.rint((rgb[0, 0] * 128.0 + 255 * 127.0) / 255))
    np.testing.assert_array_equal(white[0, 1:], [[255, 255, 255], [10, 20, 30]])
    np.testing.assert_array_equal(composite(rgb, alpha, "black")[0, 1], [0, 0, 0])


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.avif"])
def test_truncated_photo_is_named(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = saved(tmp_path / name, Image.fromarray(noise))
    data = path.read_bytes()
    for length in (len(data) // 2, len(data) * 9 // 10):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=rf"photo .*{name} cannot be (decoded|opened).*replace it or remove it"):
            decode(path)
    assert looks_complete(path) is (name == "a.tif")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.avif", "a.bmp"])
def test_whole_photo_looks_complete(tmp_path: Path, name: str) -> None:
    assert looks_complete(saved(tmp_path / name, Image.fromarray(PICTURE)))


def test_truncated_heic_is_named(tmp_path: Path) -> None:
    data = (Path(__file__).parent / "data" / "tiny.heic").read_bytes()
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(data)
    assert looks_complete(path)
    path.write_bytes(data[: len(data) // 2])
    assert not looks_complete(path)
    with pytest.raises(DataError, match=r"IMG_1\.HEIC cannot be (decoded|opened)"):
        decode(path)


def test_opencv_and_pillow_decode_a_jpeg_alike(tmp_path: Path) -> None:
    large = picture(200, 150)
    for options in ({"quality": 85}, {"quality": 60, "subsampling": 0}, {"quality": 75, "progressive": True}):
        path = saved(tmp_path / "a.jpg", Image.fromarray(large), **options)
        np.testing.assert_array_equal(decode(path)[0], np.asarray(Image.open(path)))


def test_jpeg_with_a_profile_is_converted(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(PICTURE), quality=97, subsampling=0, icc_profile=swapped_profile())
    assert np.abs(decode(path)[0].astype(int) - PICTURE[:, :, ::-1]).mean() < 3


def test_not_a_photo_empty_and_missing(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a photo")
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"text\.jpg cannot be opened: its content is not a picture we know"):
        decode(tmp_path / "text.jpg")
    with pytest.raises(DataError, match=r"empty\.png cannot be opened: it is empty"):
        photo_info(tmp_path / "empty.png")
    with pytest.raises(DataError, match=r"gone\.png cannot be read: No such file"):
        photo_info(tmp_path / "gone.png")


def test_floating_point_picture_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match="it holds floating-point values"):
        decode(tmp_path / "float.tif")


def test_list_photos_sorts_and_passes_over_the_rest(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "raw.dng"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    photos, others = list_photos(tmp_path)
    assert [p.name for p in photos] == ["a.png", "b.JPG"]
    assert [p.name for p in others] == ["notes.txt", "raw.dng"]


def test_a_pillow_image_in_memory_has_the_same_pixels(tmp_path: Path) -> None:
    # Guards against a decoder that hands out Pillow's read-only memory, which torch would warn about.
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, "PNG")
    (tmp_path / "x.png").write_bytes(buffer.getvalue())
    rgb, _ = decode(tmp_path / "x.png")
    assert rgb.flags.writeable
    assert rgb.flags.c_contiguous

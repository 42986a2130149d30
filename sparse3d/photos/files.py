# SPDX-License-Identifier: Apache-2.0
"""Photo files: which files are photos, how large they are, and their pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sparse3d.errors import DataError
from sparse3d.photos import hdr
from sparse3d.photos.color import orient, png16, profile_name, to_srgb8
from sparse3d.photos.nclx import Colours, colour_name, foreign_colours, png_colours

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm")
# Pillow refuses pictures above 179 million pixels as a possible attack; the largest phone and medium-format cameras
# reach 200. Pillow has one limit for all threads, so it is set here, once.
Image.MAX_IMAGE_PIXELS = 600_000_000
_ORIENTATION_TAG = 0x0112
# Programs append data after a photo's end; a thumbnail's end marker lies far before that.
_TAIL_BYTES = 65536


@dataclass(frozen=True)
class PhotoInfo:
    """What a photo's header says. width, height: pixels as stored; orientation: EXIF 1 to 8, 1 = stored upright;
    profile: name of a colour profile other than sRGB, "unreadable", or None."""

    width: int
    height: int
    orientation: int
    has_alpha: bool
    profile: str | None

    def size(self, upright: bool) -> tuple[int, int]:
        """(width, height) of the picture, with the EXIF orientation applied if `upright`."""
        turned = upright and self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def is_photo(path: Path) -> bool:
    return path.suffix.lower() in PHOTO_SUFFIXES


def list_photos(folder: Path) -> tuple[list[Path], list[Path]]:
    """Photos in a folder and the other files there, both sorted by name; hidden files and folders are left out."""
    try:
        entries = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file())
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror}; check that you may read it") from error
    return [p for p in entries if is_photo(p)], [p for p in entries if not is_photo(p)]


def photo_info(path: Path) -> PhotoInfo:
    """Size, orientation and profile without decoding the pixels. Raises DataError naming the file."""
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"photo {path} cannot be read: {error.strerror}; check that it is there") from error
    return _photo_info(str(path), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8192)
def _photo_info(path: str, _mtime_ns: int, _size: int) -> PhotoInfo:
    with _open(Path(path)) as image:
        try:
            orientation = int(image.getexif().get(_ORIENTATION_TAG, 1) or 1)
        except (OSError, ValueError, TypeError, SyntaxError):
            orientation = 1
        has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        width, height = image.size
        colours = _foreign_colours(Path(path), image)
        profile = profile_name(image) if colours is None else colour_name(colours)
        return PhotoInfo(width, height, orientation, has_alpha, profile)


def decode(path: Path, *, upright: bool = True) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """rgb [H,W,3] sRGB and alpha [H,W] or None, 8 bits. Raises DataError naming the file if it is damaged."""
    with _open(path) as image:
        try:
            rgb, alpha = _plain_jpeg(path, image), None
            if rgb is None:
                rgb, alpha = _any_kind(path, image)
            orientation = int(image.getexif().get(_ORIENTATION_TAG, 1) or 1) if upright else 1
        except (OSError, ValueError, SyntaxError, EOFError, MemoryError, RuntimeError) as error:
            raise DataError(
                f"photo {path} cannot be decoded ({error}); it is damaged or incomplete: replace it or remove it"
            ) from error
    return orient(rgb, orientation), None if alpha is None else orient(alpha, orientation)


def _any_kind(path: Path, image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """rgb and alpha as `decode` gives them, as stored."""
    colours = _foreign_colours(path, image)
    data = _bytes_if_wide_png(path, image)
    if data is None:
        image.load()
    elif colours is not None:
        wide, alpha = png16(data)
        return _from_code_points(wide, colours), alpha
    rgb, alpha = to_srgb8(image, data)
    if colours is not None:
        rgb = _from_code_points(rgb.astype(np.uint16) * 257, colours)
    return rgb, alpha


def _from_code_points(signal: NDArray[np.uint16], colours: Colours) -> NDArray[np.uint8]:
    """Signal [H,W,3] of 16 bits -> sRGB [H,W,3]."""
    if not colours.full_range:
        black, white = 16 << 8, 235 << 8
        spread = (np.maximum(signal, black).astype(np.uint32) - black) * 65535 // (white - black)
        signal = np.minimum(spread, 65535).astype(np.uint16)
    return hdr.to_srgb8(signal, colours.transfer, colours.primaries)


def looks_complete(path: Path) -> bool:
    """Whether a JPEG or PNG file has its end, and a WebP, HEIC or AVIF file the size it states; True for other kinds.

    Reads only a few bytes, so that a half-copied photo is found before a long training run rather than during it.
    """
    with path.open("rb") as file:
        head = file.read(16)
        size = file.seek(0, io.SEEK_END)
        if head.startswith((b"\xff\xd8", b"\x89PNG")):
            file.seek(max(0, size - _TAIL_BYTES))
            return (b"\xff\xd9" if head.startswith(b"\xff\xd8") else b"IEND") in file.read()
        if head.startswith(b"RIFF"):
            return 8 + int.from_bytes(head[4:8], "little") <= size
        if head[4:8] == b"ftyp":
            return _boxes_end(file, size)
    return True


def _boxes_end(file: BinaryIO, size: int) -> bool:
    """Whether the boxes of an ISO media file (HEIC, AVIF) end where the file does."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:
            return True
        if length < 8:
            return False
        at += length
    return at == size


def composite(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8] | None, background: str) -> NDArray[np.uint8]:
    """rgb [H,W,3] over "white" or "black" where alpha [H,W] is below 255, rounded to 8 bits."""
    if alpha is None:
        return rgb
    cover = alpha[:, :, None].astype(np.uint32)
    back = 255 if background == "white" else 0
    return ((rgb * cover + back * (255 - cover) + 127) // 255).astype(np.uint8)


def _foreign_colours(path: Path, image: Image.Image) -> Colours | None:
    """What says by code points that the photo is not in sRGB. Where a PNG has such, its profile is taken off `image`,
    for it counts less."""
    if image.format == "PNG":
        colours = png_colours(path)
        if colours is not None:
            image.info.pop("icc_profile", None)
        return colours if colours is not None and colours.foreign else None
    if image.format not in ("AVIF", "HEIF") or image.info.get("icc_profile"):
        return None
    return foreign_colours(path)


def _open(path: Path) -> Image.Image:
    if path.suffix.lower() in (".heic", ".heif"):
        _register_heif()
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise DataError(f"photo {path} does not exist; put it there") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "it is empty" if path.exists() and path.stat().st_size == 0 else "its content is not a picture we know"
        if isinstance(error, Image.DecompressionBombError):
            reason = "it is larger than 600 million pixels"
        raise DataError(f"photo {path} cannot be opened: {reason}; replace it or remove it") from error


@lru_cache(maxsize=1)
def _register_heif() -> None:
    # Imported on the first HEIC file only; most scenes have none.
    import pi_heif

    pi_heif.register_heif_opener()


def _plain_jpeg(path: Path, image: Image.Image) -> NDArray[np.uint8] | None:
    """A JPEG with three channels and no foreign colour profile, decoded by OpenCV: the same bits as Pillow's in a third
    of the time. None for any other file, and for one without its end, of which OpenCV would return a part."""
    if image.format not in ("JPEG", "MPO") or image.mode != "RGB" or profile_name(image) not in (None, "unreadable"):
        return None
    data = path.read_bytes()
    if b"\xff\xd9" not in data[-_TAIL_BYTES:]:
        return None
    return _decode_jpeg(np.frombuffer(data, np.uint8))


def _decode_jpeg(data: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """rgb [H,W,3] as stored; None if OpenCV cannot decode it."""
    # OpenCV decodes straight to RGB since 4.11; before that, the channels are put in order afterwards.
    straight = getattr(cv2, "IMREAD_COLOR_RGB", None)
    flags = cv2.IMREAD_COLOR if straight is None else straight
    pixels = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        return None
    rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if straight is None else pixels
    return rgb.astype(np.uint8, copy=False)


def _bytes_if_wide_png(path: Path, image: Image.Image) -> bytes | None:
    """The file's bytes if it is a PNG with several channels of 16 bits (IHDR: byte 24 depth, 25 colour), else None."""
    if image.format != "PNG":
        return None
    with path.open("rb") as file:
        head = file.read(26)
        if len(head) == 26 and head[24] == 16 and head[25] in (2, 4, 6):
            return head + file.read()
    return None

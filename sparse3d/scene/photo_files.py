# SPDX-License-Identifier: Apache-2.0
"""Photo files: which files are photos, how large they are, and their pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sparse3d.errors import DataError
from sparse3d.scene.color import orient, profile_name, to_srgb8

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm")
# Pillow refuses pictures above 179 million pixels as a possible attack; the largest phone and medium-format cameras
# reach 200. The same limit for every thread, so it is set once.
Image.MAX_IMAGE_PIXELS = 600_000_000
_ORIENTATION_TAG = 0x0112


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
        raise DataError(f"{folder}: cannot be listed: {error.strerror}") from error
    return [p for p in entries if is_photo(p)], [p for p in entries if not is_photo(p)]


def photo_info(path: Path) -> PhotoInfo:
    """Size, orientation and profile without decoding the pixels. Raises DataError naming the file."""
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"photo {path} cannot be read: {error.strerror}") from error
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
        return PhotoInfo(width, height, orientation, has_alpha, profile_name(image))


def decode(path: Path, *, upright: bool = True) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """rgb [H,W,3] sRGB and alpha [H,W] or None, 8 bits. Raises DataError naming the file where it is damaged."""
    with _open(path) as image:
        try:
            data = _bytes_if_wide_png(path, image)
            if data is None:
                image.load()
            rgb, alpha = to_srgb8(image, data)
            orientation = int(image.getexif().get(_ORIENTATION_TAG, 1) or 1) if upright else 1
        except (OSError, ValueError, SyntaxError, EOFError, MemoryError, RuntimeError) as error:
            raise DataError(
                f"photo {path} cannot be decoded ({error}); it is damaged or incomplete: replace it or remove it"
            ) from error
    return orient(rgb, orientation), None if alpha is None else orient(alpha, orientation)


def looks_complete(path: Path) -> bool:
    """Whether the end of a JPEG or PNG file is there; True for other kinds, which are found out when decoded.

    It reads the file's last bytes only, so that a half-copied photo is found before a long training and not in it.
    """
    with path.open("rb") as file:
        head = file.read(8)
        if not head.startswith((b"\xff\xd8", b"\x89PNG")):
            return True
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - 65536))
        tail = file.read()
    return (b"\xff\xd9" in tail) if head.startswith(b"\xff\xd8") else (b"IEND" in tail)


def composite(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8] | None, background: str) -> NDArray[np.uint8]:
    """rgb [H,W,3] over "white" or "black" where alpha [H,W] is below 255, rounded to 8 bits."""
    if alpha is None:
        return rgb
    cover = alpha[:, :, None].astype(np.uint32)
    back = 255 if background == "white" else 0
    return ((rgb * cover + back * (255 - cover) + 127) // 255).astype(np.uint8)


def _open(path: Path) -> Image.Image:
    if path.suffix.lower() in (".heic", ".heif"):
        _register_heif()
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise DataError(f"photo {path} does not exist") from None
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


def _bytes_if_wide_png(path: Path, image: Image.Image) -> bytes | None:
    """The file's bytes where it is a PNG with 16 bits in several channels (IHDR: byte 24 depth, 25 colour)."""
    if image.format != "PNG":
        return None
    with path.open("rb") as file:
        head = file.read(26)
        if len(head) == 26 and head[24] == 16 and head[25] in (2, 4, 6):
            return head + file.read()
    return None

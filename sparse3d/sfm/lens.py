# SPDX-License-Identifier: Apache-2.0
"""Which photos were taken with the same lens setting, and the focal length that their EXIF data states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sparse3d.photos.files import photo_info

_MAKE, _MODEL, _EXIF_IFD = 0x010F, 0x0110, 0x8769
_FOCAL_MM, _FOCAL_35MM, _PLANE_X, _PLANE_UNIT, _PIXELS_X = 0x920A, 0xA405, 0xA20E, 0xA210, 0xA002
# Diagonal of a 36 x 24 mm frame, to which the 35 mm equivalent refers (CIPA DCG-001).
_DIAGONAL_35MM = math.hypot(36.0, 24.0)
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0}


@dataclass(frozen=True)
class Lens:
    """What photos that share one camera have in common: size of the working copies in pixels, and focal length in
    those pixels, 0 if unknown."""

    width: int
    height: int
    focal_px: float


@dataclass(frozen=True)
class ExifLens:
    """What a photo's EXIF data says: maker and model of the camera, focal length in mm, and focal length over the
    picture's diagonal (both 0 if unknown)."""

    make_model: str
    focal_mm: float
    focal_of_diagonal: float


def exif_lens(path: Path) -> ExifLens:
    """What EXIF says; the focal length comes from the 35 mm equivalent if it is there, else from the sensor's
    resolution."""
    try:
        with Image.open(path) as image:
            exif = image.getexif()
            details = exif.get_ifd(_EXIF_IFD)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError):
        return ExifLens("", 0.0, 0.0)
    make_model = f"{exif.get(_MAKE, '')} {exif.get(_MODEL, '')}".replace("\x00", "").strip()
    focal_mm = _number(details.get(_FOCAL_MM))
    equivalent = _number(details.get(_FOCAL_35MM))
    share = equivalent / _DIAGONAL_35MM
    if not share:
        unit_mm = _UNIT_MM.get(int(_number(details.get(_PLANE_UNIT))) or 2, 25.4)
        focal_px = focal_mm * _number(details.get(_PLANE_X)) / unit_mm
        stored = photo_info(path).size(False)
        # The resolution refers to the pixels of the sensor, which a shrunk photo still states.
        sensor_px = _number(details.get(_PIXELS_X)) or float(max(stored))
        share = focal_px / (sensor_px * math.hypot(*stored) / max(stored)) if sensor_px else 0.0
    # Anything beyond a fisheye or a long telephoto lens is a wrong entry.
    return ExifLens(make_model, focal_mm, share if 0.2 < share < 20.0 else 0.0)


def group_lenses(paths: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> tuple[list[Lens], list[int]]:
    """The lenses, and each photo's number among them: one lens where size, maker, model and focal length agree."""
    lenses: list[Lens] = []
    number: dict[tuple[object, ...], int] = {}
    of_photo = []
    for path, (width, height) in zip(paths, sizes, strict=True):
        exif = exif_lens(path)
        key = (width, height, exif.make_model, round(exif.focal_mm, 1), round(exif.focal_of_diagonal, 2))
        if key not in number:
            number[key] = len(lenses)
            lenses.append(Lens(width, height, exif.focal_of_diagonal * math.hypot(width, height)))
        of_photo.append(number[key])
    return lenses, of_photo


def _number(value: object) -> float:
    """An EXIF entry as a finite positive number, else 0: cameras write 0/0 for unknown."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0

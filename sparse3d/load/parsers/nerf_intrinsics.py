# SPDX-License-Identifier: Apache-2.0
"""Size, focal lengths, principal point and lens of one frame of a transforms*.json file.

Every value may stand in the frame or at the top of the file; a frame's own wins, whatever its name: a camera_angle_x
in a frame comes before a fl_x at the top. Of one level fl_x comes before x_fov (degrees), that before camera_angle_x
(radians); angles are full fields of view. instant-ngp and nerfstudio define the keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sparse3d.errors import DataError
from sparse3d.load.parsers.parser import stored_size

# What k4 means where neither the camera model nor k5 and k6 say it.
K4 = Literal["auto", "radial", "opencv"]

_PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV", "PERSPECTIVE")
_FISHEYE = (
    "OPENCV_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE",
)  # fmt: skip
# nerfstudio's models, and instant-ngp's keys, for pictures that show all around.
_ALL_AROUND = ("EQUIRECTANGULAR", "OMNIDIRECTIONALSTEREO_L", "OMNIDIRECTIONALSTEREO_R", "VR180_L", "VR180_R")
_ALL_AROUND_KEYS = ("latlong", "equirectangular")
_FOCAL_KEYS = {f"{name}{axis}" for axis in "xy" for name in ("fl_", "camera_angle_")} | {"x_fov", "y_fov"}
_KEYS = _FOCAL_KEYS.union(
    ("w", "h", "cx", "cy", "k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2"),
    ("camera_model", "is_fisheye", "ftheta_p0"), _ALL_AROUND_KEYS,
)  # fmt: skip
# Two names of one value that differ by more than this are worth a sentence.
_DISAGREE = 0.02


@dataclass(frozen=True)
class Source:
    """Where a frame's intrinsics come from: its own keys, those at the top, its photo's file, and by how much the file
    may be smaller than the photo that the intrinsics are for (the 4 of images_4; 1: not at all). stands_in: whether it
    was taken for a larger file that the frame names."""

    where: str
    frame: Mapping[str, Any]
    top: Mapping[str, Any]
    file: Path
    factor: int = 1
    stands_in: bool = False

    @cached_property
    def _values(self) -> dict[str, Any]:
        return {**self.top, **{key: value for key, value in self.frame.items() if value is not None}}

    def number(self, key: str) -> float | None:
        """The frame's own value, else that at the top, else None. Raises DataError for what is no finite number."""
        value = self._values.get(key)
        return None if value is None else number_in(self.where, self._values, key)

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None


def number_in(where: str, values: Mapping[str, Any], key: str) -> float | None:
    """A finite number under `key`, None where it is missing. Raises DataError for anything else."""
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{where}: {key} must be a number, found {value!r}; correct it or remove it")
    return float(value)


@dataclass(frozen=True)
class Intrinsics:
    """Of a photo of width x height pixels: focal lengths and principal point in pixels, the lens and its
    coefficients."""

    width: float
    height: float
    fx: float
    fy: float
    cx: float
    cy: float
    lens: str
    distortion: tuple[float, ...]


def intrinsics_of(source: Source, k4: K4, notes: dict[str, None]) -> Intrinsics:
    """What the frame and the top say. k4: what that coefficient means. notes: gets sentences for the user as keys.
    Raises DataError for what is missing or cannot be meant."""
    width, height = size_of(source)
    fx, fy = focals_of(source, (width, height), notes)
    cx, cy = source.number("cx"), source.number("cy")
    lens, distortion = lens_of(source, k4, notes)
    centre = width / 2 if cx is None else cx, height / 2 if cy is None else cy
    return Intrinsics(width, height, fx, fy, *centre, lens, distortion)


def are_shared(frame: Mapping[str, Any], top: Mapping[str, Any]) -> bool:
    """Whether the intrinsics of this frame are the top's alone, so that those of one such frame are those of all."""
    return _KEYS.isdisjoint(frame) and top.get("w") is not None and top.get("h") is not None


def size_of(source: Source) -> tuple[float, float]:
    """(width, height) in pixels of the photo that the intrinsics are for."""
    width, height = source.number("w"), source.number("h")
    for key, side in (("w", width), ("h", height)):
        if side is not None and not 1 <= side <= 1_000_000:
            raise DataError(f"{source.where}: {key} is {side:g} pixels, which no photo has; correct it or remove it")
    if width is not None and height is not None:
        return width, height
    stored_width, stored_height = stored_size(source.file)
    if width is not None:
        return width, width * stored_height / stored_width
    if height is not None:
        return height * stored_width / stored_height, height
    factor = _factor(source, stored_width)
    return float(stored_width * factor), float(stored_height * factor)


def _factor(source: Source, stored_width: int) -> int:
    """By how much the photo that the intrinsics are for is larger than the file. Where the file does not say its size,
    the principal point does, which lies near the middle."""
    cx = source.number("cx")
    factor = source.factor if source.stands_in else 1
    if cx is not None and cx > 0:
        factor = min((factor, 1, source.factor), key=lambda f: abs(math.log(cx / (0.5 * stored_width * f))))
        if cx > stored_width * factor:
            raise DataError(
                f"{source.where}: cx {cx:g} lies outside of the photo, which is {stored_width} pixels wide, and the "
                "file does not say the size that its intrinsics are for; add w and h"
            )
    return factor


def focals_of(source: Source, size: tuple[float, float], notes: dict[str, None]) -> tuple[float, float]:
    """(fx, fy) in pixels. An angle along one axis in a frame changes both, as a zoom does; fl_x or fl_y its own."""
    top_x, top_y = _level(source, source.top, size, notes)
    fx, fy = _level(source, source.frame, size, notes)
    if fx is None and fy is None:
        fx, fy = top_x, top_y
    elif top_x is not None and top_y is not None and not any(source.frame.get(f"fl_{axis}") for axis in "xy"):
        fx = fy * top_x / top_y if fx is None and fy is not None else fx
        fy = fx * top_y / top_x if fy is None and fx is not None else fy
    else:
        fx, fy = top_x if fx is None else fx, top_y if fy is None else fy
    fx, fy = fy if fx is None else fx, fx if fy is None else fy
    if fx is None or fy is None:
        raise DataError(
            f"{source.where}: has no focal length (fl_x, x_fov or camera_angle_x, in the frame or at the top); add one"
        )
    return fx, fy


def _level(
    source: Source, values: Mapping[str, Any], size: tuple[float, float], notes: dict[str, None]
) -> tuple[float | None, float | None]:
    if _FOCAL_KEYS.isdisjoint(values):
        return None, None
    x, y = (_axis(source.where, values, axis, side, notes) for axis, side in zip("xy", size, strict=True))
    return x, y


def _axis(where: str, values: Mapping[str, Any], axis: str, side: float, notes: dict[str, None]) -> float | None:
    """The focal length along one axis as one level says it, in pixels."""
    found: dict[str, float] = {}
    focal = number_in(where, values, f"fl_{axis}")
    if focal is not None:
        if focal <= 0:
            raise DataError(f"{where}: fl_{axis}, the focal length, is {focal:g}; correct it: it must be positive")
        found[f"fl_{axis}"] = focal
    for key, unit in ((f"{axis}_fov", "degrees"), (f"camera_angle_{axis}", "radians")):
        angle = number_in(where, values, key)
        if angle is not None:
            half = 0.5 * (math.radians(angle) if unit == "degrees" else angle)
            if not 0 < half < 0.5 * math.pi:
                limit = "180" if unit == "degrees" else "pi"
                raise DataError(f"{where}: {key} is {angle:g}, expected {unit} between 0 and {limit}; correct it")
            found[key] = 0.5 * side / math.tan(half)
    if not found:
        return None
    taken = next(iter(found))
    for key, value in found.items():
        if abs(value / found[taken] - 1) > _DISAGREE:
            notes[
                f"{taken} and {key} disagree, first in {where}: focal lengths of {found[taken]:.5g} and {value:.5g} "
                f"pixels; {taken} is taken"
            ] = None
    return found[taken]


def lens_of(source: Source, k4: K4, notes: dict[str, None]) -> tuple[str, tuple[float, ...]]:
    """The lens (a name in `photos.lenses`) and its coefficients. Raises DataError for one that no flat picture can
    show, and for coefficients that contradict each other."""
    model, fisheye = _model(source)
    if fisheye:
        return "fisheye", _coefficients(source, ("k1", "k2", "k3", "k4"))
    rational = any(source.has(key) for key in ("k5", "k6"))
    beyond = any(source.number(key) for key in ("k5", "k6"))
    opencv = k4 == "opencv" or (k4 == "auto" and (model == "FULL_OPENCV" or rational))
    # Without any of the three both mean the same.
    if opencv or not (source.number("k4") or beyond):
        return "opencv", _coefficients(source, ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"))
    if beyond:
        raise DataError(f"{source.where}: has k5 or k6, which only OpenCV's lens has; leave --k4 radial out")
    if k4 == "auto":
        notes[
            "k4 stands without k5 and k6: it is taken as nerfstudio's, Metashape's and RealityScan's, a fourth radial "
            "power (1 + k1 r^2 + ... + k4 r^8); --k4 opencv takes it as OpenCV's divisor (1 + k4 r^2)"
        ] = None
    return "radial4", _coefficients(source, ("k1", "k2", "k3", "k4", "p1", "p2"))


def _coefficients(source: Source, keys: tuple[str, ...]) -> tuple[float, ...]:
    k = [source.number(key) or 0.0 for key in keys]
    while k and k[-1] == 0.0:
        k.pop()
    return tuple(k)


def _model(source: Source) -> tuple[str, bool]:
    """The camera model's name in capitals, and whether it is a fisheye's: what the frame says, else the top."""
    for key in (*_ALL_AROUND_KEYS, "ftheta_p0"):
        if source.has(key):
            raise DataError(_refusal(source.where, key.upper()))
    for level in (source.frame, source.top):
        named, fisheye = level.get("camera_model"), level.get("is_fisheye")
        if named is None and fisheye is None:
            continue
        model = str(named or source.top.get("camera_model") or "OPENCV").upper()
        if named is None and fisheye is False and model in _FISHEYE:
            return "OPENCV", False
        if not fisheye and model not in (*_PERSPECTIVE, *_FISHEYE):
            raise DataError(_refusal(source.where, model))
        return model, bool(fisheye) or model in _FISHEYE
    return "OPENCV", False


def _refusal(where: str, model: str) -> str:
    if model in _ALL_AROUND or model.lower() in _ALL_AROUND_KEYS:
        advice = "it shows all around; cut the photos into perspective views first and give their cameras"
    elif model == "ORTHOPHOTO":
        advice = "it has no place from which it was taken; give the photos that it was made of"
    else:
        known = ", ".join((*_PERSPECTIVE, *_FISHEYE))
        advice = f"undistort the photos with the program that wrote the file (known: {known})"
    return f"{where}: camera_model {model} cannot be made a pinhole camera: {advice}"

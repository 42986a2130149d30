# SPDX-License-Identifier: Apache-2.0
"""From what a photo's file stores (modes, bit depths, colour profiles, orientation) to upright 8-bit sRGB."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

# What EXIF's orientation tag (1 to 8) asks for, as operations on an array [H,W,...]: transpose first, then flips.
_TRANSPOSE = {5, 6, 7, 8}
_FLIP_ROWS = {3, 4, 7, 8}
_FLIP_COLUMNS = {2, 3, 6, 7}


def orient(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The upright picture of pixels [H,W,...] stored with this EXIF orientation; unknown values change nothing."""
    if orientation in _TRANSPOSE:
        pixels = pixels.swapaxes(0, 1)
    if orientation in _FLIP_ROWS:
        pixels = pixels[::-1]
    if orientation in _FLIP_COLUMNS:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def profile_name(image: Image.Image) -> str | None:
    """Name of the embedded colour profile: None if there is none or it is sRGB, "unreadable" if it is broken."""
    profile = image.info.get("icc_profile")
    if not profile:
        return None
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return "unreadable"
    return None if "srgb" in name.lower() else (name or "unnamed")


def to_srgb8(image: Image.Image, data: bytes | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Loaded image of any mode -> rgb [H,W,3] and alpha [H,W] or None, as stored (orientation is not applied).

    data: the file's bytes if it is a 16-bit PNG in colour, of which Pillow would keep only the upper bytes. A broken
    colour profile counts as none. Raises ValueError for pixel types that are not pictures (floating point).
    """
    profile = image.info.get("icc_profile") if profile_name(image) not in (None, "unreadable") else None
    if data is not None:
        wide, alpha = png16(data)
        rgb = _narrow(wide)
        return (_apply_profile(Image.fromarray(rgb), profile) if profile else rgb), alpha
    if image.mode.startswith("I"):
        # One channel of 16 bits; older versions of Pillow open 16-bit grey PNG as 32-bit integers.
        wide = np.asarray(image)
        if wide.size and (wide.min() < 0 or wide.max() > 65535):
            raise ValueError(f"values reach {int(wide.max())}, more than 16 bits")
        grey = _narrow(wide)
        return np.repeat(grey[:, :, None], 3, axis=2), None
    if image.mode == "F":
        raise ValueError("it holds floating-point values")
    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = np.array(image)[:, :, 3]
        image = image.convert("RGB")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        return _apply_profile(image, profile), alpha
    return np.array(image.convert("RGB")), alpha


def _apply_profile(image: Image.Image, profile: bytes) -> NDArray[np.uint8]:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = getattr(source.profile, "xcolor_space", "").strip()  # Pillow's stub gives the profile a wrong type.
    if space == "RGB" and image.mode != "RGB":
        image = image.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except ImageCms.PyCMSError:
        # The profile is for another kind of pixels, so the file contradicts itself: its numbers are taken as sRGB.
        converted = None
    return np.array(image.convert("RGB") if converted is None else converted)


def png16(data: bytes) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
    """rgb [H,W,3] of 16 bits and alpha [H,W] of 8, or None, of the bytes of a PNG of 16 bits. Raises ValueError."""
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError("the 16-bit PNG cannot be decoded")
    wide: NDArray[np.uint16] = np.asarray(decoded, np.uint16)
    if wide.ndim == 2:
        wide = np.repeat(wide[:, :, None], 3, axis=2)
    alpha = _narrow(wide[:, :, 3]) if wide.shape[2] == 4 else None
    return np.ascontiguousarray(wide[:, :, 2::-1]), alpha


def _narrow(wide: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Values of 16 bits as 8 bits, to the nearest."""
    return ((wide.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)

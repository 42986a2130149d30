# SPDX-License-Identifier: Apache-2.0
"""The images of a SOG file: lossless WebP, whose size is read from the header before anything is decoded."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparse3d.errors import DataError
from sparse3d.formats.checks import damaged

# Lossless WebP's own limit on a side.
MAX_SIDE = 16383


def encode_image(pixels: NDArray[np.uint8]) -> bytes:
    """Lossless WebP of [H,W,3] or [H,W,4]. `exact` keeps the colour of transparent pixels: their bytes are data.

    Slower settings (method 4 to 6, quality above 50) were measured: up to 0.2 % fewer bytes or more, for up to 400
    times the time.
    """
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", lossless=True, exact=True, quality=50, method=3)
    return out.getvalue()


def decode_image(data: bytes, name: str, least: int, most: int) -> NDArray[np.uint8]:
    """Pixels [H,W,4] uint8 (alpha 255 where the image has none) of an image that has `least` to `most` pixels.

    Raises DataError, naming the image, for bytes that are not a WebP image, for a lossy one and for another size.
    """
    width, height = webp_size(data, name)
    if not least <= width * height <= most:
        raise damaged(
            f"{name} is {width}x{height} = {width * height} pixels; expected {least} to {most} for the number of splats"
        )
    try:
        with warnings.catch_warnings():
            # Pillow warns of sizes that a bomb would have; ours is checked above, against the number of splats.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("WEBP",)) as image:
                if image.size != (width, height):
                    raise damaged(f"{name}: its header says {width}x{height}, its picture is {image.size}")
                pixels = np.asarray(image.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise damaged(f"{name} is not a whole WebP image: {error}") from error
    return pixels


def webp_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height in pixels of a lossless WebP, from its first bytes (RFC 9649). Raises DataError."""
    if len(data) < 30 or data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise damaged(f"{name}: expected a WebP image (RIFF....WEBP), found {data[:12]!r} in {len(data)} bytes")
    said = struct.unpack_from("<I", data, 4)[0] + 8
    if said > len(data) or said + 1 < len(data):
        raise damaged(f"{name}: its RIFF header says {said} bytes, found {len(data)}")
    kind = data[12:16]
    if kind == b"VP8L":
        if data[20] != 0x2F:
            raise damaged(f"{name}: the lossless WebP stream begins with {data[20]:#x}, expected 0x2f")
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        if data[20] & 0x02:
            raise DataError(f"{name}: is an animated WebP, expected one picture; export it again")
        size = (
            1 + int.from_bytes(data[24:27], "little"),
            1 + int.from_bytes(data[27:30], "little"),
        )
        if max(size) > MAX_SIDE:
            raise damaged(f"{name}: {size[0]}x{size[1]} pixels, expected at most {MAX_SIDE} a side")
        if b"VP8L" not in data[30:4096]:
            raise DataError(
                f"{name}: is a lossy WebP; SOG images are lossless, the values in this one are gone; export it again, "
                "and copy it without changing its images"
            )
        return size
    if kind == b"VP8 ":
        raise DataError(
            f"{name}: is a lossy WebP; SOG images are lossless, the values in this one are gone; export it again, and "
            "copy it without changing its images"
        )
    raise damaged(f"{name}: the WebP begins with a chunk {kind!r}, expected VP8L, VP8X")

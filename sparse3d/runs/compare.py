# SPDX-License-Identifier: Apache-2.0
"""compare.png: photo, rendering and their difference side by side, a row a photo."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sparse3d.judge.evaluate import RenderImage
from sparse3d.judge.spread import spread
from sparse3d.loss import rounded
from sparse3d.records.scene import Scene

_MAX_ROWS = 8
# Three columns of this width fit a full-HD screen.
_MAX_WIDTH = 640
_TEXT_HEIGHT = 18
# Differences are shown this much brighter: an error of 25 dB is 0.056, hardly seen as it is.
_DIFFERENCE_GAIN = 4.0


def compare_picture(scene: Scene, render_image: RenderImage, per_view: Sequence[dict[str, Any]] = ()) -> bytes:
    """The PNG file: held-out photos, evenly spread over at most eight, or training photos (labelled so) where none is
    held out. per_view: rows of evaluate, whose PSNR goes into the labels."""
    held_out = bool(scene.test)
    chosen = spread(scene.test or scene.train, _MAX_ROWS)
    scores = {row["name"]: row.get("psnr") for row in per_view}
    rows = []
    for index in chosen:
        name = scene.names[index]
        label = f"{name}   {'held out' if held_out else 'TRAINING PHOTO (none is held out)'}"
        if scores.get(name) is not None:
            label += f"   {scores[name]:.2f} dB"
        rows.append(_row(scene.images[index], rounded(render_image(scene.cameras[index])), label))
    width = max(row.width for row in rows)
    page = Image.new("RGB", (width, sum(row.height for row in rows)), (24, 24, 24))
    top = 0
    for row in rows:
        page.paste(row, (0, top))
        top += row.height
    buffer = io.BytesIO()
    page.save(buffer, format="PNG", optimize=False)
    return buffer.getvalue()


def _row(photo: Tensor, image: Tensor, label: str) -> Image.Image:
    difference = ((image - photo.double()).abs() * _DIFFERENCE_GAIN).clamp(0, 1)
    height, width = photo.shape[:2]
    scale = min(1.0, _MAX_WIDTH / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    row = Image.new("RGB", (3 * size[0] + 8, size[1] + _TEXT_HEIGHT), (24, 24, 24))
    for column, pixels in enumerate((photo, image, difference)):
        array = np.rint(pixels.double().clamp(0, 1).numpy() * 255).astype(np.uint8)
        picture = Image.fromarray(array)
        if picture.size != size:
            picture = picture.resize(size, Image.Resampling.BOX)
        row.paste(picture, (column * (size[0] + 4), _TEXT_HEIGHT))
    draw = ImageDraw.Draw(row)
    draw.text((4, 3), f"{label}   |   photo, rendering, difference x{_DIFFERENCE_GAIN:g}", (230, 230, 230), _font())
    return row


def _font() -> Any:
    # The font inside Pillow: no file of the system is needed, and letters beyond Latin become boxes, not errors.
    return ImageFont.load_default(size=12)

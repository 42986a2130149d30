# SPDX-License-Identifier: Apache-2.0
"""coverage.png: renderings beside the number of training photos that support each pixel."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sparse3d.judge.coverage import EMPTY, LEVELS, CoverageCameras, coverage_cameras, coverage_record, support_levels
from sparse3d.judge.observe import look
from sparse3d.judge.spread import spread
from sparse3d.records.scene import Scene
from sparse3d.render.probe import Seeing
from sparse3d.splats import Splats

# How many of the cameras that coverage is judged from, and of the training cameras, are shown.
_SHOWN, _SHOWN_TRAIN = 4, 2
_CELL_PX = (480, 360)
# Of a page at most, of the legend, and of the line over a pair at least.
_PAGE_PX, _LEGEND_PX, _LABEL_PX = 2000, 690, 440
_MOST_BYTES = 1_500_000
_GAP, _LINE, _LEGEND = 6, 22, 34
_PAPER, _INK = (24, 24, 26), (232, 232, 232)
_COLOURS = {
    0: ((224, 49, 49), "no photo: guessed"),
    1: ((245, 140, 30), "one photo"),
    2: ((250, 215, 60), "two photos"),
    3: ((70, 185, 95), "three or more"),
    EMPTY: ((70, 70, 78), "nothing drawn"),
}
# How much of the map is the level's colour; the rest is the rendering in grey.
_TINT = 0.62


def coverage(
    scene: Scene, splats: Splats, support: Tensor, background: Tensor, *, backend: str | None = None
) -> tuple[bytes, dict[str, Any]]:
    """(the PNG file, the record for metrics.json). support [N] uint8 as `count_support` gives it; background [3]."""
    found = coverage_cameras(scene)
    levels = [support_levels(splats, support, camera, backend=backend) for camera in found.cameras]
    known = scene.has_masks or scene.images.alpha(scene.train[0]) is not None
    record = coverage_record(levels, found, empty_is_known=known)
    kind = "held out" if found.held_out else "between the photos"
    pairs = []
    for i in spread(range(len(levels)), _SHOWN):
        image = look(splats, found.cameras[i], Seeing(background, backend=backend)).image[0]
        name = found.cameras[i].name if found.held_out else f"view {i + 1}"
        pairs.append(_Pair(image, levels[i], f"{name}   {kind}"))
    for index in spread(scene.train, _SHOWN_TRAIN):
        camera = scene.cameras[index]
        image = look(splats, camera, Seeing(background, backend=backend)).image[0]
        level = support_levels(splats, support, camera, backend=backend)
        pairs.append(_Pair(image, level, f"{scene.names[index]}   training photo"))
    return _png(pairs, known), record


@dataclass(frozen=True)
class _Pair:
    """A rendering [H,W,3], its levels [H,W] and what is written over them."""

    image: Tensor
    levels: Tensor
    label: str


def _png(pairs: Sequence[_Pair], empty_is_known: bool) -> bytes:
    """The page as a file of at most 1.5 MB: drawn smaller until it is."""
    factor = 1.0
    while True:
        buffer = io.BytesIO()
        _page(pairs, factor, empty_is_known).save(buffer, format="PNG")
        if buffer.tell() <= _MOST_BYTES or factor < 0.3:
            return buffer.getvalue()
        factor *= min(0.95, (_MOST_BYTES / buffer.tell()) ** 0.5)


def _page(pairs: Sequence[_Pair], factor: float, empty_is_known: bool) -> Image.Image:
    """Under a legend, as many pairs a row as fit, the rows filled evenly."""
    height, width = (max(pair.levels.shape[i] for pair in pairs) for i in (0, 1))
    scale = factor * min(1.0, _CELL_PX[0] / width, _CELL_PX[1] / height)
    cell = max(1, round(width * scale)), max(1, round(height * scale))
    pair_width = max(2 * cell[0] + _GAP, _LABEL_PX)
    rows = -(-len(pairs) // max(1, (_PAGE_PX - 2 * _GAP) // (pair_width + 2 * _GAP)))
    columns = -(-len(pairs) // rows)
    size = columns * (pair_width + 2 * _GAP) + 2 * _GAP, _LEGEND + rows * (cell[1] + _LINE + _GAP) + _GAP
    page = Image.new("RGB", (max(size[0], _LEGEND_PX), size[1]), _PAPER)
    draw = ImageDraw.Draw(page)
    _legend(draw)
    for i, pair in enumerate(pairs):
        left = 2 * _GAP + (i % columns) * (pair_width + 2 * _GAP)
        top = _LEGEND + (i // columns) * (cell[1] + _LINE + _GAP)
        draw.text((left, top + 4), f"{pair.label}   |   {_shares(pair.levels, empty_is_known)}", _INK, _font(12))
        for column, pixels in enumerate((_eight_bits(pair.image), _map(pair))):
            picture = Image.fromarray(pixels)
            shape = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
            if picture.size != shape:
                picture = picture.resize(shape, Image.Resampling.BOX)
            page.paste(picture, (left + column * (cell[0] + _GAP), top + _LINE))
    return page


def _legend(draw: ImageDraw.ImageDraw) -> None:
    left = 2 * _GAP
    text = "supported by"
    draw.text((left, 9), text, _INK, _font(13))
    left += round(draw.textlength(text, _font(13))) + 12
    for colour, name in _COLOURS.values():
        draw.rectangle((left, 9, left + 16, 23), fill=colour)
        draw.text((left + 22, 9), name, _INK, _font(13))
        left += 22 + round(draw.textlength(name, _font(13))) + 18


def _shares(levels: Tensor, empty_is_known: bool) -> str:
    record = coverage_record([levels], CoverageCameras((), True), empty_is_known=empty_is_known)
    if record["unseen"] is None:
        return "nothing drawn"
    return f"guessed {record['unseen']:.0%}, one photo {record['one_view']:.0%}, more {record['two_or_more']:.0%}"


def _map(pair: _Pair) -> np.ndarray:
    """[H,W,3] uint8: the level's colour over the rendering in grey."""
    grey = _eight_bits(pair.image).astype(np.float64).mean(axis=2, keepdims=True)
    table = np.array([_COLOURS[level][0] for level in (EMPTY, *range(LEVELS + 1))], dtype=np.float64)
    colour = table[pair.levels.numpy() + 1]
    return np.rint(_TINT * colour + (1.0 - _TINT) * grey).astype(np.uint8)


def _eight_bits(image: Tensor) -> np.ndarray:
    return np.rint(image.double().clamp(0.0, 1.0).numpy() * 255.0).astype(np.uint8)


def _font(size: int) -> Any:
    # The font inside Pillow: no file of the system is needed, and letters beyond Latin become boxes, not errors.
    return ImageFont.load_default(size=size)

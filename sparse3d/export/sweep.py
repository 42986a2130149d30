# SPDX-License-Identifier: Apache-2.0
"""How the picture falls with the bytes: files of several sizes, and a plot of them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from sparse3d.errors import UsageError
from sparse3d.export.coder import Coder
from sparse3d.export.fit import Fit, Fitted
from sparse3d.export.judge import held_out, to_source
from sparse3d.export.source import Source
from sparse3d.export.targets import size_text
from sparse3d.export.tell import Tell
from sparse3d.formats import atomic_file

# Sizes around the file that is written.
_FACTORS = (0.25, 0.5, 2.0, 4.0)
_SIZE = (900, 560)
_FRAME = (90, 50, 860, 490)
_INK, _PAPER, _GRID, _LINE, _DOT = (30, 30, 30), (255, 255, 255), (220, 220, 220), (30, 90, 200), (200, 40, 40)


class SweepPoint(NamedTuple):
    """bytes of the scene in a file, splats in it, and its PSNR in dB."""

    bytes: int
    splats: int
    psnr: float


def sweep(source: Source, coder: Coder, fit: Fit, made: Fitted, tell: Tell | None = None) -> list[SweepPoint]:
    """Points of files around `made` in size, it among them, smallest first. PSNR on the held-out photos, else to the
    source's pictures."""
    points = [point_of(source, coder, made)]
    for number, factor in enumerate(_FACTORS):
        if tell is not None:
            tell(f"a file of {factor:g} times the size", number / len(_FACTORS))
        try:
            other = fit.to_size(max(1, round(factor * made.size)))
        except UsageError:
            # No file is that small.
            continue
        points.append(point_of(source, coder, other))
    return sorted(set(points))


def point_of(source: Source, coder: Coder, made: Fitted) -> SweepPoint:
    shown = coder.quantised(made.splats, made.opts)
    found = held_out(source, shown) or to_source(source, shown)
    return SweepPoint(made.size, shown.num_splats, round(found.psnr, 4))


def draw_sweep(path: Path, points: Sequence[SweepPoint], title: str, level: float | None) -> None:
    """A PNG of PSNR over bytes (logarithmic). level: PSNR of the source, drawn as a line; None where it has none."""
    page = Image.new("RGB", _SIZE, _PAPER)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=14)
    left, top, right, bottom = _FRAME
    values = [point.psnr for point in points] + ([] if level is None else [level])
    low, high = min(values), max(values)
    margin = max(0.08 * (high - low), 0.1)
    low, high = low - margin, high + margin
    first, last = math.log(points[0].bytes) - 0.2, math.log(points[-1].bytes) + 0.2

    def place(size: float, psnr: float) -> tuple[float, float]:
        x = left + (math.log(size) - first) / (last - first) * (right - left)
        return x, bottom - (psnr - low) / (high - low) * (bottom - top)

    for value in _ticks(low, high):
        y = place(points[0].bytes, value)[1]
        draw.line([(left, y), (right, y)], _GRID)
        draw.text((left - 8, y), f"{value:g}", _INK, font, anchor="rm")
    for point in points:
        x = place(point.bytes, low)[0]
        draw.line([(x, top), (x, bottom)], _GRID)
        draw.text((x, bottom + 8), size_text(point.bytes), _INK, font, anchor="mt")
    if level is not None:
        y = place(points[0].bytes, level)[1]
        draw.line([(left, y), (right, y)], _DOT)
        draw.text((left + 6, y - 4), "before", _DOT, font, anchor="lb")
    draw.rectangle(_FRAME, outline=_INK)
    line = [place(point.bytes, point.psnr) for point in points]
    draw.line(line, _LINE, width=2)
    for (x, y), point in zip(line, points, strict=True):
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=_LINE)
        draw.text((x + 6, y + 6), f"{point.psnr:.2f} dB, {point.splats:,}", _INK, font)
    draw.text((left, top - 12), title, _INK, font, anchor="lb")
    draw.text(((left + right) / 2, _SIZE[1] - 14), "bytes of the scene in the file", _INK, font, anchor="mb")
    plain = io.BytesIO()
    page.save(plain, format="PNG", optimize=False)
    with atomic_file(path) as file:
        file.write(plain.getvalue())


def _ticks(low: float, high: float) -> list[float]:
    """Round values between the bounds, four to ten of them."""
    step = 10.0 ** math.floor(math.log10(high - low))
    for finer in (1.0, 2.0, 5.0):
        if (high - low) / (step / finer) >= 4:
            step /= finer
            break
    return [round(k * step, 6) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]

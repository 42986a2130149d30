# SPDX-License-Identifier: Apache-2.0
"""Streamed SOG of a source: levels of detail, each merged from the one before, within one size of all of them."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sparse3d import formats
from sparse3d.compress.merge import merge_to
from sparse3d.compress.prune import keep_most
from sparse3d.errors import UsageError
from sparse3d.export.coder import Coder, Encoded
from sparse3d.export.fit import Fit, Fitted
from sparse3d.export.recipes import Recipe, cut
from sparse3d.export.report import report
from sparse3d.export.source import Source, open_source
from sparse3d.export.targets import Target
from sparse3d.export.tell import Tell
from sparse3d.formats.format import WriteOptions
from sparse3d.formats.sog.stream import INDEX, write_streamed_sog
from sparse3d.splats import PARAMETER_NAMES, Splats

# A level has a quarter of the splats of the finer one: half the resolution on a surface. Fewer splats than these need
# no level of their own.
_FACTOR, _MOST_LEVELS, _FEW = 4, 5, 5000
# All coarser levels add a third to the bytes of the finest at most; a little more is begun with and then left out.
_FINEST_SHARE = 0.8


def export_lod(
    path: Path, out: Path, target: Target, *, scene: Path | None = None, tell: Tell | None = None
) -> dict[str, Any]:
    """Write the folder of streamed SOG `out` (or the folder of `out`, a path that ends in lod-meta.json); returns the
    report, of the finest level, with the sizes of all.

    Raises UsageError for --max-drop, as streams of several levels have no one loss.
    """
    began = time.perf_counter()
    folder = lod_folder(out)
    if target.max_drop is not None:
        raise UsageError("--max-drop: a stream of several levels has no one loss; give --max-size or --max-splats")
    # Each level by itself is written as a bundle would be.
    coder = Coder(Path("level.sog"), WriteOptions(target.sh_degree, target.effort, None, target.knobs))
    with open_source(path, scene, drop_invalid=target.drop_invalid) as source:
        coder.frame, coder.origin = source.frame, source.origin
        fit = Fit(source, coder, target, tell)
        made, levels = _levels_within(source, fit, target)
        sizes = write_streamed_sog(folder, [coder.outside(level) for level in levels], made.opts)
        total = sum(sizes.values())
        finest = coder.inside(_finest_level(folder))
        values = report(source, coder, made, Encoded(sizes_only(sizes), total, total, ()), finest)
        values |= {
            "out": str(folder / INDEX), "format": "streamed sog", "levels": [level.num_splats for level in levels],
            "without_photos": source.without, "seconds": round(time.perf_counter() - began, 2),
        }  # fmt: skip
        if source.notes:
            values["left_out"] = list(source.notes)
    return values


def lod_folder(out: Path) -> Path:
    return out.parent if out.name == INDEX else out


def levels_of(splats: Splats) -> list[Splats]:
    """`splats`, and coarser ones of a quarter of the splats each while these are not few."""
    levels = [splats]
    while levels[-1].num_splats >= _FACTOR * _FEW and len(levels) < _MOST_LEVELS:
        levels.append(merge_to(levels[-1], levels[-1].num_splats // _FACTOR))
    return levels


def sizes_only(sizes: dict[str, int]) -> dict[str, bytes]:
    """The names of files that lie on the disk, without their bytes."""
    return dict.fromkeys(sizes, b"")


def _levels_within(source: Source, fit: Fit, target: Target) -> tuple[Fitted, list[Splats]]:
    if target.max_size is None:
        made = fit.plain()
        return made, levels_of(made.splats)
    made = fit.to_size(max(1, round(_FINEST_SHARE * target.max_size)))
    splats, opts, worth = made.splats, made.opts, source.weights(made.splats).weight
    seen: list[tuple[int, int]] = []
    for _ in range(8):
        levels = levels_of(splats)
        total = _bytes_of(levels, opts)
        if total <= target.max_size:
            return replace(made, splats=splats, opts=opts), levels
        # Files have bytes of their own beside those of splats: two points say how many a splat has.
        seen.append((splats.num_splats, total))
        each = total / splats.num_splats
        if len(seen) > 1:
            (n1, b1), (n2, b2) = seen[-2:]
            each = max((b1 - b2) / max(n1 - n2, 1), 0.1 * each)
        count = splats.num_splats - max(1, math.ceil((total - 0.99 * target.max_size) / each))
        if count < 1 and splats.sh_degree == 0:
            break
        if count < 1:
            # The palettes alone are too large; those splats without them may fit.
            splats, opts, seen = cut(splats, None, Recipe(0))[0], replace(opts, sh_degree=0), []
            made = replace(made, recipe=str(Recipe(0)))
            continue
        rows = keep_most(worth, count)
        splats, worth = splats.select(rows), worth[rows]
    raise UsageError(f"--max-size {target.max_size}: the levels of this scene do not fit into it; give more bytes")


def _bytes_of(levels: list[Splats], opts: WriteOptions) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return sum(write_streamed_sog(Path(folder), levels, opts).values())


def _finest_level(folder: Path) -> Splats:
    """What a reader gets of the finest level, from all its files."""
    parts = [formats.read(meta) for meta in sorted(folder.glob("0_*/meta.json"), key=_number)]
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in PARAMETER_NAMES}
    return replace(parts[0], **joined)


def _number(meta: Path) -> int:
    return int(meta.parent.name.split("_")[1])

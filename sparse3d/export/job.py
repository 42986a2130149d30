# SPDX-License-Identifier: Apache-2.0
"""From a source to a written file and its report: what the commands `export` and `compress` do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sparse3d.export.coder import Coder
from sparse3d.export.drop import fit_to_drop
from sparse3d.export.fit import Fit, Fitted
from sparse3d.export.judge import held_out
from sparse3d.export.page import page_options
from sparse3d.export.report import report
from sparse3d.export.source import Source, open_source
from sparse3d.export.sweep import draw_sweep, sweep
from sparse3d.export.targets import Target
from sparse3d.export.tell import Tell
from sparse3d.formats.format import WriteOptions
from sparse3d.formats.html.options import PageOptions


def export_file(
    path: Path,
    out: Path,
    target: Target,
    *,
    scene: Path | None = None,
    plot: Path | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Write the splats of `path` to `out` as `target` asks, in the format of its suffix; returns the report.

    plot: PNG to draw with files of other sizes too; their points are in the report. Raises UsageError for what cannot
    be asked for, DataError for what cannot be read.
    """
    began = time.perf_counter()
    coder = coder_for(out, target)
    with open_source(path, scene, drop_invalid=target.drop_invalid) as source:
        coder.frame, coder.origin = source.frame, source.origin
        if coder.writes_page:
            coder.page = page_of(source, out)
        fit = Fit(source, coder, target, tell)
        fitted = fitted_to(source, coder, fit, target, tell)
        made = coder.encode(fitted.splats, fitted.opts)
        coder.write(made)
        if tell is not None:
            tell("comparing", None)
        values = report(source, coder, fitted, made, coder.decoded(made))
        if plot is not None:
            values["sweep"] = _swept(source, coder, fit, fitted, plot, tell)
        more = {"left_out": list(source.notes)} if source.notes else {}
        return values | more | {"without_photos": source.without, "seconds": round(time.perf_counter() - began, 2)}


def coder_for(out: Path, target: Target) -> Coder:
    """Raises UsageError for a suffix, version or knob that no format has."""
    opts = WriteOptions(target.sh_degree, target.effort, target.version, target.knobs)
    return Coder(out, opts)


def fitted_to(source: Source, coder: Coder, fit: Fit, target: Target, tell: Tell | None = None) -> Fitted:
    """The splats to write, by what is asked for: a size, a loss, or neither."""
    if target.max_drop is not None:
        return fit_to_drop(source, coder, fit, target.max_drop, target.byte_cap, tell)
    if target.max_size is not None:
        return fit.to_size(target.max_size)
    return fit.plain()


def _swept(
    source: Source, coder: Coder, fit: Fit, fitted: Fitted, plot: Path, tell: Tell | None
) -> list[dict[str, Any]]:
    points = sweep(source, coder, fit, fitted, tell)
    before = held_out(source, source.splats)
    against = "on held-out photos" if before is not None else "to the source's pictures"
    draw_sweep(plot, points, f"{coder.format.name}: PSNR {against}, dB", None if before is None else before.psnr)
    return [point._asdict() for point in points]


def page_of(source: Source, out: Path) -> PageOptions:
    """The page's title is the file's name; it opens at the best one of the source's own cameras."""
    sampled = source.found.endswith("around the scene")
    cameras = [] if sampled else [source.frame.camera_out(camera, source.origin) for camera in source.cameras]
    return page_options(out.stem, source.frame.splats_out(source.splats, source.origin), cameras)

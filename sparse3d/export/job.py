# SPDX-License-Identifier: Apache-2.0
"""From a source to a written file and its report: what the commands `export` and `compress` do."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparse3d.export.coder import Coder
from sparse3d.export.drop import fit_to_drop
from sparse3d.export.fit import Fit, Fitted, Tell
from sparse3d.export.report import report
from sparse3d.export.source import Source, open_source
from sparse3d.export.targets import Target
from sparse3d.formats.format import WriteOptions
from sparse3d.formats.page_options import PageOptions, start_of_camera


def export_file(
    path: Path, out: Path, target: Target, *, scene: Path | None = None, tell: Tell | None = None
) -> dict[str, Any]:
    """Write the splats of `path` to `out` as `target` asks, in the format of its suffix; returns the report.

    Raises UsageError for what cannot be asked for, DataError for what cannot be read.
    """
    began = time.perf_counter()
    coder = coder_for(out, target)
    with open_source(path, scene) as source:
        if coder.format.name == "html":
            coder.page = page_of(source, out)
        fitted = fitted_to(source, coder, target, tell)
        made = coder.encode(fitted.splats, fitted.opts)
        coder.write(made)
        if tell is not None:
            tell("comparing", None)
        values = report(source, coder, fitted, made, coder.decoded(made))
        return values | {"without_photos": source.without, "seconds": round(time.perf_counter() - began, 2)}


def coder_for(out: Path, target: Target) -> Coder:
    """Raises UsageError for a suffix, version or knob that no format has."""
    opts = WriteOptions(target.sh_degree, target.effort, target.version, target.knobs)
    return Coder(out, opts)


def fitted_to(source: Source, coder: Coder, target: Target, tell: Tell | None = None) -> Fitted:
    """The splats to write, by what is asked for: a size, a loss, or neither."""
    fit = Fit(source, coder, target, tell)
    if target.max_drop is not None:
        return fit_to_drop(source, coder, fit, target.max_drop, target.byte_cap, tell)
    if target.max_size is not None:
        return fit.to_size(target.max_size)
    return fit.plain()


def page_of(source: Source, out: Path) -> PageOptions:
    """The page's title is the file's name; it begins where the middle one of the cameras stood."""
    page = PageOptions(title=out.stem)
    if not source.cameras or source.found.endswith("around the scene"):
        return page
    camera = source.cameras[len(source.cameras) // 2]
    return replace(page, camera=start_of_camera(camera, source.splats))

# SPDX-License-Identifier: Apache-2.0
"""report.html of a run: the scene to turn, what it is worth, and what to photograph next. One file, no network."""

from __future__ import annotations

import html
from pathlib import Path

from sparse3d.errors import DataError
from sparse3d.export.page import page_options
from sparse3d.formats import WriteOptions, write
from sparse3d.formats.html.options import Below, PageOptions
from sparse3d.report.advice import advise
from sparse3d.report.facts import details, summary, tiles, times
from sparse3d.report.pictures import picture
from sparse3d.report.plan import legend, plan
from sparse3d.report.ring import ring_of
from sparse3d.report.scene import shown
from sparse3d.runs.finished import FinishedRun

NAME = "report.html"


def write_report(run: FinishedRun, out: Path | None = None) -> Path:
    """Write the page of a finished run to `out` (report.html in its folder) and return its path; it replaces what is
    there. Raises DataError where the run has not come to its end."""
    out = run.path / NAME if out is None else out
    if run.metrics is None:
        raise DataError(
            f"{run.path}: this run has no metrics.json yet; finish it first (train --out {run.path} --resume)"
        )
    scene = shown(run.splats)
    page = page_options(title_of(run), scene.splats, run.cameras)
    below = Below(_below(run, scene.note), _style())
    options = PageOptions(page.title, page.poster, page.camera, page.reach, below)
    write(out, scene.splats, WriteOptions(sh_degree=scene.degree, page=options))
    return out


def title_of(run: FinishedRun) -> str:
    """The name of the folder or file of photos."""
    path = Path(run.config.scene_path)
    return (path.parent.name if path.suffix.lower() == ".json" else path.stem) or "Scene"


def _below(run: FinishedRun, note: str) -> str:
    metrics = run.metrics or {}
    parts = [summary(metrics), tiles(metrics), f'<p class="note">{html.escape(note)}</p>' if note else ""]
    sections = [
        _next(run),
        *_pictures(run),
        _section("Times", times(metrics)),
        _section("How it was made", _details(run)),
    ]
    foot = (
        "One file, made with sparse3d, that plays without a network. It holds the scene, the pictures above and the "
        "photos' names, and no place or date."
    )
    tall = ' class="tall"' if any(camera.height > camera.width for camera in run.cameras[:1]) else ""
    return f"<main{tall}>{''.join(parts)}{''.join(sections)}<footer>{foot}</footer></main>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>" if body else ""


def _next(run: FinishedRun) -> str:
    """The plan of the cameras and what to do about its gaps; empty where the run has kept no cameras."""
    if not run.cameras:
        return ""
    ring = ring_of(run.cameras)
    named = run.named_cameras
    unused = [item.camera for item in named if item.split == "unused"]
    advice = advise(run.cameras, ring, (run.metrics or {}).get("coverage"), unused)
    listed = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in advice.sentences)
    drawn = plan(named, run.splats, ring, advice.angles)
    figure = f"<figure>{drawn}<figcaption>{legend(named, bool(advice.angles))}</figcaption></figure>"
    return _section("What to photograph next", f'<div class="advice"><ul>{listed}</ul>{figure}</div>')


def _pictures(run: FinishedRun) -> list[str]:
    held_out = (run.metrics or {}).get("views", {}).get("test", 0) > 0
    title = "Beside photos it never saw" if held_out else "Beside its training photos"
    compare = picture(run.path / "compare.png", "photo, rendering and their difference, a row a photo")
    coverage = picture(run.path / "coverage.png", "renderings, and how many photos support each pixel")
    wide = '<div class="wide{}" tabindex="0">{}</div><p class="caption">{}</p>'
    told = "Photo, rendering, and their difference four times as bright."
    seen = "Red was seen by no photo and is guessed; orange rests on one photo; green on three or more."
    return [
        _section(title, wide.format("", compare, told) if compare else ""),
        _section("What the photos support", wide.format(" map", coverage, seen) if coverage else ""),
    ]


def _details(run: FinishedRun) -> str:
    sizes = sorted({f"{camera.width}x{camera.height}" for camera in run.cameras})
    return details(run.config, run.metrics or {}, ", ".join(sizes[:3]) + (" and others" if len(sizes) > 3 else ""))


def _style() -> str:
    lines = Path(__file__).with_name("style.css").read_text(encoding="utf-8").splitlines()
    # The first line names the licence, for the source.
    return " ".join(line.strip() for line in lines[1:])

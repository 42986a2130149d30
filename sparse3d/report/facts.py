# SPDX-License-Identifier: Apache-2.0
"""The numbers of a run as parts of its page: what it reached, how long each part took, how it was made."""

from __future__ import annotations

import html
from typing import Any

from sparse3d.runs.config import RunConfig

_CAMERAS = {
    "given": "given with the scene",
    "sfm_train": "found from the training photos",
    "sfm_all": "found from all photos",
}
_PARTS = (("init", "loading and start"), ("train", "training"), ("eval", "comparing and writing"))
_BAR = 1000.0


def duration(seconds: float) -> str:
    """8.4 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


def summary(metrics: dict[str, Any]) -> str:
    """One sentence: photos, splats, time."""
    views = metrics["views"]
    photos = f"{views['train']} photo" + "s" * (views["train"] != 1)
    text = f"{metrics['num_splats']:,} splats from {photos}, in {duration(metrics['seconds']['total'])}."
    return f'<p class="summary">{text}</p>'


def tiles(metrics: dict[str, Any]) -> str:
    """The few numbers that say how good the scene is."""
    views, found = metrics["views"], []
    held = views.get("test_counted", views["test"])
    on = f"on {held} photo{'s' * (held != 1)} it never saw"
    names = (("psnr", "PSNR", ".1f", " dB"), ("ssim", "SSIM", ".3f", ""), ("lpips", "LPIPS", ".3f", ""))
    for key, name, form, unit in names:
        if metrics.get(key) is not None:
            found.append((f"{metrics[key]:{form}}{unit}", name, on))
    if metrics.get("psnr_aligned") is not None:
        found.append((f"{metrics['psnr_aligned']:.1f} dB", "PSNR, cameras aligned", on))
    coverage = metrics.get("coverage")
    if coverage is not None and coverage["unseen"] is not None:
        where = "the held-out photos show" if coverage["cameras"] == "held_out" else "views between the photos show"
        found.append((f"{coverage['unseen']:.0%}", "guessed", f"of what {where}"))
    if not held and views["test"]:
        found.append(("none", "measured", "masks leave nothing of the photos held out"))
    elif not held:
        found.append(("none", "held out", "so no unseen view is measured; sparse3d eval RUN --leave-one-out does"))
    cells = "".join(f"<li><b>{value}</b><span>{name}</span><small>{why}</small></li>" for value, name, why in found)
    return f'<ul class="tiles">{cells}</ul>'


def times(metrics: dict[str, Any]) -> str:
    """A bar of the parts, and what each took."""
    seconds = metrics["seconds"]
    known = [(name, float(seconds[key])) for key, name in _PARTS if key in seconds]
    rest = float(seconds["total"]) - sum(value for _, value in known)
    # Starting Python and its libraries, mostly.
    if rest > 0.05:
        known.append(("starting up and the rest", rest))
    total = sum(value for _, value in known) or 1.0
    at, bars, items = 0.0, [], []
    for number, (name, value) in enumerate(known):
        width = _BAR * value / total
        bars.append(f'<rect class="part{number}" x="{at:.1f}" y="0" width="{width:.1f}" height="16"/>')
        items.append(f'<li class="part{number}"><span>{name}</span><b>{duration(value)}</b></li>')
        at += width
    box = f'viewBox="0 0 {_BAR:.0f} 16" preserveAspectRatio="none"'
    return (
        f'<svg class="bar" {box} aria-hidden="true">{"".join(bars)}</svg>'
        f'<ul class="times">{"".join(items)}<li><span>altogether</span><b>{duration(seconds["total"])}</b></li></ul>'
    )


def details(config: RunConfig, metrics: dict[str, Any], sizes: str) -> str:
    """How the scene was made. sizes: of the photos as they were trained on, as 480x270."""
    views = metrics["views"]
    rows = [
        ("photos", f"{views['train']} trained on, {views['test']} held out; {sizes} pixels"),
        ("cameras", _CAMERAS.get(metrics["cameras"], metrics["cameras"])),
        ("preset", config.preset + (", with the settings for few photos" if config.few_views_applied else "")),
        ("steps", f"{metrics['steps']:,}"),
        ("memory", "" if metrics["peak_rss_mb"] is None else f"{metrics['peak_rss_mb']:,.0f} MB at its peak"),
        ("seed", str(metrics["seed"])),
        ("sparse3d", f"{metrics['version']}, {metrics['device']} kernels"),
    ]
    cells = "".join(f"<div><dt>{name}</dt><dd>{html.escape(value)}</dd></div>" for name, value in rows if value)
    return f'<dl class="details">{cells}</dl>'

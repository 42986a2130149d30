# SPDX-License-Identifier: Apache-2.0
"""What the terminal says when a run is done: how good it is, where its page is, one command to go on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparse3d.cli.terminal import duration, quote


def last_lines(metrics: dict[str, Any], run: Path, page: Path | None) -> str:
    """Three lines. page: report.html, None where it was not written; `sparse3d info RUN` has the whole table."""
    following = f"next: sparse3d export {quote(run)} {quote(run / 'phone.html')} --max-size 2MB"
    return "\n".join([_quality(metrics), _page(run, page), following])


def _quality(metrics: dict[str, Any]) -> str:
    views = metrics["views"]
    held = views.get("test_counted", views["test"])
    if held < views["test"] and metrics["psnr"] is None:
        text = "quality: masks leave nothing of the held-out photos to measure with"
    elif metrics["psnr"] is None:
        text = "quality: no photo was held out to measure with"
    else:
        text = f"quality: PSNR {metrics['psnr']:.2f} dB, SSIM {metrics['ssim']:.4f} on {held} held-out photo"
        text += "s" * (held != 1)
    if metrics.get("psnr_aligned") is not None:
        text += f" ({metrics['psnr_aligned']:.2f} dB with their cameras aligned)"
    coverage = metrics.get("coverage")
    if coverage is not None and coverage["unseen"] is not None:
        where = "they show" if coverage["cameras"] == "held_out" else "views between the photos show"
        text += f"; {coverage['unseen']:.0%} of what {where} was guessed"
    return f"{text}; {duration(metrics['seconds']['total'])}"


def _page(run: Path, page: Path | None) -> str:
    if page is None:
        return f"run folder: {run}"
    return f"page: {page} ({page.stat().st_size / 1e6:.1f} MB, opens in any browser)"

# SPDX-License-Identifier: Apache-2.0
"""The table of what a run reached, and columns of one width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparse3d.cli.terminal import duration

_NOT_HELD_OUT = "no photo was held out: train with --test-every 4, or use `sparse3d eval RUN --leave-one-out`"
_CAMERAS = {
    "given": "given with the scene",
    "sfm_train": "from structure from motion on the training photos",
    "sfm_all": "from structure from motion on all photos",
}


def result_table(metrics: dict[str, Any]) -> str:
    """The values of metrics.json, a row each; says what a missing value would need."""
    views, seconds = metrics["views"], metrics["seconds"]
    held_out = views["test"] > 0
    counted = views.get("test_counted", views["test"])
    photos = f"{counted} held-out photo{'s' if counted != 1 else ''}"
    if counted < views["test"]:
        photos += f" ({views['test'] - counted} more masked wholly)"
    lpips_note = "give the weights with --lpips-weights FILE" if held_out else _NOT_HELD_OUT
    rows = [
        ("PSNR", _number(metrics["psnr"], ".2f", " dB"), photos if held_out else _NOT_HELD_OUT),
        ("SSIM", _number(metrics["ssim"], ".4f"), photos if held_out else ""),
        (
            "LPIPS",
            _number(metrics["lpips"], ".4f"),
            photos if metrics["lpips"] is not None else lpips_note if held_out else "",
        ),
        ("splats", f"{metrics['num_splats']:,}", f"{metrics['steps']} steps on {views['train']} photos"),
        ("time", duration(seconds["total"]), _seconds(seconds)),
        ("memory", _number(metrics["peak_rss_mb"], ".0f", " MB"), "of all processes at their peak"),
        ("cameras", metrics["cameras"], _CAMERAS.get(metrics["cameras"], "")),
    ]
    if metrics.get("psnr_aligned") is not None:
        why = "each held-out camera moved to fit its photo, splats frozen"
        rows.insert(2, ("PSNR aligned", _number(metrics["psnr_aligned"], ".2f", " dB"), why))
        rows.insert(3, ("SSIM aligned", _number(metrics["ssim_aligned"], ".4f"), why))
    coverage = metrics.get("coverage")
    if coverage is not None and coverage["unseen"] is not None:
        where = "held-out photos' cameras" if coverage["cameras"] == "held_out" else "cameras between the photos"
        supported = f"one photo supports {coverage['one_view']:.0%}, more support {coverage['two_or_more']:.0%}"
        rows.append(("guessed", f"{coverage['unseen']:.0%}", f"of what {where} see; {supported}"))
    if metrics.get("psnr_full") is not None:
        rows.insert(2, ("PSNR whole", _number(metrics["psnr_full"], ".2f", " dB"), "outside of the masks too"))
        rows.insert(3, ("SSIM whole", _number(metrics["ssim_full"], ".4f"), "outside of the masks too"))
    if metrics.get("alpha_error") is not None:
        where = photos if held_out else f"{views['train']} training photos"
        rows.insert(3, ("alpha error", f"{metrics['alpha_error']:.4f}", f"mean difference from the alpha of {where}"))
    if metrics.get("psnr_native") is not None:
        rows.insert(
            1, ("PSNR full size", _number(metrics["psnr_native"], ".2f", " dB"), "with all pixels of the photos")
        )
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of one width each, two spaces between them."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows)


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _seconds(seconds: dict[str, float]) -> str:
    parts = [("loading and initial points", "init"), ("training", "train"), ("evaluation", "eval")]
    return ", ".join(f"{seconds[key]:.1f} s {what}" for what, key in parts if key in seconds)

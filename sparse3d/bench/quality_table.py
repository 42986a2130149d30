# SPDX-License-Identifier: Apache-2.0
"""The result of `bench quality` as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

TUNING = "tuning draw, not the protocol"


def markdown(result: dict[str, Any]) -> str:
    """Heading, the table of rows, the table of the ablation where there is one, and a line for each run that failed."""
    lines = [_heading(result), "", *_table(result["rows"])]
    if result["ablation"]:
        lines += [
            "",
            "Left out one at a time, paired by seed. Difference: PSNR without it minus PSNR with it, so that what "
            "helps is negative; ± is the standard deviation of the paired differences.",
            "",
            *_ablation(result["ablation"]),
        ]
    failed = [f"- {cell['cell']}: {cell['why']}" for cell in result["cells"] if not cell["ok"]]
    if failed:
        lines += ["", f"Failed: {len(failed)} of {len(result['cells'])} runs", "", *failed]
    return "\n".join(lines) + "\n"


def _heading(result: dict[str, Any]) -> str:
    seeds = ", ".join(map(str, result["seeds"]))
    text = (
        f"Protocol {result['protocol']}, preset {result['preset']}, seeds {seeds}, sparse3d {result['version']}. "
        "PSNR: mean ± standard deviation over seeds; the other values are means, memory is the largest."
    )
    if result["options"]:
        text += f" Options of every run: `{' '.join(result['options'])}`."
    return f"{text} **{TUNING.capitalize()}.**" if result["tuning"] else text


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    out = [
        "| scene | views | PSNR, dB | SSIM | LPIPS | seconds | memory, MB | splats | protocol |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        views = f"{row['views']} ({row['draw']})" if row["draw"] else f"{row['views']}"
        psnr = _with_sd(row["psnr"], row["psnr_sd"], ".2f")
        if row["failed"]:
            ended = row["runs"] - len(row["failed"])
            psnr = f"failed: {_cell(row['failed'][0])}" if not ended else f"{psnr} ({ended} of {row['runs']} runs)"
        cells = [
            f"{row['scene']}, inside masks" if row["masked"] else row["scene"],
            views,
            psnr,
            _number(row["ssim"], ".3f"),
            _number(row["lpips"], ".3f"),
            _number(row["seconds"], ".0f"),
            _number(row["peak_rss_mb"], ".0f"),
            _number(row["num_splats"], ",.0f"),
            _cell(row["protocol"]),
        ]
        out.append(f"| {' | '.join(cells)} |")
    return out


def _ablation(rows: Sequence[dict[str, Any]]) -> list[str]:
    out = [
        "| scene | views | without | PSNR with, dB | PSNR without, dB | difference, dB | pairs |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row["scene"],
            "all" if row["views"] is None else str(row["views"]),
            row["without"],
            _number(row["psnr_with"], ".2f"),
            _number(row["psnr_without"], ".2f"),
            _with_sd(row["difference"], row["difference_sd"], "+.2f"),
            str(row["pairs"]),
        ]
        out.append(f"| {' | '.join(cells)} |")
    return out


def _with_sd(value: float | None, spread: float | None, form: str) -> str:
    text = _number(value, form)
    return text if spread is None else f"{text} ± {spread:.2f}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _cell(text: str) -> str:
    """A bar would end the cell, a line break the table."""
    return " ".join(text.replace("|", "/").split())

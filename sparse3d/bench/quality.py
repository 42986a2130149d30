# SPDX-License-Identifier: Apache-2.0
"""`bench quality`: does the planned runs, each in a process of its own, and writes their results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sparse3d import config as configs
from sparse3d.bench.ablation import chosen, paired, switches
from sparse3d.bench.cells import Cell, run_cell, stored_cell
from sparse3d.bench.quality_plan import Plan, QualityConfig, Resolve, without
from sparse3d.bench.quality_table import markdown
from sparse3d.bench.statistics import rows
from sparse3d.errors import UsageError
from sparse3d.formats.atomic import atomic_file
from sparse3d.runs.config import RunConfig


def run(
    planned: Plan, cfg: QualityConfig, out: Path, resolve: Resolve, *, resume: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Run every cell that an earlier measurement in `out` (with resume) has not finished; then the ablation.

    Writes out/results.json and out/table.md after every run; returns what stands in results.json. A failed run does
    not stop the others. Raises UsageError if `out` is not empty and resume is not given.
    """
    _check_out(out, resume)
    done: list[dict[str, Any]] = []

    def one(cell: Cell, count: str) -> dict[str, Any]:
        record = stored_cell(cell, out / "runs") if resume else None
        kept = record is not None
        if record is None:
            record = run_cell(cell, out / "runs", cfg.lpips_weights)
        done.append(record)
        write(out, result(planned, cfg, done))
        say(f"{count}: {cell.title}: {_said(record)}{', kept' if kept else ''}")
        return record

    for number, cell in enumerate(planned.cells, 1):
        one(cell, f"{number} of {len(planned.cells)}")
    if cfg.ablate:
        less = [
            without(cell, switch, cfg, resolve)
            for cell, record in zip(planned.cells, list(done), strict=True)
            if record["ok"] and cell.selection.key != "ceiling"
            for switch in chosen(switches(_run_config(out / "runs" / cell.name)), cfg.only)
        ]
        if not less:
            say("ablation: nothing is on that could be left out")
        for number, cell in enumerate(less, 1):
            one(cell, f"ablation, {number} of {len(less)}")
    return result(planned, cfg, done)


def result(planned: Plan, cfg: QualityConfig, cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What results.json holds."""
    from sparse3d.runs.report import package_version

    return {
        "schema": 1,
        "protocol": cfg.protocol,
        "preset": cfg.preset,
        "seeds": list(range(cfg.seeds)),
        "options": list(cfg.options),
        "tuning": cfg.tuning,
        "version": package_version(),
        "rows": rows([cell for cell in cells if cell["without"] is None], planned.verdicts),
        "ablation": paired(cells),
        "cells": list(cells),
    }


def write(out: Path, values: dict[str, Any]) -> None:
    """results.json and table.md, each whole or as it was."""
    for name, text in (
        ("results.json", json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"),
        ("table.md", markdown(values)),
    ):
        with atomic_file(out / name) as file:
            file.write(text.encode("utf-8"))


def _check_out(out: Path, resume: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out wants a folder")
    if not resume and out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty; give --resume to keep the runs in it that fit, or another --out")


def _run_config(folder: Path) -> RunConfig:
    return configs.resolve(RunConfig(), [configs.read_layer(folder / "config.toml")])


def _said(record: dict[str, Any]) -> str:
    if not record["ok"]:
        return f"failed: {record['why']}"
    shown = ["no PSNR" if record["psnr"] is None else f"PSNR {record['psnr']:.2f} dB"]
    shown += [] if record["ssim"] is None else [f"SSIM {record['ssim']:.3f}"]
    shown.append(f"{record['seconds']['total']:.0f} s")
    shown += [] if record["peak_rss_mb"] is None else [f"{record['peak_rss_mb']:.0f} MB"]
    return ", ".join([*shown, f"{record['num_splats']:,} splats"])

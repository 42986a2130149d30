# SPDX-License-Identifier: Apache-2.0
"""Mean and standard deviation of runs, the rows that sum them up, and the table made of the rows."""

from __future__ import annotations

from typing import Any

import pytest

from sparse3d.bench.quality_table import markdown
from sparse3d.bench.statistics import mean, rows, sd


def cell(seed: int = 0, psnr: float | None = 20.0, draw: str = "", **values: Any) -> dict[str, Any]:
    record = {
        "cell": f"fern-3v-s{seed}{draw}", "scene": "fern", "views": 3, "seed": seed, "draw": draw, "without": None,
        "ok": True, "psnr": psnr, "ssim": 0.5, "lpips": None, "seconds": {"total": 10.0}, "peak_rss_mb": 400.0,
        "num_splats": 1000,
    }  # fmt: skip
    return record | values


def result(cells: list[dict[str, Any]], verdicts: dict[tuple[str, int, str], str], **values: Any) -> dict[str, Any]:
    record = {
        "protocol": "llff", "preset": "default", "seeds": [0, 1, 2], "options": [], "tuning": False, "version": "0.1.0",
        "rows": rows(cells, verdicts), "ablation": [], "cells": cells,
    }  # fmt: skip
    return record | values


def test_mean_and_sd_of_the_sample() -> None:
    # The three runs of fern that docs/quality.md gives: 19.24 and 0.44.
    values = [18.76, 19.35, 19.61]
    assert mean(values) == pytest.approx(19.24)
    assert sd(values) == pytest.approx(0.43555, abs=1e-5)
    assert sd([2.0, 4.0]) == pytest.approx(2.0**0.5)
    assert sd([3.0]) is None
    assert mean([]) is None
    assert sd([]) is None


def test_one_row_over_seeds() -> None:
    cells = [
        cell(0, 18.76, seconds={"total": 80.0}, peak_rss_mb=500.0, num_splats=1000),
        cell(1, 19.35, seconds={"total": 90.0}, peak_rss_mb=700.0, num_splats=2000),
        cell(2, 19.61, seconds={"total": 100.0}, peak_rss_mb=600.0, num_splats=3000),
    ]
    (row,) = rows(cells, {("fern", 3, ""): "exact"})
    assert (row["runs"], row["protocol"], row["failed"], row["lpips"]) == (3, "exact", [], None)
    assert (row["seconds"], row["peak_rss_mb"], row["num_splats"]) == (90.0, 700.0, 2000.0)
    table = markdown(result(cells, {("fern", 3, ""): "exact"})).splitlines()
    assert table[0].startswith("Protocol llff, preset default, seeds 0, 1, 2, sparse3d 0.1.0.")
    assert table[2] == "| scene | views | PSNR, dB | SSIM | LPIPS | seconds | memory, MB | splats | protocol |"
    assert table[4] == "| fern | 3 | 19.24 ± 0.44 | 0.500 | - | 90 | 700 | 2,000 | exact |"


def test_the_row_over_draws_has_the_spread_of_the_seeds_only() -> None:
    cells = [cell(0, 10.0, "draw 0"), cell(1, 11.0, "draw 0"), cell(0, 30.0, "draw 1"), cell(1, 31.0, "draw 1")]
    verdicts = {("fern", 3, "draw 0"): "tuning draw, not the protocol", ("fern", 3, "draw 1"): "x"}
    found = rows(cells, verdicts)
    assert [row["draw"] for row in found] == ["draw 0", "draw 1", "mean of 2"]
    assert found[2]["psnr"] == pytest.approx(20.5)
    assert found[2]["psnr_sd"] == pytest.approx(0.5**0.5)
    text = markdown(result(cells, verdicts, tuning=True))
    assert "**Tuning draw, not the protocol.**" in text
    assert "| fern | 3 (mean of 2) | 20.50 ± 0.71 |" in text


def test_a_failed_run_is_a_row_that_says_why() -> None:
    bad = {**cell(0), "ok": False, "why": "photo 1|2 is cut off\n(exit code 3)"}
    verdicts = {("fern", 3, ""): "exact"}
    text = markdown(result([bad], verdicts))
    assert "| fern | 3 | failed: fern-3v-s0: photo 1/2 is cut off (exit code 3) | - | - | - | - | - | exact |" in text
    assert "Failed: 1 of 1 runs" in text
    assert "| fern | 3 | 21.00 (1 of 2 runs) |" in markdown(result([bad, cell(1, 21.0)], verdicts))
    # A seed of which one draw failed is left out of the mean over draws.
    drawn = [cell(0, 10.0, "draw 0"), {**cell(0, draw="draw 1"), "ok": False, "why": "no"}, cell(1, 14.0, "draw 0"),
             cell(1, 16.0, "draw 1")]  # fmt: skip
    over = rows(drawn, {("fern", 3, "draw 0"): "t", ("fern", 3, "draw 1"): "t"})[2]
    assert (over["psnr"], over["psnr_sd"], len(over["failed"])) == (15.0, None, 1)


def test_masked_values_are_said_to_be() -> None:
    text = markdown(result([cell(psnr_full=18.0)], {("fern", 3, ""): "exact"}))
    assert "| fern, inside masks | 3 | 20.00 |" in text

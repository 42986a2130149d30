# SPDX-License-Identifier: Apache-2.0
"""Mean and standard deviation of a few runs, and the rows that sum up the runs of one measurement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def mean(values: Sequence[float]) -> float | None:
    """None without values."""
    return math.fsum(values) / len(values) if values else None


def sd(values: Sequence[float]) -> float | None:
    """Standard deviation of the sample (divided by n - 1); None for fewer than two values."""
    middle = mean(values)
    if middle is None or len(values) < 2:
        return None
    return math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))


def rows(cells: Sequence[dict[str, Any]], verdicts: dict[tuple[str, int, str], str]) -> list[dict[str, Any]]:
    """One row for each scene, number of views and draw, over its seeds; where there are draws, also one over them.

    cells: whole runs (nothing left out), as `cells.run_cell` returns them. verdicts: by (scene, views, draw) what
    stands in the column `protocol`. The row over draws has the sd of the seeds' means: that the draws differ from each
    other is not noise.
    """
    groups: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["scene"], cell["views"], cell["draw"]), []).append(cell)
    out = []
    for key, group in groups.items():
        seeds = [[cell] for cell in group]
        out.append(_row(key, seeds, verdicts[key]))
    drawn: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for cell in cells:
        if cell["draw"] not in ("", "ceiling"):
            drawn.setdefault((cell["scene"], cell["views"]), []).append(cell)
    for (scene, views), group in drawn.items():
        numbers = sorted({cell["seed"] for cell in group})
        draws = len({cell["draw"] for cell in group})
        if draws > 1:
            by_seed = [[cell for cell in group if cell["seed"] == seed] for seed in numbers]
            verdict = verdicts[scene, views, group[0]["draw"]]
            out.append(_row((scene, views, f"mean of {draws}"), by_seed, verdict))
    return out


def _row(key: tuple[str, int, str], by_seed: Sequence[Sequence[dict[str, Any]]], verdict: str) -> dict[str, Any]:
    scene, views, draw = key
    every = [cell for seed in by_seed for cell in seed]
    good = [cell for cell in every if cell["ok"]]
    # A seed counts only if all its runs succeeded: a mean over other draws would be of other photos.
    whole = [seed for seed in by_seed if all(cell["ok"] and cell["psnr"] is not None for cell in seed)]
    psnr = [value for seed in whole if (value := mean([cell["psnr"] for cell in seed])) is not None]
    memory = [cell["peak_rss_mb"] for cell in good if cell["peak_rss_mb"] is not None]
    return {
        "scene": scene,
        "views": views,
        "draw": draw,
        "runs": len(every),
        "psnr": mean(psnr),
        "psnr_sd": sd(psnr),
        "ssim": _mean_of(good, "ssim"),
        "lpips": _mean_of(good, "lpips"),
        "masked": any(cell.get("psnr_full") is not None for cell in good),
        "seconds": mean([cell["seconds"]["total"] for cell in good]),
        "peak_rss_mb": max(memory) if memory else None,
        "num_splats": mean([cell["num_splats"] for cell in good]),
        "protocol": verdict,
        "failed": [f"{cell['cell']}: {cell['why']}" for cell in every if not cell["ok"]],
    }


def _mean_of(cells: Sequence[dict[str, Any]], name: str) -> float | None:
    return mean([cell[name] for cell in cells if cell.get(name) is not None])

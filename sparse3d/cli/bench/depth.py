# SPDX-License-Identifier: Apache-2.0
"""`sparse3d bench depth`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparse3d.cli.parse import parse
from sparse3d.cli.table import aligned
from sparse3d.cli.terminal import Bar, say


@dataclass(frozen=True)
class Args:
    """Compare dense depth of few photos with the truth, beside OpenCV's StereoSGBM on the same photos. The truth is
    depth/NAME.png in the scene (16-bit, millimetres); without it, our own depth from many photos, where at least four
    others confirm it: a stand-in that leans towards our own method."""

    scene: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SCENE")]
    """Folder of the scene."""
    views: str = "4"
    """Positions of photos in the sorted names (22,25,28); or a number: every photo with a depth file (without any, the
    middle photo) together with its nearest others."""
    max_side: int | None = None
    """Shrink photos so that the longer side is at most this many pixels."""
    truth: Literal["auto", "files", "photos", "none"] = "auto"
    """What is compared with: depth files, our depth of many photos, or nothing (only the seconds count)."""
    threads: int = 0
    """Threads of the kernels (0: one a core); OpenCV takes its own."""
    json: bool = False
    """One JSON object instead of a table."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="bench depth")
    from sparse3d.bench import depth
    from sparse3d.kernels import cpu
    from sparse3d.load.config import SceneConfig
    from sparse3d.load.scene import load_scene

    cpu.set_threads(args.threads)
    with Bar("loading") as bar:
        cfg = SceneConfig(max_side="full" if args.max_side is None else args.max_side, test_every=0)
        scene = load_scene(args.scene, cfg, progress=lambda what, f: bar.show(f, what))
    try:
        result = depth.run(scene, depth.DepthBenchConfig(args.views, args.truth), say)
    finally:
        scene.images.close()
    if args.json:
        print(json.dumps(result, allow_nan=False))
        return 0
    rows = [("method", "complete", "median error", "within 1 %", "within 5 %", "seconds")]
    rows += [
        (row["method"], *(_percent(row[key]) for key in ("complete", "median_error", "within_1", "within_5")),
         f"{row['seconds']:.1f}")
        for row in result["methods"]
    ]  # fmt: skip
    print(aligned(rows))
    return 0


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"

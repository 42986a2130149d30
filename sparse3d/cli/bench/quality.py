# SPDX-License-Identifier: Apache-2.0
"""`sparse3d bench quality`."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparse3d import config as configs
from sparse3d.cli.parse import parse
from sparse3d.cli.run_args import parse_run
from sparse3d.cli.terminal import quote, say
from sparse3d.errors import UsageError
from sparse3d.runs.config import RunConfig

_EXIT_FAILED = 1


@dataclass(frozen=True)
class Args:
    """Train with the photos of a published protocol and compare with its test photos: mean and standard deviation over
    seeds. Each run is a process and a folder of its own. What stands behind a lone -- goes to every training run:
    sparse3d bench quality --protocol llff fern -- --threads 1"""

    scenes: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SCENE")]
    """Folders of scenes."""
    protocol: Literal["llff", "dtu", "blender", "every8", "none"]
    """Which photos train and test, their size and background; none: the scene's own split."""
    views: str = "3"
    """Numbers of training photos: 3,6,9."""
    seeds: int = 3
    """So many runs of each, with the seeds 0, 1, 2, ..."""
    preset: str = "default"
    """fast, default or quality: how much effort."""
    ceiling: bool = False
    """First measure what all training photos give on the same test photos, with the preset quality."""
    ablate: bool = False
    """Then leave out each training term and start that is on, one at a time, paired by seed."""
    ablate_only: str | None = None
    """Leave out only these: names of settings with commas between (dropout,dense)."""
    draw: int = 0
    """For tuning: so many random choices of training and test photos from those that the protocol never tests on."""
    leave_one_out: bool = False
    """For tuning: hold out each of the protocol's training photos in turn."""
    out: Path | None = None
    """Folder for the runs, table.md and results.json (default: runs/quality-DATE-TIME)."""
    resume: bool = False
    """Keep the runs in --out that are finished and have the same settings."""
    lpips_weights: Path | None = None
    """Weights of LPIPS (safetensors); without them lpips is null."""
    json: bool = False
    """The content of results.json on stdout instead of the table."""


def main(words: Sequence[str]) -> int:
    own, options = _split(words)
    args = parse(Args, own, prog="bench quality")
    out = args.out if args.out is not None else Path("runs") / f"quality-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    from sparse3d.bench.quality import run
    from sparse3d.bench.quality_plan import QualityConfig, plan
    from sparse3d.bench.quality_table import markdown
    from sparse3d.cli.train import signals_stop

    cfg = QualityConfig(
        protocol=args.protocol, views=_numbers(args.views), seeds=args.seeds, preset=args.preset,
        options=tuple(options), ceiling=args.ceiling, ablate=args.ablate or args.ablate_only is not None,
        only=args.ablate_only, draws=args.draw, leave_one_out=args.leave_one_out, lpips_weights=args.lpips_weights,
    )  # fmt: skip
    planned = plan(args.scenes, cfg, _resolve)
    say(f"preset {cfg.preset}: {configs.preset_purpose(cfg.preset)}")
    say(f"{len(planned.cells)} runs into {out}")
    for (scene, views, draw), verdict in planned.verdicts.items():
        say(f"{scene}, {views} views{f', {draw}' if draw else ''}: protocol: {verdict}")
    try:
        with signals_stop(threading.Event(), lambda: False):
            result = run(planned, cfg, out, _resolve, resume=args.resume, say=say)
    except KeyboardInterrupt:
        say(f"stopped; finished runs are in {out}, go on with the same command and --out {quote(out)} --resume")
        raise
    print(json.dumps(result, allow_nan=False) if args.json else markdown(result), end="\n" if args.json else "")
    return 0 if all(cell["ok"] for cell in result["cells"]) else _EXIT_FAILED


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before and after the first lone --."""
    if "--" not in words:
        return list(words), []
    at = list(words).index("--")
    return list(words[:at]), list(words[at + 1 :])


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise UsageError(f"--views {text}: give numbers of training photos with commas between (3,6,9)")
    return tuple(map(int, parts))


def _resolve(words: Sequence[str]) -> RunConfig:
    from sparse3d.cli.train import Args as TrainArgs

    return parse_run(TrainArgs, words, prog="train")[1]

# SPDX-License-Identifier: Apache-2.0
"""`sparse3d bench train`."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparse3d.cli.run_args import RunArgs, changed_settings, parse_run
from sparse3d.cli.table import aligned
from sparse3d.cli.terminal import duration, say

# Steps between evaluations where none is given: fine enough for a curve over a few thousand steps.
_EVAL_EVERY = 100


@dataclass(frozen=True)
class Args(RunArgs):
    """Time a training run until its held-out PSNR reaches a value. Nothing is written; evaluations are not counted."""

    until_psnr: float | None = None
    """End the run when an evaluation reaches this, in dB (default: run all steps)."""
    limit: float = 240.0
    """End the run after this many seconds of training."""
    json: bool = False
    """One JSON object on stdout instead of a table."""


def main(words: Sequence[str]) -> int:
    args, cfg = parse_run(Args, words, prog="bench train")
    if cfg.train.eval_every == 0 and "train.eval_every" not in cfg.given:
        cfg = replace(cfg, train=replace(cfg.train, eval_every=_EVAL_EVERY))
    say(f"preset {cfg.preset}: {', '.join(changed_settings(cfg))}")
    from sparse3d.bench.train import TrainBenchConfig, run
    from sparse3d.cli.events import TerminalReader
    from sparse3d.cli.train import EXIT_INTERRUPTED, signals_stop

    stop, interrupted = threading.Event(), threading.Event()
    with TerminalReader() as reader, signals_stop(interrupted, reader.is_training):

        def handle(event: Any) -> None:
            if interrupted.is_set():
                stop.set()
            reader.handle(event)

        bench = TrainBenchConfig(until_psnr=args.until_psnr, limit_s=args.limit)
        result = run(cfg, bench, stop=stop, handle=handle, progress=reader.progress)
    if args.json:
        print(json.dumps(result, allow_nan=False))
    else:
        _print(result)
    return EXIT_INTERRUPTED if interrupted.is_set() else 0


def _print(result: dict[str, Any]) -> None:
    rows = [("seconds", "step", "PSNR", "splats")]
    rows += [(f"{p['s']:.1f}", f"{p['step']}", f"{p['psnr']:.2f}", f"{p['num_splats']:,}") for p in result["curve"]]
    print(aligned(rows))
    if result["until_psnr"] is not None:
        reached = f"{result['s_to_psnr']:.1f} s" if result["s_to_psnr"] is not None else "not reached"
        print(f"{result['until_psnr']:g} dB: {reached}")
    seconds = result["seconds"]
    print(
        f"training {duration(seconds['train'])}, evaluations (not counted) {duration(seconds['eval'])}, "
        f"loading and initial points {duration(seconds['init'])}"
    )

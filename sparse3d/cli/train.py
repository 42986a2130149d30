# SPDX-License-Identifier: Apache-2.0
"""`sparse3d train`: reads the trainer's events and tells them, and passes Ctrl-C on."""

from __future__ import annotations

import contextlib
import datetime
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse3d import config as configs
from sparse3d.cli import context
from sparse3d.cli.report import open_page, report_of
from sparse3d.cli.run_args import RunArgs, changed_settings, parse_run
from sparse3d.cli.terminal import quote, say
from sparse3d.errors import UsageError
from sparse3d.runs.config import RunConfig

EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Args(RunArgs):
    """Train Gaussian splats from photos. The run folder holds report.html, splat.ply, metrics.json and what a resumed
    run needs. Defaults lie under the preset, the preset under what is given by hand."""

    out: Path | None = None
    """Run folder (default: runs/SCENE-DATE-TIME in the current folder)."""
    resume: bool = False
    """Go on with the run in --out; ends with the same bits as if it had not been interrupted."""
    overwrite: bool = False
    """Replace the run in --out."""
    lpips_weights: Path | None = None
    """Weights of LPIPS (safetensors); without them lpips is null."""
    open: bool = False
    """Open the run's page, report.html, in the browser at the end."""
    report: bool = True
    """Write no report.html."""
    json: bool = False
    """One event a line on stdout, and nothing else there."""


def main(words: Sequence[str]) -> int:
    args, cfg = parse_run(Args, words, prog="train")
    if args.open and not args.report:
        raise UsageError("--open opens report.html, which --no-report leaves out; drop one of them")
    out = _out_folder(args, cfg)
    say(f"run folder: {out}")
    say(f"preset {cfg.preset}: {configs.preset_purpose(cfg.preset)}")
    changes = changed_settings(cfg)
    if changes:
        say(f"settings: {', '.join(changes)}")
    # Torch is imported here, after everything that can be said without it.
    from sparse3d.cli.events import JsonReader, TerminalReader
    from sparse3d.loss import Lpips
    from sparse3d.runs.pipeline import run_training
    from sparse3d.train.loop import Around

    lpips = None if args.lpips_weights is None else Lpips(args.lpips_weights)
    stop = threading.Event()
    reader = JsonReader(stop) if args.json else TerminalReader()
    context.set_run_folder(out)
    with reader, signals_stop(stop, reader.is_training):
        run = run_training(
            cfg, out, resume=args.resume, overwrite=args.overwrite, around=Around(stop=stop, lpips=lpips),
            progress=reader.progress, started_at=context.began,
        )  # fmt: skip
        metrics = _drain(run, reader.handle)
    if metrics is None:
        say(f"stopped, everything is saved; go on with:\n  sparse3d train --out {quote(out)} --resume")
        return EXIT_INTERRUPTED
    page = report_of(out) if args.report else None
    reader.result(metrics, out, page)
    if args.open and page is not None:
        open_page(page)
    return 0


def _drain(run: Any, handle: Callable[[Any], None]) -> dict[str, Any] | None:
    """Pass every event on and return what the generator returns."""
    while True:
        try:
            event = next(run)
        except StopIteration as end:
            return end.value
        handle(event)


@contextlib.contextmanager
def signals_stop(stop: threading.Event, is_training: Callable[[], bool]) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) in the loop sets `stop`, so that the trainer saves and ends; the second, and one
    outside of the loop, where there is nothing to save, ends at once."""

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set() or not is_training():
            raise KeyboardInterrupt
        stop.set()
        say("stopping after this step (Ctrl-C again ends at once; the last checkpoint stays)")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _out_folder(args: Args, cfg: RunConfig) -> Path:
    if args.resume and args.out is None:
        raise UsageError("--resume needs --out RUN: which run shall go on?")
    return args.out if args.out is not None else default_out(Path(cfg.scene_path))


def default_out(scene: Path) -> Path:
    """runs/SCENE-DATE-TIME, the scene's name without what a shell or a file system trips over."""
    resolved = scene.resolve()
    name = resolved.parent.name if resolved.name == "transforms.json" else resolved.stem
    name = re.sub(r"[^\w.-]+", "_", name).strip("._") or "scene"
    return Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"

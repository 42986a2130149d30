# SPDX-License-Identifier: Apache-2.0
"""`sparse3d clean`: removes floaters from a run's splats or a file of splats."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from sparse3d.cli.judging import judging_scene
from sparse3d.cli.parse import parse
from sparse3d.cli.run_args import SceneArgs, given_options
from sparse3d.cli.table import aligned
from sparse3d.cli.terminal import Bar, say
from sparse3d.errors import UsageError
from sparse3d.judge.floater_config import FloaterConfig
from sparse3d.train.config import TrainConfig

_WHAT = {
    "outside": "outside the visual hull of the masks",
    "front": "in front of what photos show",
    "dense": "in front of dense depth",
    "harmful": "less error without them",
    "stray": "alone beside the photos, near a camera",
    "isolated": "far from all others",
    "faint": "nearly transparent",
    "useless": "without weight in any photo",
}


@dataclass(frozen=True)
class Args:
    """Remove floaters: splats in front of what the photos show, lone ones that no photo asks for, and nearly
    transparent ones. Photos decide; without a scene, neighbours and opacity alone."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """Run folder, or a file of splats."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """File of splats to write."""
    scene: Path | None = None
    """Photos with cameras, in the frame of the splats (default: a run's own, and its training photos)."""
    load: Annotated[SceneArgs, tyro.conf.arg(name="")] = field(default_factory=SceneArgs)
    """Scene loading, as for train."""
    floaters: FloaterConfig = field(default_factory=FloaterConfig)
    """Which splats are floaters."""
    force: bool = False
    """Remove also more than --floaters.max-share of the splats."""
    threads: int = 0
    """Threads of the kernels (0: one a core). The result does not depend on it."""
    drop_invalid: bool = False
    """Leave out splats that hold NaN or infinite values, and count them."""
    overwrite: bool = False
    """Replace OUT where it exists."""
    json: bool = False
    """One JSON object instead of a table."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="clean")
    from sparse3d import formats
    from sparse3d.kernels import cpu
    from sparse3d.records.frame import frame_of_splats
    from sparse3d.runs.clean import clean
    from sparse3d.runs.finished import FinishedRun, is_run, splat_file

    formats.format_for_suffix(args.out)
    if args.out.is_dir():
        raise UsageError(f"{args.out}: is a folder; OUT is the file to write, as clean.ply")
    if args.out.exists() and not args.overwrite:
        raise UsageError(f"{args.out}: exists; add --overwrite to replace it, or choose another OUT")
    run = FinishedRun.open(args.source) if is_run(args.source) else None
    splats, left_out = formats.read_with_notes(splat_file(args.source), drop_invalid=args.drop_invalid)
    for note in left_out:
        say(f"note: {note}")
    cpu.set_threads(args.threads)
    began = time.perf_counter()
    with judging_scene(args, run, given_options(words)) as scene:
        photos = 0 if scene is None else len(scene.train)
        with Bar("looking for floaters") as bar:
            bar.show(None, f"{photos} photos" if photos else "without photos")
            cfg = TrainConfig() if run is None else run.config.train
            frame = frame_of_splats(splats) if scene is None else scene.frame
            done = clean(frame.splats_in(splats), scene, cfg, args.floaters, forced=args.force)
    for note in formats.write(args.out, frame.splats_out(done.splats, splats.origin)):
        say(f"note: {note}")
    result = {
        "in": str(args.source), "out": str(args.out), "photos": photos, "splats_before": splats.num_splats,
        "splats_after": done.splats.num_splats, "removed": done.counts,
        "psnr_train": [done.before.train, done.after.train], "psnr_test": [done.before.test, done.after.test],
        "seconds": round(time.perf_counter() - began, 3),
    }  # fmt: skip
    if args.json:
        print(json.dumps(result, allow_nan=False))
    else:
        _print(result)
    return 0


def _print(result: dict[str, Any]) -> None:
    before, after = result["splats_before"], result["splats_after"]
    share = (before - after) / before
    rows = [("splats", f"{before:,} -> {after:,}", f"{before - after:,} removed, {share:.1%}")]
    rows += [(f"  {name}", f"{number:,}", _WHAT[name]) for name, number in result["removed"].items()]
    for key, what in (("psnr_train", "the training photos"), ("psnr_test", "the held-out photos")):
        first, last = result[key]
        if first is not None and last is not None:
            rows.append(("PSNR", f"{first:.2f} -> {last:.2f} dB", what))
    by = f"judged by {result['photos']} photos" if result["photos"] else "without photos (--scene): neighbours, opacity"
    rows.append(("time", f"{result['seconds']:.1f} s", by))
    print(aligned(rows))
    print(result["out"])

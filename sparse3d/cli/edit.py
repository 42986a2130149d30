# SPDX-License-Identifier: Apache-2.0
"""`sparse3d edit`: makes the edits of a script or a project, as the viewer would."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from sparse3d.cli.judging import judging_scene
from sparse3d.cli.parse import parse
from sparse3d.cli.run_args import SceneArgs, given_options
from sparse3d.cli.table import aligned
from sparse3d.cli.terminal import say
from sparse3d.errors import UsageError

if TYPE_CHECKING:
    from sparse3d.edit import Context, Document, EditJudge, Outcome
    from sparse3d.records.scene import Scene
    from sparse3d.runs.finished import FinishedRun

_PROJECT = ".s3dproj"


@dataclass(frozen=True)
class Args:
    """Make edits in their order: select, delete, move, recolour, crop, remove by criterion, merge. docs/viewer.md lists
    all of them. OUT is a file of splats, or a project (.s3dproj) that keeps the edits beside an unchanged IN."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """File of splats, run folder, or project (.s3dproj)."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """File to write: splats of any written format, or a project."""
    script: Path | None = None
    """JSON list of edits, as [{"op": "remove", "criterion": "faint"}]. Without one a project's own are made."""
    judge: bool = False
    """Compare with photos before and after: held-out ones, else those of the training."""
    scene: Path | None = None
    """Photos with cameras, in the frame of the splats (default: a run's own, where an edit or --judge needs them)."""
    load: Annotated[SceneArgs, tyro.conf.arg(name="")] = field(default_factory=SceneArgs)
    """Scene loading, as for train."""
    threads: int = 0
    """Threads of the kernels (0: one a core). The result does not depend on it."""
    drop_invalid: bool = False
    """Leave out splats that hold NaN or infinite values, and count them."""
    overwrite: bool = False
    """Replace OUT, and files of separated splats, where they exist."""
    json: bool = False
    """One JSON object instead of a table."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="edit")
    from sparse3d import formats
    from sparse3d.edit import replay, write_project
    from sparse3d.kernels import cpu
    from sparse3d.runs.finished import FinishedRun, is_run

    ops = _checked(args)
    run = FinishedRun.open(args.source) if is_run(args.source) else None
    cpu.set_threads(args.threads)
    began = time.perf_counter()
    document, source = _opened(args)
    before = document.splats()
    with _judging(args, run, ops, given_options(words)) as (context, judge):
        psnr = [None if judge is None else judge.psnr(before)]
        done = replay(document, ops, context)
        after = document.splats()
        if after.num_splats == 0:
            raise UsageError(f"{args.source}: no splat is left after the edits; look at what the script deletes")
        psnr.append(None if judge is None else judge.psnr(after))
    _write_pieces(args, done)
    if args.out.suffix.lower() == _PROJECT:
        write_project(args.out, document, source)
        notes: tuple[str, ...] = ()
    else:
        notes = formats.write(args.out, after)
    result = {
        "in": str(args.source), "out": str(args.out), "splats_before": before.num_splats,
        "splats_after": after.num_splats, "psnr": psnr, "judged_by": None if judge is None else judge.what,
        "edits": [
            {"op": op["op"], "count": outcome.count, "notes": list(outcome.notes)}
            for op, outcome in zip(ops, done, strict=True)
        ],
        "notes": list(notes), "seconds": round(time.perf_counter() - began, 3),
    }  # fmt: skip
    if args.json:
        print(json.dumps(result, allow_nan=False))
    else:
        _print(result)
    return 0


def _checked(args: Args) -> list[dict[str, Any]]:
    """The edits of the script, after everything that can be said before the splats are read."""
    from sparse3d import formats
    from sparse3d.edit import check_operations
    from sparse3d.edit.project import confined, files_of, read_json

    if args.out.is_dir():
        raise UsageError(f"{args.out}: is a folder; OUT is the file to write, as edited.ply")
    if args.out.suffix.lower() != _PROJECT:
        formats.check_options(formats.format_for_suffix(args.out), formats.WriteOptions())
    elif args.drop_invalid:
        raise UsageError("a project needs every splat of its file; convert it with --drop-invalid first, then edit it")
    if args.out.exists() and not args.overwrite:
        raise UsageError(f"{args.out}: exists; add --overwrite to replace it, or choose another OUT")
    if args.script is None:
        if args.source.suffix.lower() != _PROJECT:
            raise UsageError(f"--script is missing: {args.source} is no project, so there are no edits to make")
        return []
    values = read_json(args.script)
    ops = check_operations(values["operations"] if _is_list_inside(values) else values, str(args.script))
    pieces = [confined(args.out.parent, _file_of(op)) for op in ops if op["op"] == "separate"]
    for path in pieces:
        _check_piece(args, path)
        if pieces.count(path) > 1:
            raise UsageError(f"{path}: two edits separate splats into it; give each its own file")
    base, inside = _base(args).resolve(), args.out.suffix.lower() == _PROJECT
    if inside and files_of(ops) and base != args.out.parent.resolve():
        raise UsageError(f"{args.out}: its edits name files beside {base}; save the project there")
    return ops


def _is_list_inside(values: Any) -> bool:
    return isinstance(values, Mapping) and set(values) == {"operations"}


def _file_of(op: Mapping[str, Any]) -> str:
    if not op.get("file"):
        raise UsageError('separate needs the field file here, as {"op": "separate", "file": "chair.ply"}')
    return op["file"]


def _check_piece(args: Args, path: Path) -> None:
    from sparse3d import formats

    formats.check_options(formats.format_for_suffix(path), formats.WriteOptions())
    if path.resolve() in (args.out.resolve(), args.source.resolve()):
        raise UsageError(f"{path}: separated splats cannot go into IN or OUT itself; name another file")
    if path.exists() and not args.overwrite:
        raise UsageError(f"{path}: exists; add --overwrite to replace it, or name another file in separate")


def _base(args: Args) -> Path:
    """The folder that files in the edits are named from: the project's, else the script's."""
    if args.source.suffix.lower() == _PROJECT or args.script is None:
        return args.source.parent
    return args.script.parent


def _opened(args: Args) -> tuple[Document, Path]:
    """The document of IN, and the file of splats that it is made of."""
    from sparse3d import formats
    from sparse3d.edit import Document, open_project
    from sparse3d.edit.project import read_project
    from sparse3d.runs.finished import splat_file

    if args.source.suffix.lower() == _PROJECT:
        document, notes = open_project(args.source)
        say(f"made the {len(document.operations)} edits of {args.source}")
        source = args.source.parent / read_project(args.source).source
    else:
        source = splat_file(args.source)
        splats, notes = formats.read_with_notes(source, drop_invalid=args.drop_invalid)
        document = Document(splats)
    for note in notes:
        say(f"note: {note}")
    return document, source


@dataclass(frozen=True)
class _Judge:
    judge: EditJudge
    what: str

    def psnr(self, splats: Any) -> float | None:
        return self.judge.psnr(splats)


@contextlib.contextmanager
def _judging(
    args: Args, run: FinishedRun | None, ops: Sequence[Mapping[str, Any]], given: Sequence[str]
) -> Iterator[tuple[Context, _Judge | None]]:
    """What the edits may ask for: photos are loaded only where an edit or --judge needs them."""
    from sparse3d.edit import CRITERIA, Context
    from sparse3d.edit.project import reader

    read = reader(_base(args))
    asks = any("criterion" in op and CRITERIA[op["criterion"]].by_photos and "rows" not in op for op in ops)
    if not asks and not args.judge:
        if args.scene is not None:
            say("note: no edit asks for photos, so --scene was not read (--judge compares with them)")
        yield Context(read=read), None
        return
    if args.judge and args.scene is None and run is None:
        raise UsageError(f"--judge needs photos, and {args.source} is no run; say with --scene where they are")
    with judging_scene(args, run, given) as scene:
        yield _asked(args, run, scene, read)


def _asked(args: Args, run: FinishedRun | None, scene: Scene | None, read: Any) -> tuple[Context, _Judge | None]:
    from sparse3d.depth.hull import scene_hull
    from sparse3d.edit import Context, EditJudge
    from sparse3d.judge.background import evaluation_background
    from sparse3d.judge.photos import JudgingPhotos
    from sparse3d.judge.pictures import Pictures
    from sparse3d.start.config import FEW_PHOTOS
    from sparse3d.train.config import TrainConfig

    if scene is None:
        return Context(read=read), None
    cfg = TrainConfig() if run is None else run.config.train
    background = evaluation_background(scene, cfg.background)
    photos = JudgingPhotos(Pictures(scene, masks=cfg.masks, background=cfg.background), background)
    hull = scene_hull(scene) if len(scene.train) <= FEW_PHOTOS else None
    backend = None if cfg.backend == "auto" else cfg.backend
    context = Context(photos, hull, read=read, backend=backend)
    if not args.judge:
        return context, None
    what = f"{len(scene.test)} held-out photos" if scene.test else f"{len(scene.train)} training photos"
    return context, _Judge(EditJudge(scene, background, backend=cfg.backend), what)


def _write_pieces(args: Args, done: Sequence[Outcome]) -> None:
    from sparse3d import formats
    from sparse3d.edit.project import confined

    pieces = [piece for outcome in done for piece in outcome.pieces]
    for name, splats in pieces:
        for note in formats.write(confined(args.out.parent, name), splats):
            say(f"note: {name}: {note}")


def _print(result: dict[str, Any]) -> None:
    rows: list[tuple[str, ...]] = [(item["op"], f"{item['count']:,}", "splats") for item in result["edits"]]
    rows.append(("splats", f"{result['splats_before']:,} -> {result['splats_after']:,}", ""))
    first, last = result["psnr"]
    if first is not None and last is not None:
        rows.append(("PSNR", f"{first:.2f} -> {last:.2f} dB", f"on {result['judged_by']}"))
    rows.append(("time", f"{result['seconds']:.1f} s", ""))
    for item in result["edits"]:
        for note in item["notes"]:
            say(f"note: {item['op']}: {note}")
    for note in result["notes"]:
        say(f"note: {note}")
    print(aligned(rows))
    print(result["out"])

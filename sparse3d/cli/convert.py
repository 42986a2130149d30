# SPDX-License-Identifier: Apache-2.0
"""`sparse3d convert`: a file of splats in another format."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from sparse3d.cli.knobs import parse_knobs
from sparse3d.cli.parse import parse
from sparse3d.cli.table import aligned
from sparse3d.cli.terminal import say
from sparse3d.errors import UsageError

if TYPE_CHECKING:
    from sparse3d.formats import Format
    from sparse3d.formats.html.options import PageOptions
    from sparse3d.splats import Splats


@dataclass(frozen=True)
class Args:
    """Write a file of splats in another format; the suffix of OUT says which. What the format cannot keep is said."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """File of splats of any known format, or the folder of a run."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """File to write."""
    sh_degree: Literal[0, 1, 2, 3, 4] | None = None
    """Highest degree of spherical harmonics to keep (default: all that the format holds)."""
    spz_version: Literal[3, 4] | None = None
    """Version of SPZ to write: 3 (default, read by most programs) or 4 (smaller, read by fewer)."""
    effort: Literal["default", "high"] = "default"
    """high: more time for fewer bytes."""
    quality: Literal["default", "high"] = "default"
    """high: values as fine as the format holds them, whatever bytes that takes."""
    knob: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")] = field(default=())
    """Numbers that the format lists, as sh_rest_bits=6; a wrong name is answered with the known ones."""
    drop_invalid: bool = False
    """Leave out splats that hold NaN or infinite values, and count them."""
    overwrite: bool = False
    """Replace OUT where it exists."""
    json: bool = False
    """One JSON object instead of a table."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="convert")
    from sparse3d import formats
    from sparse3d.export.recipes import finest
    from sparse3d.formats.html.page import how_to_open
    from sparse3d.runs.finished import splat_file

    chosen = formats.format_for_suffix(args.out)
    if args.out.is_dir():
        raise UsageError(f"{args.out}: is a folder; OUT is the file to write, as scene.spz")
    if args.out.exists() and not args.overwrite:
        raise UsageError(f"{args.out}: exists; add --overwrite to replace it, or choose another OUT")
    if args.spz_version is not None and chosen.name != "spz":
        raise UsageError(f"--spz-version is for .spz files, OUT is {args.out.name}")
    knobs = {**(finest(chosen, 0).knobs if args.quality == "high" else {}), **parse_knobs(args.knob)}
    opts = formats.WriteOptions(sh_degree=args.sh_degree, effort=args.effort, version=args.spz_version, knobs=knobs)
    formats.check_options(chosen, opts)
    began = time.perf_counter()
    source = splat_file(args.source)
    splats, left_out = formats.read_with_notes(source, drop_invalid=args.drop_invalid)
    is_page = chosen.name == "html"
    if is_page:
        opts = replace(opts, page=_page(args, splats))
    lost = [*left_out, *formats.write(args.out, splats, opts), *_lost(chosen, splats)]
    result: dict[str, Any] = {
        "in": str(source), "out": str(args.out), "format": chosen.name, "num_splats": splats.num_splats,
        "bytes": [source.stat().st_size, args.out.stat().st_size],
        "bytes_per_splat": round(args.out.stat().st_size / splats.num_splats, 2), "lost": lost,
        "seconds": round(time.perf_counter() - began, 3),
    }  # fmt: skip
    if args.json:
        print(json.dumps(result, allow_nan=False))
        return 0
    for note in lost:
        say(f"lost: {note}")
    print(aligned(_rows(result)))
    if is_page:
        print(how_to_open(args.out))
    return 0


def _page(args: Args, splats: Splats) -> PageOptions:
    """Named after the file; a run's page opens at its best training photo."""
    from sparse3d.export.page import page_options
    from sparse3d.runs.finished import cameras_beside

    named = cameras_beside(args.source) if args.source.is_dir() else []
    return page_options(args.out.stem, splats, [c.camera for c in named if c.split in ("train", "")])


def _lost(chosen: Format, splats: Splats) -> list[str]:
    """What the format loses of any scene, beside the notes of this one."""
    if not chosen.limits.lossy:
        return []
    out = ["values are rounded to the steps of the format"]
    if splats.antialias and not chosen.limits.keeps_antialias:
        out.append("the antialias flag: viewers draw without opacity compensation")
    return out


def _rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    before, after = result["bytes"]
    return [
        ("written", f"{result['out']} ({result['format']})"),
        ("splats", f"{result['num_splats']:,}"),
        ("bytes", f"{after:,}, {before / after:.1f} times smaller" if after < before else f"{after:,}"),
        ("bytes per splat", f"{result['bytes_per_splat']:g}"),
        ("time", f"{result['seconds']:.1f} s"),
    ]

# SPDX-License-Identifier: Apache-2.0
"""`sparse3d export`: a run or a file of splats to what phones open, by size, by loss or by device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from sparse3d.cli.knobs import parse_knobs
from sparse3d.cli.parse import parse
from sparse3d.cli.table import aligned
from sparse3d.cli.terminal import Bar, duration, say
from sparse3d.errors import DataError, UsageError
from sparse3d.export.targets import Target, for_device, parse_size, size_text


@dataclass(frozen=True)
class Options:
    """What both commands take."""

    max_size: Annotated[str | None, tyro.conf.arg(metavar="SIZE")] = None
    """The best file of at most this size, and at least 98 % of it: 1MB (1,000,000 bytes), 300kB, 1.5MiB. For .html and
    folders the scene in them counts."""
    max_drop: Annotated[float | None, tyro.conf.arg(metavar="DB")] = None
    """The smallest file that loses at most so many dB of PSNR on the held-out photos (without such photos: as much as
    its pictures' distance to the source's would cost a scene of 30 dB)."""
    max_splats: int | None = None
    """Most splats; the others are merged into their neighbours."""
    device_budget: Literal["headset", "android", "ios", "desktop"] | None = None
    """Splats and bytes that the browser of such a device plays well."""
    sh_degree: Literal[0, 1, 2, 3, 4] | None = None
    """Highest degree of spherical harmonics to keep (default: what the bytes are best spent on)."""
    effort: Literal["default", "high"] = "default"
    """high: more time for fewer bytes a splat."""
    spz_version: Literal[3, 4] | None = None
    """Version of SPZ to write: 3 (default, read by most programs) or 4 (smaller, read by fewer)."""
    knob: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")] = field(default=())
    """Numbers that the format lists, as sh_rest_bits=6, to be left as given."""
    scene: Path | None = None
    """Photos with cameras in the frame of the splats (default: a run's own)."""
    refine: Literal["auto", "on", "off"] = "auto"
    """Train the splats that are left on the photos, at last through the format's rounding. auto: where photos are there
    and splats go."""
    refine_steps: int | None = None
    """Steps of that training after the last pruning (default: 1000)."""
    lod: bool = False
    """Streamed SOG: OUT is a folder for lod-meta.json and levels of detail."""
    sweep: Annotated[Path | None, tyro.conf.arg(metavar="PNG")] = None
    """Also draw how PSNR falls with the size, from files around the one that is written. Takes as long as they do."""
    threads: int = 0
    """Threads of the kernels (0: one a core). The result does not depend on it."""
    drop_invalid: bool = False
    """Leave out splats that hold NaN or infinite values, and count them."""
    overwrite: bool = False
    """Replace OUT where it exists."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[PATH]")] = None
    """The report as one JSON object on stdout instead of a table; with a PATH that ends in .json, into that file."""


@dataclass(frozen=True)
class Args(Options):
    """Write a run's splats, or a file of them, as a small file that mobile and web viewers open; the suffix of OUT says
    which: .spz .sog .glb .compressed.ply .splat .html .ply, or a path that ends in meta.json for a folder."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")] = tyro.MISSING
    """Run folder, file of splats of any known format, or SOG folder."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")] = tyro.MISSING
    """File to write."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, with_json_path(words), prog="export")
    return run(args, args.source, args.out)


def run(options: Options, source: Path, out: Path) -> int:
    """Check what was asked, write, and print the report."""
    target = target_of(options)
    _check_out(options, out)
    if options.lod and options.sweep is not None:
        raise UsageError("--sweep draws files of one level; leave out --lod")
    from sparse3d.export.job import coder_for, export_file
    from sparse3d.export.lod import export_lod

    if not options.lod:
        coder_for(out, target)
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder")
    from sparse3d.kernels import cpu

    cpu.set_threads(options.threads)
    with Bar(f"exporting {out.name}") as bar:

        def tell(what: str, fraction: float | None) -> None:
            # A share of one stage says nothing of how long all of them take.
            bar.show(None, what if fraction is None else f"{what}, {fraction:.0%}")

        if options.lod:
            result = export_lod(source, out, target, scene=options.scene, tell=tell)
        else:
            result = export_file(source, out, target, scene=options.scene, plot=options.sweep, tell=tell)
    _print(result, options.json)
    return 0


def target_of(options: Options) -> Target:
    """Raises UsageError for values that cannot be meant."""
    target = Target(
        max_size=None if options.max_size is None else parse_size(options.max_size),
        max_drop=options.max_drop,
        max_splats=options.max_splats,
        sh_degree=options.sh_degree,
        effort=options.effort,
        version=options.spz_version,
        knobs=parse_knobs(options.knob),
        refine=options.refine,
        steps=options.refine_steps,
        threads=options.threads,
        drop_invalid=options.drop_invalid,
    )
    return target if options.device_budget is None else for_device(target, options.device_budget)


def with_json_path(words: Sequence[str]) -> list[str]:
    """`--json` without a path gets the path "-"."""
    out: list[str] = []
    for word, after in zip(words, [*words[1:], ""], strict=True):
        out.append(word)
        if word == "--json" and not (after.lower().endswith(".json") and not after.lower().endswith("meta.json")):
            out[-1] = "--json=-"
    return out


def _check_out(options: Options, out: Path) -> None:
    if options.spz_version is not None and not out.name.lower().endswith(".spz"):
        raise UsageError(f"--spz-version is for .spz files, OUT is {out.name}")
    if options.lod:
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            _refuse_unless_overwritten(options, out)
        return
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; OUT is the file to write, as phone.spz (or a folder with --lod)")
    if out.exists():
        _refuse_unless_overwritten(options, out)


def _refuse_unless_overwritten(options: Options, out: Path) -> None:
    if not options.overwrite:
        raise UsageError(f"{out}: exists; add --overwrite to replace it, or choose another OUT")


def _print(result: dict[str, Any], path: str | None) -> None:
    if path == "-":
        print(json.dumps(result, allow_nan=False))
        return
    if path is not None:
        from sparse3d.formats import atomic_file

        with atomic_file(Path(path)) as file:
            file.write(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8"))
    for note in result["notes"]:
        say(f"lost: {note}")
    for note in result.get("left_out", ()):
        say(f"note: {note}")
    if result["without_photos"]:
        say(f"note: {result['without_photos']}; judged by {result['judged_by']}")
    print(aligned(rows_of(result)))
    if result["format"] == "html":
        from sparse3d.formats.html.page import how_to_open

        print(how_to_open(Path(result["out"])))


def rows_of(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The report as a table: what, value, how it compares."""
    _, size, total = result["bytes"]
    before, after = result["splats"]
    stored, used, written = result["sh_degree"]
    each = f"{result['bytes_per_splat']:g} bytes each"
    rows = [
        ("written", result["out"], f"{result['format']}, {result['recipe']}"),
        ("bytes", f"{size:,}", f"{size_text(size)}, {result['times_smaller']:.1f} times smaller than the source; "
         f"{result['times_smaller_unpadded']:.1f} times than its {size_text(result['bytes_unpadded'])} of PLY "
         f"at SH degree {used}"),
        ("splats", f"{before:,} -> {after:,}", f"SH degree {stored} -> {written}; {each}"),
    ]  # fmt: skip
    if total != size:
        rows.insert(2, ("total", f"{total:,}", f"{size_text(total)} with what plays the scene"))
    held = result["held_out"]
    if held is not None:
        for name, unit, form in (("psnr", " dB", ".2f"), ("ssim", "", ".4f")):
            first, last = held["source"][name], held["file"][name]
            rows.append(
                (name.upper(), f"{first:{form}} -> {last:{form}}{unit}", f"on {held['photos']} held-out photos")
            )
    near = result["to_source"]
    rows.append(("to the source", f"{near['psnr']:.2f} dB, {near['ssim']:.4f}", "PSNR and SSIM of the pictures"))
    if result["finest"]:
        rows.append(("finest", "yes", "the format holds no finer file of this scene"))
    if result["refine_steps"]:
        rows.append(("refined", f"{result['refine_steps']:,} steps", f"on {result['judged_by']}"))
    return [*rows, ("time", duration(result["seconds"]), "")]

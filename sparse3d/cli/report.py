# SPDX-License-Identifier: Apache-2.0
"""`sparse3d report`: the page of a finished run, and what `train` does with it at its end."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sparse3d.cli.parse import parse
from sparse3d.cli.terminal import quote, say
from sparse3d.errors import UsageError


@dataclass(frozen=True)
class Args:
    """Write report.html of a finished run, as `train` does at its end: the scene to turn, pictures, numbers, and what
    to photograph next, in one file that needs no network."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    out: Path | None = None
    """File to write (default: report.html in the run folder); replaces what is there."""
    open: bool = False
    """Open it in the browser."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="report")
    if args.out is not None and args.out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{args.out}: the page is HTML; give a name that ends in .html")
    if args.out is not None and args.out.is_dir():
        raise UsageError(f"{args.out}: is a folder; --out is the file to write, as page.html")
    from sparse3d.report.report import write_report
    from sparse3d.runs.finished import FinishedRun

    page = write_report(FinishedRun.open(args.run), args.out)
    print(f"page: {page} ({page.stat().st_size / 1e6:.1f} MB)", flush=True)
    if args.open:
        open_page(page)
    return 0


def report_of(run: Path) -> Path | None:
    """The page of a run that has just ended. What goes wrong here is told and costs the run nothing: all of its files
    are written."""
    from sparse3d.report.report import write_report
    from sparse3d.runs.finished import FinishedRun

    try:
        return write_report(FinishedRun.open(run))
    except Exception as error:
        again = f"sparse3d report {quote(run)}"
        say(f"note: the run is complete, but its page could not be written ({error}); try `{again}`")
        return None


def open_page(page: Path) -> None:
    """In the user's browser, or a sentence where there is none."""
    if not webbrowser.open(page.absolute().as_uri()):
        say(f"note: no browser could be started; open {page} by hand")

# SPDX-License-Identifier: Apache-2.0
"""`sparse3d compress`: a file of splats to a smaller one; `export` for those who have no run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sparse3d.cli.export import Options, run, with_json_path
from sparse3d.cli.parse import parse


@dataclass(frozen=True)
class Args(Options):
    """Write a file of splats as a smaller one of any format, judged by its own pictures, or by photos with --scene. The
    suffix of OUT says which format."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")] = tyro.MISSING
    """File of splats of any known format, or SOG folder."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")] = tyro.MISSING
    """File to write."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, with_json_path(words), prog="compress")
    return run(args, args.source, args.out)

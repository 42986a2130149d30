# SPDX-License-Identifier: Apache-2.0
"""`sparse3d bench compress`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparse3d.cli.parse import parse
from sparse3d.cli.table import aligned
from sparse3d.errors import UsageError


@dataclass(frozen=True)
class Args:
    """Time what compression spends its time on: the SH palette, its codebook, Morton and grid order.

    The splats are made from the seed, with SH of degree 3; or those of --file.
    """

    splats: int = 20_000
    """Number of splats that are made."""
    file: Path | None = None
    """File of splats, or folder of a run, used instead."""
    entries: int = 0
    """Entries of the palette (0: as many as SOG files have)."""
    iterations: int = 10
    """Steps of the palette, at most."""
    threads: int = 0
    """Threads of the kernels (0: one a core)."""
    seed: int = 0
    """Seed of the splats and of the search."""
    reference_steps: int = 1
    """Steps of plain Lloyd in torch that are timed beside it (0: none, and no ratio)."""
    json: bool = False
    """One JSON object instead of a table."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="bench compress")
    if args.splats < 1 or args.entries < 0 or args.iterations < 0 or args.reference_steps < 0:
        raise UsageError(
            "bench compress: --splats must be 1 or more; --entries, --iterations, --reference-steps 0 or more"
        )
    from sparse3d import formats
    from sparse3d.bench import compress
    from sparse3d.runs.finished import splat_file

    if args.file is None:
        splats = compress.made_splats(args.splats, args.seed)
    else:
        splats = formats.read(splat_file(args.file))
    cfg = compress.CompressBenchConfig(
        entries=args.entries, iterations=args.iterations, threads=args.threads, seed=args.seed,
        reference_steps=args.reference_steps,
    )  # fmt: skip
    result = {"file": None if args.file is None else str(args.file), **compress.run(splats, cfg)}
    if args.json:
        print(json.dumps(result, allow_nan=False))
        return 0
    print(aligned([(key.replace("_", " "), _text(value)) for key, value in result.items()]))
    return 0


def _text(value: object) -> str:
    if value is None:
        return "made"
    if isinstance(value, float):
        return f"{value:.3f}" if value >= 0.01 or value == 0 else f"{value:.3e}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)

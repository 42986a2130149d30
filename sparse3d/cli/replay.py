# SPDX-License-Identifier: Apache-2.0
"""`sparse3d replay`."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparse3d.cli.parse import parse


@dataclass(frozen=True)
class Args:
    """Run the step again that a diverged training run wrote down, on any back end, and say what is not sound."""

    dump: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DUMP")]
    """dump-*.safetensors in the folder of a run that diverged."""
    backend: Literal["auto", "cpu", "reference"] = "auto"
    """Kernels to run it on."""
    threads: int = 0
    """Threads of the kernels (0: one a core)."""
    json: bool = False
    """One JSON object instead of sentences; what is not a finite number is null."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="replay")
    from sparse3d.train.splats.dump import replay

    report = replay(args.dump, args.backend, args.threads)
    if args.json:
        print(json.dumps(_finite(dataclasses.asdict(report)), allow_nan=False))
    else:
        print("\n".join(report.lines()))
    return 0


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

# SPDX-License-Identifier: Apache-2.0
"""What a file is asked to be: a size, a loss, a number of splats, or what a device can play. Imports no torch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from sparse3d.errors import UsageError

Device = Literal["headset", "android", "ios", "desktop"]
Refine = Literal["auto", "on", "off"]

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([a-z]*)")


class Budget(NamedTuple):
    """Most splats, and most bytes of a file."""

    splats: int
    bytes: int


# Splats: what the makers of web viewers recommend for a smooth picture in these devices' browsers (guides of November
# 2026). Bytes: 20 a splat, as SOG and SPZ with view-dependent colour have them.
BUDGETS: dict[str, Budget] = {
    "headset": Budget(500_000, 10_000_000),
    "android": Budget(1_000_000, 20_000_000),
    "ios": Budget(1_500_000, 30_000_000),
    "desktop": Budget(2_500_000, 50_000_000),
}


def parse_size(text: str) -> int:
    """Bytes of "1MB" (1,000,000), "300kB", "1.5 MiB" (2^20 each) or "2000000". Raises UsageError."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"--max-size {text!r}: give a size as 1MB, 300kB, 1.5MiB or a number of bytes")
    number = math.floor(float(match[1]) * _UNITS[match[2]] + 1e-9)
    if number < 1:
        raise UsageError(f"--max-size {text!r}: give at least one byte")
    return number


def size_text(number: int) -> str:
    """1,000,000 as "1.00 MB"; below 10,000 the plain number."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= unit and number >= 10_000:
            return f"{number / unit:.{2 if unit >= 10**6 else 1}f} {name}"
    return f"{number} bytes"


@dataclass(frozen=True)
class Target:
    """What to reach, and what may be done for it. None: not asked for.

    max_size: bytes; the file is at most so large and at least 98 % of it. max_drop: dB of PSNR. max_splats: splats.
    byte_cap: bytes that a file of a given loss may have at most.
    sh_degree, effort, version, knobs: as in `formats.WriteOptions`; knobs given by hand are not turned.
    refine: train on the run's photos after pruning ("auto": where they are there and splats go). steps: of its last
    round (None: by the default of `RefineConfig`). threads: 0 for one a core; the result does not depend on it.
    drop_invalid: leave out splats that hold NaN or infinite values.
    """

    max_size: int | None = None
    max_drop: float | None = None
    max_splats: int | None = None
    byte_cap: int | None = None
    sh_degree: int | None = None
    effort: Literal["default", "high"] = "default"
    version: int | None = None
    knobs: dict[str, float] = field(default_factory=dict)
    refine: Refine = "auto"
    steps: int | None = None
    threads: int = 0
    seed: int = 0
    drop_invalid: bool = False

    def __post_init__(self) -> None:
        if self.max_size is not None and self.max_drop is not None:
            raise UsageError(
                f"--max-size {self.max_size} and --max-drop {self.max_drop:g} contradict each other: one asks for the "
                "best file of a size, the other for the smallest file of a quality; give one of them"
            )
        if self.max_drop is not None and not 0.0 < self.max_drop <= 60.0:
            raise UsageError(f"--max-drop {self.max_drop:g}: give dB above 0, as 0.2")
        if self.max_splats is not None and self.max_splats < 1:
            raise UsageError(f"--max-splats {self.max_splats}: give a positive number")
        if self.steps is not None and self.steps < 0:
            raise UsageError(f"--refine-steps {self.steps}: give 0 or more")

    def capped(self, count: int) -> int:
        """So many splats, but at most the target's number of them."""
        return count if self.max_splats is None else min(count, self.max_splats)


def for_device(target: Target, device: str) -> Target:
    """The target within what a device plays: the smaller of each bound."""
    budget = BUDGETS[device]
    splats = budget.splats if target.max_splats is None else min(budget.splats, target.max_splats)
    if target.max_drop is not None:
        return replace(target, max_splats=splats, byte_cap=budget.bytes)
    size = budget.bytes if target.max_size is None else min(budget.bytes, target.max_size)
    return replace(target, max_splats=splats, max_size=size)

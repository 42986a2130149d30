# SPDX-License-Identifier: Apache-2.0
"""What a file format is, and the table of all of them. To add one: a file with `@register`, named in `__init__`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, Protocol, runtime_checkable

from torch import Tensor

from sparse3d.errors import UsageError
from sparse3d.formats.html.options import PageOptions
from sparse3d.formats.losses import Losses
from sparse3d.registry import Registry
from sparse3d.splats import Splats

# Bytes shown to `sniff`: more than the header of a PLY with 72 `f_rest` properties and some comments needs.
HEAD_BYTES = 16384


@dataclass(frozen=True)
class Limits:
    """What a format can hold.

    lossy: values change when written and read again. max_sh_degree: higher coefficients are dropped.
    frame: axes of the stored positions ("opencv": as trained, nothing is turned). activated: names of the parameters
    stored after activation (empty: all raw). keeps_antialias: the antialias flag survives. writable: False for a format
    that is only read. experimental: hardly any program reads it yet. has_magic: False where a file is known by its
    suffix alone, because nothing in its bytes says what it is. keeps_origin: a file names the local origin of its
    positions. rounds_means: positions are held more coarsely than float32.
    """

    lossy: bool
    max_sh_degree: int
    frame: str = "opencv"
    activated: tuple[str, ...] = ()
    keeps_antialias: bool = True
    writable: bool = True
    experimental: bool = False
    has_magic: bool = True
    keeps_origin: bool = False
    rounds_means: bool = False


@dataclass(frozen=True)
class Knob:
    """One number that trades bytes for fidelity. low and high are inclusive; default None: fitted to the splats."""

    name: str
    low: float
    high: float
    default: float | None
    meaning: str
    integer: bool = True


@dataclass(frozen=True)
class WriteOptions:
    """How to write.

    sh_degree: highest degree kept (None: all that the splats and the format have). effort: "high" spends more time for
    fewer bytes. version: of the format (None: the one that most programs read). knobs: values by name, from those in
    the format's `knobs`; what is not given has its default. page: title, poster and first camera of an HTML page.
    """

    sh_degree: int | None = None
    effort: Literal["default", "high"] = "default"
    version: int | None = None
    knobs: Mapping[str, int | float] = field(default_factory=dict)
    page: PageOptions | None = None


class Format(Protocol):
    """One way of storing splats in one file.

    read raises DataError for anything that is not a whole, consistent file: it never allocates on a count that it has
    not compared with the bytes that are there, and never returns an empty scene for a bad file. write returns notes,
    one sentence for each thing the format could not keep. quantised is what a reader of the written file would get, in
    the same order, by the code that `write` packs with; a lossless format returns what it would write. file_order is
    that order with the effort "default": the permutation [N] int64 of the given splats. The options have passed
    `check_options`. losses: what a search for a smaller file may turn.
    """

    name: str
    suffixes: tuple[str, ...]
    limits: Limits
    knobs: tuple[Knob, ...]
    losses: Losses
    versions: tuple[int, ...]

    def sniff(self, head: bytes) -> bool:
        """True if a file that begins with `head` (up to HEAD_BYTES) is of this format."""
        ...

    def read(self, file: BinaryIO) -> Splats: ...

    def write(self, file: BinaryIO, splats: Splats, opts: WriteOptions) -> tuple[str, ...]: ...

    def quantised(self, splats: Splats, opts: WriteOptions) -> Splats: ...

    def file_order(self, splats: Splats) -> Tensor: ...


@runtime_checkable
class NotingFormat(Format, Protocol):
    """A format whose reader has something to say about a file: one sentence for each thing guessed or passed over."""

    def read_with_notes(self, file: BinaryIO) -> tuple[Splats, tuple[str, ...]]: ...


FORMATS: Registry[Format] = Registry("splat format")


def register(cls: type) -> type:
    """Class decorator: puts one instance of the format into the table under its name."""
    FORMATS.register(cls.name)(cls())
    return cls


def check_options(chosen: Format, opts: WriteOptions) -> None:
    """Raise UsageError, naming what is known, for options that `chosen` cannot obey."""
    if not chosen.limits.writable:
        others = ", ".join(fmt.name for fmt in FORMATS if fmt.limits.writable)
        raise UsageError(f"{chosen.name} files are read but not written; choose one of {others}")
    if opts.effort not in ("default", "high"):
        raise UsageError(f"effort is {opts.effort!r}, expected 'default' or 'high'")
    if opts.sh_degree is not None and not 0 <= opts.sh_degree <= 4:
        raise UsageError(f"sh_degree is {opts.sh_degree}, expected 0 to 4")
    if opts.version is not None and opts.version not in chosen.versions:
        known = f"it has versions {', '.join(map(str, chosen.versions))}" if chosen.versions else "it has no versions"
        raise UsageError(
            f"{chosen.name} cannot be written as version {opts.version}: {known}; leave it away, or choose another"
        )
    by_name = {knob.name: knob for knob in chosen.knobs}
    for name, value in opts.knobs.items():
        if name not in by_name:
            raise UsageError(f"{chosen.name} has no knob {name!r} (known: {', '.join(by_name) or 'none'})")
        knob = by_name[name]
        if not knob.low <= value <= knob.high or (knob.integer and value != math.floor(value)):
            kind = "a whole number " if knob.integer else ""
            raise UsageError(f"{chosen.name}: {name} is {value}, expected {kind}{knob.low:g} to {knob.high:g}")


def knob_value(chosen: Format, opts: WriteOptions, name: str) -> float | None:
    """The value given for a knob, else its default (None: to be fitted to the splats)."""
    default = next(knob.default for knob in chosen.knobs if knob.name == name)
    return opts.knobs.get(name, default)


def knob_number(chosen: Format, opts: WriteOptions, name: str) -> float:
    """`knob_value` of a knob that has a default."""
    value = knob_value(chosen, opts, name)
    if value is None:
        raise ValueError(f"{chosen.name}: knob {name} has no default")
    return float(value)


def kept_degree(chosen: Format, splats: Splats, opts: WriteOptions) -> int:
    """Degree of the spherical harmonics that a file has: the splats' own, cut by the format and by the options."""
    wanted = splats.sh_degree if opts.sh_degree is None else opts.sh_degree
    return min(wanted, splats.sh_degree, chosen.limits.max_sh_degree)


def degree_note(chosen: Format, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
    """The note of `write` on dropped spherical harmonics, if any are."""
    degree = kept_degree(chosen, splats, opts)
    if degree == splats.sh_degree:
        return ()
    return (f"spherical harmonics above degree {degree} were dropped (the splats have degree {splats.sh_degree})",)

# SPDX-License-Identifier: Apache-2.0
"""What a file format is, and the table of all of them. To add one: a file with `@register`, named in `__init__`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Protocol

from sparse3d.registry import Registry
from sparse3d.splats import Splats

# Bytes shown to `sniff`: more than the header of a PLY with 72 `f_rest` properties and some comments needs.
HEAD_BYTES = 16384


@dataclass(frozen=True)
class Limits:
    """What a format can hold.

    lossy: values change when written and read again. max_sh_degree: higher coefficients are dropped.
    frame: axes of the stored positions ("opencv": as trained, nothing is turned). activated: names of the parameters
    stored after activation (empty: all raw). keeps_antialias: the antialias flag survives.
    """

    lossy: bool
    max_sh_degree: int
    frame: str = "opencv"
    activated: tuple[str, ...] = ()
    keeps_antialias: bool = True


@dataclass(frozen=True)
class WriteOptions:
    """How to write. sh_degree: highest degree kept (None: all that the splats and the format have)."""

    sh_degree: int | None = None


class Format(Protocol):
    """One way of storing splats in one file.

    read raises DataError for anything that is not a whole, consistent file: it never allocates on a count that it has
    not compared with the bytes that are there, and never returns an empty scene for a bad file. write returns notes,
    one sentence for each thing the format could not keep.
    """

    name: str
    suffixes: tuple[str, ...]
    limits: Limits

    def sniff(self, head: bytes) -> bool:
        """True if a file that begins with `head` (up to HEAD_BYTES) is of this format."""
        ...

    def read(self, file: BinaryIO) -> Splats: ...

    def write(self, file: BinaryIO, splats: Splats, opts: WriteOptions) -> tuple[str, ...]: ...


FORMATS: Registry[Format] = Registry("splat format")


def register(cls: type) -> type:
    """Class decorator: puts one instance of the format into the table under its name."""
    FORMATS.register(cls.name)(cls())
    return cls

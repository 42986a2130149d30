# SPDX-License-Identifier: Apache-2.0
"""Formats whose file is a page around a scene."""

from __future__ import annotations

from typing import BinaryIO, Protocol, runtime_checkable

from sparse3d.formats.format import Format, WriteOptions
from sparse3d.splats import Splats


@runtime_checkable
class PageFormat(Format, Protocol):
    """A format that puts its scene into a page, as `WriteOptions.page` describes it. What counts as the size of a file
    is the scene in it.

    write_scene: that scene alone, as `write` packs it; it returns the notes of `write`. scene_bytes: of a written page;
    raises DataError where it holds none.
    """

    def write_scene(self, file: BinaryIO, splats: Splats, opts: WriteOptions) -> tuple[str, ...]: ...

    def scene_bytes(self, page: bytes) -> bytes: ...


def as_page_format(chosen: Format) -> PageFormat | None:
    """`chosen` where it is one."""
    return chosen if isinstance(chosen, PageFormat) else None

# SPDX-License-Identifier: Apache-2.0
"""Formats that are a folder of files, known by the name of one of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from sparse3d.formats.format import FORMATS, Format, WriteOptions
from sparse3d.splats import Splats


@runtime_checkable
class FolderFormat(Format, Protocol):
    """A format whose scene may be a folder. folder_index: name of the file that makes a folder one of this format.

    parts: the files by name, in memory; parts_with_notes: with the notes of `write`. splats_of_parts: what a reader of
    them gets; raises DataError. write_parts: into a folder, each atomically, the index last.
    """

    folder_index: str

    def parts(self, splats: Splats, opts: WriteOptions) -> dict[str, bytes]: ...

    def parts_with_notes(self, splats: Splats, opts: WriteOptions) -> tuple[dict[str, bytes], tuple[str, ...]]: ...

    def splats_of_parts(self, parts: Mapping[str, bytes]) -> Splats: ...

    def write_parts(self, folder: Path, parts: Mapping[str, bytes]) -> None: ...

    def read_folder(self, folder: Path) -> Splats: ...

    def write_folder(self, folder: Path, splats: Splats, opts: WriteOptions) -> tuple[str, ...]: ...


def folder_formats() -> list[FolderFormat]:
    """The registered formats that can be folders."""
    return [cast(FolderFormat, fmt) for fmt in FORMATS if hasattr(fmt, "folder_index")]


def find_folder_format(path: Path) -> FolderFormat | None:
    """The format of a folder, given by its path or by that of its index file; None for any other path."""
    for fmt in folder_formats():
        if path.name == fmt.folder_index or (path / fmt.folder_index).is_file():
            return fmt
    return None

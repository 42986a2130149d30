# SPDX-License-Identifier: Apache-2.0
"""Files of splats: `read(path)` and `write(path, splats)`; one module a format.

The bytes decide what a file is when reading; the suffix decides when writing.
"""

from __future__ import annotations

from pathlib import Path

from sparse3d.errors import DataError, UsageError
from sparse3d.formats.atomic import atomic_file
from sparse3d.formats.folder import find_folder_format, folder_formats
from sparse3d.formats.foreign import foreign_kind
from sparse3d.formats.format import FORMATS, HEAD_BYTES, Format, Knob, Limits, NotingFormat, WriteOptions, check_options
from sparse3d.formats.place import place_notes
from sparse3d.formats.ply.points import PointCloud, read_points
from sparse3d.formats.rows import settled
from sparse3d.splats import Splats

# Importing a module registers its format. The order is that of lists in messages, and of precedence where bytes fit
# several.
# isort: off
from sparse3d.formats.ply import ply as _ply  # noqa: F401
from sparse3d.formats.ply import compressed as _compressed  # noqa: F401
from sparse3d.formats.glb import glb as _glb  # noqa: F401
from sparse3d.formats.spz import spz as _spz  # noqa: F401
from sparse3d.formats.glb import spz as _glb_spz  # noqa: F401
from sparse3d.formats.html import html as _html  # noqa: F401
from sparse3d.formats import ksplat as _ksplat  # noqa: F401
from sparse3d.formats.sog import sog as _sog  # noqa: F401
from sparse3d.formats import splat as _splat  # noqa: F401
# isort: on

__all__ = [
    "FORMATS",
    "Format",
    "Knob",
    "Limits",
    "PointCloud",
    "WriteOptions",
    "atomic_file",
    "check_options",
    "find_format",
    "format_for_suffix",
    "read",
    "read_points",
    "read_with_notes",
    "write",
]


def read(path: Path, *, drop_invalid: bool = False) -> Splats:
    """The splats of `read_with_notes`, for those who tell no one."""
    return read_with_notes(path, drop_invalid=drop_invalid)[0]


def read_with_notes(path: Path, *, drop_invalid: bool = False) -> tuple[Splats, tuple[str, ...]]:
    """Splats of a file of any registered format, or of a folder with an index (SOG: meta.json, by either name).

    The notes are one sentence for each kind of row that was left out, and for each thing guessed or passed over.
    drop_invalid: leave rows out that hold NaN or infinities (`rows.settled` says which). Raises DataError with the path
    for whatever is wrong with it.
    """
    path = Path(path)
    try:
        if (folder_format := find_folder_format(path)) is not None:
            rows = folder_format.read_folder(path if path.is_dir() else path.parent)
            return settled(rows, drop_invalid=drop_invalid)
        if path.is_dir():
            raise DataError(f"{path}: is a folder; give a file of splats ({', '.join(_suffixes())})")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(0)
            chosen = find_format(head, path)
            rows, notes = chosen.read_with_notes(file) if isinstance(chosen, NotingFormat) else (chosen.read(file), ())
        splats, left_out = settled(rows, drop_invalid=drop_invalid)
        return splats, (*notes, *left_out)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check that you may read it") from error
    except DataError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise DataError(f"{path}: {error}") from error


def write(path: Path, splats: Splats, opts: WriteOptions | None = None) -> tuple[str, ...]:
    """Write atomically in the format of the suffix; returns notes on what the format could not keep.

    A path that ends in `meta.json` writes that file and its images into its folder (SOG), meta.json last.
    Raises UsageError for a suffix of no format, of one that is only read, and for options that the format does not
    know; DiskFullError with the earlier file still whole.
    """
    path = Path(path)
    opts = opts or WriteOptions()
    folder_format = next((fmt for fmt in folder_formats() if fmt.folder_index == path.name), None)
    chosen = folder_format or format_for_suffix(path)
    check_options(chosen, opts)
    if folder_format is not None:
        notes = folder_format.write_folder(path.parent, splats, opts)
    else:
        with atomic_file(path) as file:
            notes = chosen.write(file, splats, opts)
    return (*notes, *place_notes(chosen, splats, opts))


def find_format(head: bytes, path: Path) -> Format:
    """The format whose `sniff` knows `head`. Raises DataError that says what the bytes look like."""
    if not head:
        raise DataError(f"{path}: is empty (0 bytes); copy or download it again")
    for candidate in FORMATS:
        if candidate.sniff(head):
            return candidate
    # Without a magic number the name is all there is to go by.
    for candidate in FORMATS:
        if not candidate.limits.has_magic and path.name.lower().endswith(candidate.suffixes):
            return candidate
    known = f"known formats: {', '.join(FORMATS.names())}"
    foreign = foreign_kind(head)
    if foreign is not None:
        raise DataError(f"{path}: is {foreign.what}, not a file of splats; {foreign.advice} ({known})")
    raise DataError(
        f"{path}: is not a file of splats (it begins with {head[:8]!r}); give one of a known kind, or photos to train "
        f"({known})"
    )


def format_for_suffix(path: Path) -> Format:
    """The format that writes files named like `path`; a longer suffix (.compressed.ply) wins over a shorter one."""
    name = Path(path).name.lower()
    matches = [(len(s), fmt) for fmt in FORMATS for s in fmt.suffixes if name.endswith(s)]
    if not matches:
        raise UsageError(f"{path}: no splat format has this suffix; choose one of {', '.join(_suffixes(written=True))}")
    return max(matches, key=lambda match: match[0])[1]


def _suffixes(*, written: bool = False) -> list[str]:
    """Of all formats, or of those that are written."""
    return [suffix for fmt in FORMATS for suffix in fmt.suffixes if fmt.limits.writable or not written]

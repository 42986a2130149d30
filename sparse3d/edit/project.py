# SPDX-License-Identifier: Apache-2.0
"""Project files (.s3dproj): a file of splats and the edits that were made to it, as JSON that reopens to the same bits.

A project names files by paths below its own folder only, with their SHA-256, so that it can be moved with them and a
project from a stranger reaches nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from sparse3d import formats
from sparse3d.edit.apply import check_operations, replay
from sparse3d.edit.context import Context
from sparse3d.edit.document import Document
from sparse3d.errors import DataError, UsageError
from sparse3d.splats import Splats

SUFFIX = ".s3dproj"
FORMAT, VERSION = "sparse3d project", 1
MAX_BYTES = 256_000_000
_FIELDS = ("format", "version", "source", "files", "operations")


class Project(NamedTuple):
    """source: path of the splats, relative to the project's folder. files: SHA-256 of the source and of every file that
    an edit reads, by such paths."""

    source: str
    files: dict[str, str]
    operations: list[dict[str, Any]]


def write_project(path: Path, document: Document, source: Path) -> None:
    """Write the document, which was made of the file `source` and of those that its edits name, as a project.

    Raises UsageError where a file lies outside of the project's folder, DataError where it cannot be read.
    """
    folder = path.parent
    name = relative_name(folder, source)
    used = (name, *files_of(document.operations))
    files = {each: _sha256(confined(folder, each)) for each in dict.fromkeys(used)}
    values = dict(zip(_FIELDS, (FORMAT, VERSION, name, files, list(document.operations)), strict=True))
    with formats.atomic_file(path) as file:
        file.write((json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8"))


def open_project(path: Path, context: Context | None = None) -> tuple[Document, tuple[str, ...]]:
    """The document as it was saved, to the bit, and notes of reading its files. Raises DataError for a file that is no
    project, that names a file outside of its folder, or whose files are not those of before."""
    project, folder = read_project(path), path.parent
    for name, expected in project.files.items():
        if _sha256(confined(folder, name)) != expected:
            raise DataError(f"{path}: {name} is not the file that was edited; restore it, or make the project anew")
    splats, notes = formats.read_with_notes(confined(folder, project.source))
    document = Document(splats)
    try:
        replay(document, project.operations, replace(context or Context(), read=reader(folder)))
    except UsageError as error:
        raise DataError(f"{path}: {error}") from None
    return document, notes


def read_project(path: Path) -> Project:
    """Every field checked. Raises DataError that names the one that is wrong."""
    values = read_json(path)
    if not isinstance(values, Mapping) or values.get("format") != FORMAT:
        raise DataError(f'{path}: is not a project of sparse3d (no "format": "{FORMAT}"); give a {SUFFIX} file')
    if values.get("version") != VERSION:
        raise DataError(f"{path}: has version {values.get('version')!r}, this program reads {VERSION}; update it")
    wrong = [name for name in (*_FIELDS, *values) if (name in values) != (name in _FIELDS)]
    if wrong:
        what = "is missing" if wrong[0] in _FIELDS else "is not known"
        raise DataError(f"{path}: the field {wrong[0]!r} {what}; a project has {', '.join(_FIELDS)}")
    source, files = values["source"], values["files"]
    if not isinstance(source, str) or not isinstance(files, dict) or source not in files:
        raise DataError(f"{path}: files must be an object that has the SHA-256 of the source {source!r}")
    if not all(isinstance(sha, str) and len(sha) == 64 for sha in files.values()):
        raise DataError(f"{path}: files must have a SHA-256 of 64 letters for each file")
    try:
        operations = check_operations(values["operations"], "operations")
    except UsageError as error:
        raise DataError(f"{path}: {error}") from None
    lacking = [op["file"] for op in operations if op["op"] == "merge" and op["file"] not in files]
    if lacking:
        raise DataError(f"{path}: files lacks {lacking[0]!r}, which an edit reads")
    return Project(source, dict(files), operations)


def read_json(path: Path) -> Any:
    """Raises DataError for what is no JSON, too large or not there."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: is larger than {MAX_BYTES // 1_000_000} MB; more is not read as JSON")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check that you may read it") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({error}); look at that place") from None


def confined(folder: Path, name: str) -> Path:
    """The file that a project or script in `folder` names. Raises DataError for a path that leads out of it, by .., as
    an absolute path or over a link."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or "\\" in name or PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive:
        raise DataError(f"{name!r} is no path below the folder {folder}; put the file there and give its relative path")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{name!r} leads out of the folder {folder} over a link; put the file itself there")
    return path


def relative_name(folder: Path, path: Path) -> str:
    """`path` as a project in `folder` names it. Raises UsageError where it lies elsewhere."""
    inside = path.resolve()
    if not inside.is_relative_to(folder.resolve()):
        raise UsageError(
            f"{path}: lies outside of the project's folder {folder.resolve()}; save the project beside it or above"
        )
    return inside.relative_to(folder.resolve()).as_posix()


def reader(folder: Path) -> Callable[[str], Splats]:
    """Reads files of splats below `folder` for `merge`."""
    return lambda name: formats.read(confined(folder, name))


def files_of(operations: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the files that the edits read."""
    return [op["file"] for op in operations if op["op"] == "merge"]


def _sha256(path: Path) -> str:
    if path.is_dir() or path.name == "meta.json":
        raise DataError(f"{path}: a project needs one file of splats; write the folder as one file (convert) first")
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file, but the project needs it; restore it") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check that you may read it") from None
    return digest.hexdigest()

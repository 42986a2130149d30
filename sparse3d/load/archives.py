# SPDX-License-Identifier: Apache-2.0
"""Unpacking a zip or tar from a stranger: only plain files and folders, only inside the target, only up to a limit."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from sparse3d.errors import DataError

_BLOCK_BYTES = 1 << 16
# Names that Windows gives to devices; a file called so cannot be made there, or is not a file.
_WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"com{i}" for i in range(10)), *(f"lpt{i}" for i in range(10))}


@dataclass(frozen=True)
class UnpackLimits:
    """max_bytes and max_files: of everything together, counted as it is written, whatever the archive says."""

    max_bytes: int = 8 << 30
    max_files: int = 100_000


class _Member(NamedTuple):
    name: str
    open: object  # () -> IO[bytes]
    refused: str  # what it is, where it is not a plain file; "" otherwise
    folder: bool


def is_archive(path: Path) -> bool:
    """True if the bytes (not the name) are those of a zip or of a tar, compressed or not."""
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def unpack(archive: Path, target: Path, limits: UnpackLimits = UnpackLimits()) -> int:
    """Unpack into the folder `target` (made if it is missing) and return the number of files.

    All names are checked before the first byte is written. What macOS adds for itself (`__MACOSX/`, `._*`,
    `.DS_Store`) is passed over. Raises DataError for a name that is absolute, leaves the target, or exists twice; for
    links, devices and encrypted members; for more bytes or files than the limits; for a damaged archive. Permissions
    and owners are not taken over. A failure may leave files in `target`: give a temporary folder.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                return _unpack(archive, _zip_members(zipped), target, limits)
        with tarfile.open(archive) as tarred:
            return _unpack(archive, _tar_members(tarred, limits), target, limits)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise DataError(
            f"{archive}: damaged archive ({error or type(error).__name__}); copy or download it again"
        ) from None


def _zip_members(zipped: zipfile.ZipFile) -> Iterator[_Member]:
    for info in zipped.infolist():
        mode = info.external_attr >> 16
        refused = "a link" if stat.S_ISLNK(mode) else ""
        if mode and not refused and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
            refused = "a device"
        if info.flag_bits & 1:
            refused = "encrypted"
        yield _Member(info.orig_filename, lambda info=info: zipped.open(info), refused, info.is_dir())


def _tar_members(tarred: tarfile.TarFile, limits: UnpackLimits) -> Iterator[_Member]:
    for count, info in enumerate(tarred):
        if count > limits.max_files:
            return  # _unpack refuses the number; reading on would only take time.
        plain = info.isfile() or info.isdir()
        refused = "" if plain else "a link" if info.issym() or info.islnk() else "a device"
        yield _Member(info.name, lambda info=info: tarred.extractfile(info), refused, info.isdir())


def _unpack(archive: Path, members: Iterator[_Member], target: Path, limits: UnpackLimits) -> int:
    checked: list[tuple[PurePosixPath, _Member]] = []
    seen: set[str] = set()
    for member in members:
        if member.refused:
            raise DataError(
                f"{archive}: member {member.name!r} is {member.refused}; only plain files are unpacked; make the "
                "archive again without it"
            )
        path = safe_name(member.name)
        if path is None:
            raise DataError(
                f"{archive}: member {member.name!r} would be written outside of the target folder; make the archive "
                "again from inside the folder"
            )
        if not path.parts or member.folder or _is_of_macos(path):
            continue
        # Two names that differ in case are one file on macOS and Windows.
        if str(path).casefold() in seen:
            raise DataError(f"{archive}: member {member.name!r} is there twice; make the archive again")
        seen.add(str(path).casefold())
        checked.append((path, member))
        if len(checked) > limits.max_files:
            raise DataError(
                f"{archive}: holds more than {limits.max_files} files; unpack it yourself, and give the folder"
            )
    if not checked:
        raise DataError(f"{archive}: holds no files; make it again from those that should be in it")
    target.mkdir(parents=True, exist_ok=True)
    left = limits.max_bytes
    for path, member in checked:
        left -= _write(archive, member, target / path, left, limits)
    return len(checked)


def _is_of_macos(path: PurePosixPath) -> bool:
    return path.parts[0] == "__MACOSX" or path.name.startswith("._") or path.name == ".DS_Store"


def _write(archive: Path, member: _Member, path: Path, left: int, limits: UnpackLimits) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        done = 0
        source: IO[bytes]
        with member.open() as source, path.open("xb") as out:  # type: ignore[operator]
            while block := source.read(_BLOCK_BYTES):
                done += len(block)
                if done > left:
                    raise DataError(
                        f"{archive}: unpacks to more than the limit of {limits.max_bytes} bytes; unpack it yourself, "
                        "and give the folder"
                    )
                out.write(block)
    except (FileExistsError, NotADirectoryError):
        raise DataError(
            f"{archive}: member {member.name!r} stands where another member is; make the archive again"
        ) from None
    return done


def safe_name(name: str) -> PurePosixPath | None:
    """`name` as a path below the target with "." parts removed, or None where it could be anything else."""
    if not name or "\0" in name or "\\" in name or ":" in name or name.startswith("/"):
        return None
    parts = [part for part in name.split("/") if part not in ("", ".")]
    for part in parts:
        if part == ".." or part != part.rstrip(" .") or part.split(".")[0].lower() in _WINDOWS_DEVICES:
            return None
    return PurePosixPath(*parts)

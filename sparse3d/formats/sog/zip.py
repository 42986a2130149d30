# SPDX-License-Identifier: Apache-2.0
"""The zip around a SOG bundle, read without trust: no paths, no bombs, nothing after the end."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import BinaryIO

from sparse3d.errors import DataError
from sparse3d.formats.checks import damaged
from sparse3d.formats.foreign import foreign_zip

# A bundle holds meta.json and 5 to 7 images; others may add a few files of their own.
_MAX_ENTRIES = 64
_END = b"PK\x05\x06"
_END_BYTES = 22
# Any fixed date: the same splats give the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)


class SogZip:
    """The files of a bundle by name. Raises DataError for an archive that is cut off, has bytes after its end, holds
    two files of one name, encryption or more than 64 files.

    What is not beside meta.json is passed over (Finder adds `__MACOSX/._*`), and a folder that all lies in is taken
    off: nothing is unpacked to disk, so a name can do no harm."""

    def __init__(self, file: BinaryIO) -> None:
        try:
            _check_end(file)
            self._zip = zipfile.ZipFile(file)
            entries = self._zip.infolist()
        except _DAMAGE as error:
            raise damaged(f"is not a whole zip archive (SOG bundle): {error}") from error
        if len(entries) > _MAX_ENTRIES:
            raise damaged(f"the zip holds {len(entries)} files; a SOG bundle has at most {_MAX_ENTRIES}")
        self._entries: dict[str, zipfile.ZipInfo] = {}
        folder = _folder_of_meta([entry.orig_filename for entry in entries])
        for entry in entries:
            name = entry.orig_filename.replace("\\", "/")
            if entry.is_dir() or not name.startswith(folder) or "/" in name[len(folder) :]:
                continue
            name = name[len(folder) :]
            if name in self._entries:
                raise damaged(f"the zip holds {name!r} twice")
            self._entries[name] = entry

    def load(self, name: str, limit: int) -> bytes:
        """Bytes of one file of the archive, of at most `limit` bytes however much its header promises or hides."""
        entry = self._entries.get(name)
        if entry is None:
            raise DataError(
                f"the zip has no file {name!r} (it has {', '.join(sorted(self._entries)[:12]) or 'none'}); export it "
                "again, or zip all files beside meta.json"
            )
        if entry.file_size > limit:
            raise damaged(f"{name} unpacks to {entry.file_size} bytes; expected at most {limit}")
        try:
            with self._zip.open(entry) as member:
                data = member.read(limit + 1)
        except _DAMAGE as error:
            raise damaged(f"{name} in the zip is damaged: {error}") from error
        if len(data) > limit or len(data) != entry.file_size:
            raise damaged(f"{name} unpacks to {len(data)} bytes or more; its header says {entry.file_size}")
        return data


def _folder_of_meta(names: list[str]) -> str:
    """The folder, "" or with a "/" at its end, of the archive's one meta.json. Raises DataError for none and for
    several that lie equally deep."""
    paths = [name.replace("\\", "/") for name in names]
    metas = [path for path in paths if path.rsplit("/", 1)[-1] == "meta.json" and not path.startswith("__MACOSX/")]
    if not metas:
        if (foreign := foreign_zip(paths)) is not None:
            raise DataError(f"is {foreign.what}, not a file of splats; {foreign.advice}")
        held = ", ".join(sorted(paths)[:6])[:200] or "nothing"
        raise DataError(
            f"is a zip archive without a meta.json (it holds {held}), so it is no SOG bundle; unpack it and give the "
            "file of splats in it"
        )
    least = min(path.count("/") for path in metas)
    nearest = [path for path in metas if path.count("/") == least]
    if len(nearest) > 1:
        raise DataError(
            f"the zip holds several scenes ({', '.join(sorted(nearest)[:4])[:200]}); unpack it and give the folder of "
            "one"
        )
    return nearest[0][: -len("meta.json")]


def check_name(name: str) -> None:
    """Raise DataError unless `name` is that of a file right beside meta.json: no folder, drive or control character."""
    bad = not name or name in (".", "..") or any(c in '/\\:*?"<>|' or ord(c) < 32 for c in name) or len(name) > 100
    if bad:
        raise DataError(
            f"file name {name[:60]!r} is not allowed: expected the plain name of a file beside meta.json; export it "
            "again"
        )


def write_zip(file: BinaryIO, files: Mapping[str, bytes]) -> None:
    """A zip of the files in their order, always the same bytes: images stored, JSON deflated."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
            entry.create_system = 0
            archive.writestr(entry, data, compresslevel=9)
    file.write(buffer.getvalue())


def _check_end(file: BinaryIO) -> None:
    """Python's reader forgives bytes after the end record; a file that was cut and glued is not to be trusted."""
    size = file.seek(0, io.SEEK_END)
    tail_size = min(size, _END_BYTES + 65535)
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    file.seek(0)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise zipfile.BadZipFile(f"no end record in the last {tail_size} bytes")
    extra = len(tail) - at - _END_BYTES - struct.unpack_from("<H", tail, at + 20)[0]
    if extra != 0:
        raise zipfile.BadZipFile(f"{abs(extra)} bytes {'after its end' if extra > 0 else 'are missing at its end'}")
    count, directory_size, directory_at = struct.unpack_from("<HII", tail, at + 10)
    if count > _MAX_ENTRIES:
        raise zipfile.BadZipFile(f"{count} files; a SOG bundle has at most {_MAX_ENTRIES}")
    if directory_at + directory_size > size:
        raise zipfile.BadZipFile(f"its table of files would end at byte {directory_at + directory_size} of {size}")

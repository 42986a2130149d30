# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: who may write into it, and how its files are called and written."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from sparse3d.errors import DataError, UsageError
from sparse3d.formats.atomic import atomic_file

# What a run writes at the top of its folder; --overwrite removes these and nothing else.
_FILES = (
    "config.toml", "splat.ply", "metrics.json", "events.jsonl", "compare.png", "coverage.png", "cameras.json",
    "checkpoint.safetensors", "checkpoint.json", "points.safetensors", "start.safetensors", "depth.safetensors",
    "support.safetensors", "report.html",
    "error.txt",
)  # fmt: skip
_PATTERNS = ("dump-*.safetensors", ".*.tmp")
_LOCK = "lock"


class RunFolder:
    """An open run folder. Made by `open_run`, which holds its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._events: BinaryIO | None = None

    def file(self, name: str) -> Path:
        return self.path / name

    def write_text(self, name: str, text: str) -> Path:
        """Write a small file atomically. Raises DiskFullError with the earlier one whole."""
        with atomic_file(self.file(name)) as file:
            file.write(text.encode("utf-8"))
        return self.file(name)

    def write_json(self, name: str, value: Any) -> Path:
        return self.write_text(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def log(self, event: dict[str, Any]) -> None:
        """Append one line to events.jsonl. A log that cannot be written does not stop a run: the checkpoint will
        say."""
        with contextlib.suppress(OSError):
            if self._events is None:
                self._events = self.file("events.jsonl").open("ab")
                # A kill may have cut the last line short; the next one must not be glued to it.
                if self._events.tell():
                    with self.file("events.jsonl").open("rb") as tail:
                        tail.seek(-1, os.SEEK_END)
                        if tail.read(1) != b"\n":
                            self._events.write(b"\n")
            self._events.write(json.dumps(event, ensure_ascii=False).encode("utf-8") + b"\n")
            self._events.flush()

    def close(self) -> None:
        if self._events is not None:
            with contextlib.suppress(OSError):
                self._events.close()
            self._events = None


@contextlib.contextmanager
def open_run(path: Path, *, resume: bool = False, overwrite: bool = False) -> Iterator[RunFolder]:
    """The folder, made where it is not there, locked against a second process until the block ends.

    Raises UsageError for a folder that is not empty (unless resume or overwrite), that another process uses, or where
    both flags were given; DataError where it cannot be made. overwrite removes only what a run wrote; other files stay.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite contradict each other: go on with the run, or begin again?")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; --out wants a folder")
    found = sorted(entry.name for entry in path.iterdir() if entry.name != _LOCK) if path.is_dir() else []
    if found and not (resume or overwrite):
        raise UsageError(
            f"{path} is not empty ({', '.join(found[:4])}{', ...' if len(found) > 4 else ''}); give --resume to go on "
            "with that run, --overwrite to replace it, or another --out"
        )
    if resume and not found:
        raise UsageError(f"{path}: there is no run to resume; leave out --resume to begin one")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path}: the run folder cannot be made: {error.strerror}; choose another --out") from error
    with _locked(path):
        if overwrite:
            _clear(path)
        folder = RunFolder(path)
        try:
            yield folder
        finally:
            folder.close()


def _clear(path: Path) -> None:
    for name in _FILES:
        path.joinpath(name).unlink(missing_ok=True)
    for pattern in _PATTERNS:
        for file in path.glob(pattern):
            file.unlink()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold path/lock. The system frees the lock when the process dies, however it dies, so none is ever stale."""
    lock = path / _LOCK
    try:
        file = lock.open("a+b")
    except OSError as error:
        raise DataError(f"{lock}: cannot be written: {error.strerror}; choose another --out") from error
    with file:
        # A lock whose name is gone belonged to a run that ended between our open and our lock: it guards nothing.
        if not _try_lock(file) or not _is_named(file, lock):
            file.seek(0)
            holder = file.read(20).decode("ascii", "replace").strip() or "unknown"
            raise UsageError(
                f"{path} is in use by another process (pid {holder}); wait for it, or choose another --out"
            )
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n".encode())
        file.flush()
        try:
            yield
        finally:
            # The name goes before the lock is freed, so that nobody can hold the lock of a file without a name.
            with contextlib.suppress(OSError):
                lock.unlink()


def _is_named(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _try_lock(file: BinaryIO) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            # Byte 4096 and not byte 0: on Windows a locked byte cannot be read, and the pid is there for reading.
            file.seek(4096)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

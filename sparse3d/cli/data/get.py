# SPDX-License-Identifier: Apache-2.0
"""`sparse3d data get`: the licence first, then the files, each checked, then the folder's path on stdout."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

import tyro

from sparse3d.cli.parse import parse
from sparse3d.cli.terminal import bytes_progress, say
from sparse3d.errors import DataError, UsageError

if TYPE_CHECKING:
    from sparse3d.load.cards import SceneCard
    from sparse3d.load.download import DownloadLimits


@dataclass(frozen=True)
class Args:
    """Fetch a scene into a folder. A name of `data list`, or the https address of a file or archive (zip, tar)."""

    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|URL")]
    """Name of a known scene, or an https address."""
    sha256: str | None = None
    """SHA-256 that the file at an address must have."""
    out: Path | None = None
    """Folder to make (default: data/NAME in the current folder)."""
    overwrite: bool = False
    """Replace the folder if it is there."""
    max_bytes: int = 4 << 30
    """Largest download, and half of the largest unpacked size, in bytes."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="data get")
    from sparse3d.load.download import DownloadLimits

    print(fetch(args, DownloadLimits(max_bytes=args.max_bytes)))
    return 0


def fetch(args: Args, limits: DownloadLimits) -> Path:
    """Fetch what `args` name and return the new folder. Files appear in it all together or not at all."""
    if "://" in args.what:
        target = _target(args, _stem(args.what))
        _check_free(target, args.overwrite)
        with _staging(target) as staging:
            _fetch_url(args, staging, limits)
            _publish(staging, target)
        return target
    if args.sha256 is not None:
        raise UsageError("--sha256 belongs to an address; the checksums of a known scene are in its card")
    from sparse3d.load.cards import read_cards, require_name

    card = require_name(read_cards(), args.what)
    target = _target(args, card.name)
    _check_free(target, args.overwrite)
    say(f"{card.name}: {card.what}\nlicence: {card.licence}")
    if card.licence_url:
        say(f"         {card.licence_url}")
    with _staging(target) as staging:
        if card.folder is not None:
            shutil.copytree(card.folder, staging, dirs_exist_ok=True)
        else:
            _fetch_card(card, staging, limits)
        _publish(staging, target)
    return target


def _fetch_card(card: SceneCard, staging: Path, limits: DownloadLimits) -> None:
    from sparse3d.load.download import download

    done = 0
    with bytes_progress(card.num_bytes) as progress:
        for file in card.files:
            progress(done, file.path)
            # The card knows the size: a server that sends more is cut off there.
            exact = replace(limits, max_bytes=min(limits.max_bytes, file.bytes))
            start = done
            done += download(card.url(file), staging / file.path, file.sha256, exact,
                             lambda n, _, start=start, name=file.path: progress(start + n, name))  # fmt: skip


def _fetch_url(args: Args, staging: Path, limits: DownloadLimits) -> None:
    from sparse3d.load.archives import UnpackLimits, is_archive, unpack
    from sparse3d.load.download import check_url, download

    check_url(args.what, limits)
    if args.sha256 is None:
        raise UsageError(f"{args.what}: an address needs --sha256, so that nobody can exchange the file on its way")
    say("licence: not known for an address; look at where you have it from")
    name = _name(args.what)
    with bytes_progress(None) as progress:
        download(args.what, staging / name, args.sha256, limits, lambda n, total: progress(n, name, total))
    if is_archive(staging / name):
        unpack(staging / name, staging / ".unpacked", UnpackLimits(max_bytes=2 * args.max_bytes))
        os.unlink(staging / name)
        for entry in sorted(_single_root(staging / ".unpacked").iterdir()):
            entry.rename(staging / entry.name)
        shutil.rmtree(staging / ".unpacked")


def _single_root(folder: Path) -> Path:
    """`folder`, or the one folder that is all it holds: most archives wrap their files in one."""
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _name(url: str) -> str:
    from sparse3d.load.archives import safe_name

    last = unquote(urlsplit(url).path).rstrip("/").rsplit("/", 1)[-1]
    return last if last and safe_name(last) is not None and not last.startswith(".") else "download"


def _stem(url: str) -> str:
    return _name(url).split(".")[0]


def _target(args: Args, name: str) -> Path:
    return args.out if args.out is not None else Path("data") / name


def _check_free(target: Path, overwrite: bool) -> None:
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target}: is a file; give another folder with --out")
    if target.is_dir() and any(target.iterdir()) and not overwrite:
        raise UsageError(f"{target}: is not empty; add --overwrite to replace it, or give another folder with --out")


class _staging:
    """A folder beside the target that is gone afterwards, whatever happens: same disk, so publishing is a rename."""

    def __init__(self, target: Path) -> None:
        self._parent = target.resolve().parent

    def __enter__(self) -> Path:
        try:
            self._parent.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(prefix=".sparse3d-", dir=self._parent)
        except OSError as error:
            raise DataError(f"{self._parent}: cannot be written: {error.strerror}; choose another --out") from error
        inside = Path(self._folder.name) / "scene"
        inside.mkdir()
        return inside

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def _publish(staging: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    staging.rename(target)

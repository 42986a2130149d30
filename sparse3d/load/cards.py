# SPDX-License-Identifier: Apache-2.0
"""Scene cards: what a known public scene is, where it comes from, under which licence, and the checksum of each file.

A card is `scenes/NAME.toml`. Its scene either comes with this package (`folder`) or from a public repository at one
commit (`repository`, `commit`, `path` and `[[files]]` with `path`, `bytes` and `sha256`). Checksums come from
real files; no card goes without them.
"""

from __future__ import annotations

import sys
import urllib.parse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparse3d.errors import DataError, UsageError
from sparse3d.load.archives import safe_name
from sparse3d.registry import Registry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

_HOST = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class CardFile:
    """One file: path below the scene's folder, size in bytes, SHA-256 in lower case."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SceneCard:
    """A known scene. `path`: folder in the repository. `folder`: set where the scene lies beside the card."""

    name: str
    what: str
    licence: str
    licence_url: str = ""
    repository: str = ""
    commit: str = ""
    path: str = ""
    files: tuple[CardFile, ...] = ()
    folder: Path | None = None

    @property
    def num_bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def url(self, file: CardFile) -> str:
        parts = [self.repository, self.commit, *([self.path] if self.path else []), file.path]
        return f"{_HOST}/{urllib.parse.quote('/'.join(parts))}"


def cards_folder() -> Path:
    """Where the cards lie: in the installed package, or at the top of the source tree."""
    inside = Path(__file__).parents[1] / "scenes"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "scenes"


def read_cards(folder: Path | None = None) -> Registry[SceneCard]:
    """All cards, by name. Raises DataError for an incomplete card."""
    cards: Registry[SceneCard] = Registry("scene")
    for path in sorted((folder or cards_folder()).glob("*.toml")):
        card = read_card(path)
        cards.register(card.name)(card)
    return cards


def read_card(path: Path) -> SceneCard:
    """One card. Raises DataError that names the file and the key."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: not a scene card: {error}") from None
    card = SceneCard(
        name=_text(values, "name", path),
        what=_text(values, "what", path),
        licence=_text(values, "licence", path),
        licence_url=str(values.get("licence_url", "")),
        repository=str(values.get("repository", "")),
        commit=str(values.get("commit", "")),
        path=str(values.get("path", "")),
    )
    if "folder" in values:
        folder = safe_name(_text(values, "folder", path))
        if folder is None or not (path.parent / folder).is_dir():
            raise DataError(f"{path}: folder {values['folder']!r} is not a folder beside the card")
        return replace(card, folder=path.parent / folder)
    _text(values, "repository", path)
    commit = _text(values, "commit", path)
    if len(commit) != 40 or any(c not in "0123456789abcdef" for c in commit):
        raise DataError(f"{path}: commit {commit!r} must be 40 hexadecimal digits, not a branch that moves")
    files = tuple(_card_file(entry, path) for entry in values.get("files", []))
    if not files:
        raise DataError(f"{path}: lists no files")
    return replace(card, files=files)


def _text(values: dict[str, Any], key: str, path: Path) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{path}: key {key!r} is missing or not text")
    return value


def _card_file(entry: dict[str, Any], path: Path) -> CardFile:
    try:
        file = CardFile(str(entry["path"]), int(entry["bytes"]), str(entry["sha256"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: a file without a good {error}") from None
    if safe_name(file.path) is None or len(file.sha256) != 64 or file.bytes < 0:
        raise DataError(f"{path}: file {file.path!r} needs a relative path, a size and a SHA-256 of 64 digits")
    return file


def require_name(cards: Registry[SceneCard], name: str) -> SceneCard:
    """The card of that name. Raises UsageError with the nearest name."""
    try:
        return cards[name]
    except UsageError as error:
        raise UsageError(f"{error}; `sparse3d data list` shows them; an address begins with https://") from None

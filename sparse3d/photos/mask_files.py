# SPDX-License-Identifier: Apache-2.0
"""Which mask file belongs to which photo, in the folders that programs and people use.

A mask is named like its photo: NAME.png, NAME.jpg.png (COLMAP), NAME_mask.png (3DGRUT), in subfolders as the photos are
or as far as they are told apart. A file that would fit several photos belongs to none of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

MASK_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MASK_ENDINGS = ("_mask", ".mask", "-mask")


class MaskFolder:
    """The pictures in a folder and the folders under it. `base`: the folder that photos' paths are counted from."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.base = folder, base
        # By path from the folder, the suffix in lower case: cameras write .PNG.
        self._files: dict[str, str] = {}
        top = len(str(folder)) + 1
        for at, folders, files in os.walk(folder):
            folders.sort()
            inside = at[top:].replace(os.sep, "/")
            for name in sorted(files):
                stem, dot, suffix = name.rpartition(".")
                suffix = dot + suffix.lower()
                if suffix in MASK_SUFFIXES and not name.startswith("."):
                    self._files.setdefault(
                        f"{inside}/{stem}{suffix}" if inside else stem + suffix, f"{at}{os.sep}{name}"
                    )

    def __len__(self) -> int:
        return len(self._files)

    def find(self, photos: Sequence[tuple[Path, str]]) -> tuple[list[Path | None], int]:
        """For each photo (path, name) its mask, and how many photos have none because it would fit others too."""
        tails = [list(_tails(str(path), name, str(self.base))) for path, name in photos]
        told = Counter(bare for of_photo in tails for bare in {bare for bare, _ in of_photo})
        found = [self._of(str(path), of_photo) for (path, _), of_photo in zip(photos, tails, strict=True)]
        claims = Counter(path for path, _ in found if path is not None)
        out: list[Path | None] = []
        for path, bare in found:
            out.append(Path(path) if path is not None and claims[path] == 1 and told[bare] == 1 else None)
        return out, sum(path is not None for path, _ in found) - sum(path is not None for path in out)

    def _of(self, photo: str, tails: list[tuple[str, str]]) -> tuple[str | None, str]:
        """The file, and the part of the photo's path that it is named by."""
        for bare, tail in tails:
            for stem in _stems(bare, tail):
                for suffix in MASK_SUFFIXES:
                    mask = self._files.get(stem + suffix)
                    if mask is not None and mask != photo:
                        return mask, bare
        return None, ""


def is_mask_name(name: str, others: set[str]) -> bool:
    """Whether a file beside photos is the mask of one of them, as x_mask.png beside x.jpg. others: the names there
    without their suffixes."""
    stem = PurePosixPath(name).stem
    return any(stem.endswith(end) and _photo_stem(stem.removesuffix(end)) in others for end in MASK_ENDINGS)


def _photo_stem(stem: str) -> str:
    """x of x.jpg in x.jpg_mask.png; x itself of x."""
    path = PurePosixPath(stem)
    return path.stem if path.suffix.lower() in (".jpg", ".jpeg", ".png") else stem


def _tails(path: str, name: str, base: str) -> Iterator[tuple[str, str]]:
    """What a mask may be named by, without the photo's suffix and with it, the most telling first: the photo's path
    from `base`, its name, and both without their first folders."""
    whole = [name]
    if path.startswith(base + os.sep):
        whole.insert(0, path[len(base) + 1 :].replace(os.sep, "/"))
    for longest in dict.fromkeys(whole):
        tail = longest
        while tail:
            bare = tail[: tail.rindex(".")] if "." in tail.rpartition("/")[2] else tail
            yield bare, tail
            tail = tail.partition("/")[2]


def _stems(bare: str, tail: str) -> Iterator[str]:
    yield bare
    yield tail
    folder, slash, last = bare.rpartition("/")
    if last.isdigit():
        # NeuS writes image/000012.png and mask/012.png.
        for width in (3, 4, 5, 6):
            yield f"{folder}{slash}{int(last):0{width}d}"
    for end in MASK_ENDINGS:
        yield bare + end
        yield tail + end
    if slash:
        yield bare.replace("/", "_")
        yield bare.replace("/", "-")

# SPDX-License-Identifier: Apache-2.0
"""The user's own matches (by SuperPoint + LightGlue, LoFTR, RoMa and others): a COLMAP database or an npz file.

npz: `names` [P,2] of the photos of each pair, `xy_0` .. `xy_{P-1}` [M,4] float: x and y in the first photo, x and y in
the second, pixel centres at +0.5; optionally `sizes` [P,4], width and height of the two pictures that were matched,
where those are not the photos' own. A database: its keypoints with the verified matches, or the raw ones where none are
verified.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.records.matches import MatchedPair, Matches

# pair_id = smaller id * this + larger id, in COLMAP's databases.
_PAIR_BASE = 2147483647


def read_matches(path: Path, names: Sequence[str]) -> tuple[Matches, tuple[str, ...]]:
    """The matches in `path` between photos of these names, and a note. A name that is not exactly one of the scene's is
    looked up by its last part. Raises DataError with the path if no match is between two of these photos."""
    if not path.is_file():
        raise DataError(f"--prior-matches {path}: there is no such file")
    with path.open("rb") as file:
        head = file.read(16)
    pairs = _read_database(path) if head.startswith(b"SQLite format 3") else _read_npz(path)
    known = _lookup(names)
    kept = []
    for pair in pairs:
        a, b = known.get(pair.a) or known.get(_last(pair.a)), known.get(pair.b) or known.get(_last(pair.b))
        good = np.isfinite(pair.xy).all(axis=1)
        if a is not None and b is not None and a != b and good.any():
            kept.append(MatchedPair(a, b, pair.xy[good], pair.size_a, pair.size_b))
    if not kept:
        first = f"; its first pair is {pairs[0].a} and {pairs[0].b}" if pairs else ""
        raise DataError(
            f"--prior-matches {path}: holds no match between two photos of the scene (the first is {names[0]}){first}"
        )
    kept.sort(key=lambda pair: (pair.a, pair.b))
    digest = hashlib.sha256()
    for pair in kept:
        digest.update(repr((pair.a, pair.b, pair.size_a, pair.size_b)).encode() + pair.xy.tobytes())
    count = sum(len(pair.xy) for pair in kept)
    left = len(pairs) - len(kept)
    without = f"; {left} pairs of other photos left out" if left else ""
    return Matches(tuple(kept), digest.hexdigest()), (
        f"{count:,} matches of {len(kept)} pairs of photos from {path.name}{without}",
    )


def _lookup(names: Sequence[str]) -> Mapping[str, str]:
    """Scene names by themselves and by their last part, with and without suffix, if only one photo has that."""
    out: dict[str, str] = {}
    for key in (_last, lambda name: PurePosixPath(name).stem):
        counts: dict[str, int] = {}
        for name in names:
            counts[key(name)] = counts.get(key(name), 0) + 1
        out |= {key(name): name for name in names if counts[key(name)] == 1 and key(name) not in out}
    return out | {name: name for name in names}


def _last(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def _read_npz(path: Path) -> list[MatchedPair]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "names" not in getattr(arrays, "files", ()):
                raise DataError(f"--prior-matches {path}: has no array 'names' [P,2] of the pairs' photos")
            names = arrays["names"]
            if names.ndim != 2 or names.shape[1] != 2 or names.dtype.kind != "U":
                raise DataError(
                    f"--prior-matches {path}: 'names' is {names.dtype} {list(names.shape)}; expected text [P,2]"
                )
            sizes = arrays["sizes"] if "sizes" in arrays.files else None
            if sizes is not None and (sizes.shape != (len(names), 4) or not (sizes > 0).all()):
                raise DataError(
                    f"--prior-matches {path}: 'sizes' is {list(sizes.shape)}; expected [{len(names)},4] of width and "
                    "height of the first and the second picture"
                )
            out = []
            for k, (a, b) in enumerate(names.tolist()):
                if f"xy_{k}" not in arrays.files:
                    raise DataError(f"--prior-matches {path}: has no array 'xy_{k}' for the pair {a} and {b}")
                xy = arrays[f"xy_{k}"]
                if xy.ndim != 2 or xy.shape[1] != 4 or xy.dtype.kind not in "fui":
                    raise DataError(
                        f"--prior-matches {path}: 'xy_{k}' is {xy.dtype} {list(xy.shape)}; expected numbers [M,4]"
                    )
                pair = MatchedPair(a, b, xy.astype(np.float64))
                if sizes is not None:
                    wa, ha, wb, hb = (int(v) for v in sizes[k])
                    pair = replace(pair, size_a=(wa, ha), size_b=(wb, hb))
                out.append(pair)
            return out
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"--prior-matches {path}: is neither a COLMAP database nor an npz file of plain arrays ({error})"
        ) from error


def _read_database(path: Path) -> list[MatchedPair]:
    try:
        # Not written to: `immutable` reads a database in a folder without write access too.
        with sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True) as base:
            images = {
                number: (name, (width, height))
                for number, name, width, height in base.execute(
                    "SELECT image_id, name, width, height FROM images JOIN cameras USING (camera_id)"
                )
            }
            keypoints = {
                number: _blob(path, data, rows, columns, "<f4")
                for number, rows, columns, data in base.execute("SELECT image_id, rows, cols, data FROM keypoints")
            }
            for table in ("two_view_geometries", "matches"):
                rows = base.execute(f"SELECT pair_id, rows, cols, data FROM {table} WHERE rows > 0").fetchall()
                if rows:
                    break
        base.close()
    except sqlite3.Error as error:
        raise DataError(f"--prior-matches {path}: is not a COLMAP database ({error})") from error
    out = []
    for pair_id, count, columns, data in sorted(rows):
        ids = pair_id // _PAIR_BASE, pair_id % _PAIR_BASE
        if any(number not in images or number not in keypoints for number in ids):
            continue
        index = _blob(path, data, count, columns, "<u4")[:, :2].astype(np.int64)
        (a, size_a), (b, size_b) = images[ids[0]], images[ids[1]]
        if (index >= [len(keypoints[ids[0]]), len(keypoints[ids[1]])]).any():
            raise DataError(f"--prior-matches {path}: matches of {a} and {b} name keypoints that are not there")
        xy = [keypoints[number][index[:, k], :2] for k, number in enumerate(ids)]
        out.append(MatchedPair(a, b, np.concatenate(xy, axis=1).astype(np.float64), size_a, size_b))
    return out


def _blob(path: Path, data: bytes | None, rows: int, columns: int, kind: str) -> NDArray:
    """[rows, columns] of a table's bytes."""
    data = data or b""
    if columns < 2 or len(data) != rows * columns * 4:
        raise DataError(
            f"--prior-matches {path}: the database is damaged: {rows} rows of {columns} values in {len(data)} bytes"
        )
    return np.frombuffer(data, kind).reshape(rows, columns)

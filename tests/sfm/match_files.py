# SPDX-License-Identifier: Apache-2.0
"""Matches of photos written as users' tools write them: a COLMAP database and an npz file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

_PAIR_BASE = 2147483647
# (name, name) -> [M,4]: x, y in the first photo, x, y in the second.
Pairs = Mapping[tuple[str, str], np.ndarray]


def write_npz(path: Path, pairs: Pairs, **more: np.ndarray) -> None:
    arrays = {f"xy_{k}": xy for k, xy in enumerate(pairs.values())}
    arrays |= {"names": np.array(list(pairs)), **more}
    np.savez(path, allow_pickle=False, **arrays)


def write_database(
    path: Path, size: tuple[int, int], keypoints: Sequence[tuple[str, np.ndarray]], pairs: Mapping, table: str
) -> None:
    """keypoints: (photo name, [N,2]); pairs: (position, position) -> index pairs [M,2]; table: where they go."""
    path.unlink(missing_ok=True)
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE cameras (camera_id INTEGER, model INTEGER, width INTEGER, height INTEGER, params BLOB)")
    base.execute("CREATE TABLE images (image_id INTEGER, name TEXT, camera_id INTEGER)")
    base.execute("CREATE TABLE keypoints (image_id INTEGER, rows INTEGER, cols INTEGER, data BLOB)")
    for name in ("matches", "two_view_geometries"):
        base.execute(f"CREATE TABLE {name} (pair_id INTEGER, rows INTEGER, cols INTEGER, data BLOB)")
    base.execute("INSERT INTO cameras VALUES (1, 0, ?, ?, x'')", size)
    for k, (name, xy) in enumerate(keypoints):
        base.execute("INSERT INTO images VALUES (?, ?, 1)", (k + 1, name))
        # Four columns, as COLMAP's own features have: place, size, direction.
        rows = np.concatenate([xy, np.ones((len(xy), 2))], axis=1).astype(np.float32)
        base.execute("INSERT INTO keypoints VALUES (?, ?, 4, ?)", (k + 1, len(rows), rows.tobytes()))
    for (i, j), index in pairs.items():
        data = np.asarray(index, np.uint32)
        key = (i + 1) * _PAIR_BASE + j + 1
        base.execute(f"INSERT INTO {table} VALUES (?, ?, 2, ?)", (key, len(data), data.tobytes()))
    base.commit()
    base.close()

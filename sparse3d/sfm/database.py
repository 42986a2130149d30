# SPDX-License-Identifier: Apache-2.0
"""The database that COLMAP's mapper reads: features of the photos, matches of the pairs, and matches from elsewhere."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from numpy.typing import NDArray

Progress = Callable[[str, float], None]
Pair = tuple[str, str]
# xy_a [M,2] and xy_b [M,2] of matches, in pixels of the working photos, centres at +0.5.
PairMatches = tuple[NDArray[np.float64], NDArray[np.float64]]

_EXHAUSTIVE_MAX = 60
# Next photos, by name, that each photo of a large set is matched with.
_NEIGHBOURS = 10
_PAIRS_AT_ONCE = 40
_PHOTOS_AT_ONCE = 8
# From this many pixels on, features are first looked for without enlarging the photo: a fifth of the time. Of those in
# an enlarged photo, the largest 8192 are kept, and three quarters of them are the same (12 photos of a door).
_LARGE_PX = 1_000_000
# A photo with fewer than this is enlarged all the same.
_FEATURES_ENOUGH = 4000
# A keypoint from elsewhere that lies this near to an existing one counts as that one, so that tracks meet.
_SAME_PLACE_PX = 1.0


def extract(
    job: dict[str, Any], folder: Path, database: Path, names: Sequence[str], say: Progress, affine: bool
) -> None:
    """Write SIFT features of the photos `names` into the database. affine: with estimated affine shape and domain-size
    pooling (Dong and Soatto 2015), and twice as many."""
    options = pycolmap.FeatureExtractionOptions()
    options.num_threads = job["threads"]
    options.use_gpu = False
    if affine:
        options.sift.estimate_affine_shape = True
        options.sift.domain_size_pooling = True
        options.sift.max_num_features = 16384
        # Two to ten times slower a pixel than plain ones (measured).
        options.max_image_size = 1024
    few_train = sum(p["train"] for p in job["photos"]) < job["fixed_below"]
    wanted = set(names)
    done = 0
    for group, lens in enumerate(job["lenses"]):
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model = "SIMPLE_PINHOLE" if few_train else "SIMPLE_RADIAL"
        reader.default_focal_length_factor = 1.2
        if lens["focal_px"]:
            params = [lens["focal_px"], lens["width"] / 2, lens["height"] / 2] + ([] if few_train else [0.0])
            reader.camera_params = ",".join(f"{v:.6f}" for v in params)
        if job["masks"]:
            reader.mask_path = folder / "masks"
        members = [p["file"] for p in job["photos"] if p["lens"] == group and p["file"] in wanted]
        for start in range(0, len(members), _PHOTOS_AT_ONCE):
            part = members[start : start + _PHOTOS_AT_ONCE]
            large = not affine and lens["width"] * lens["height"] >= _LARGE_PX
            options.sift.first_octave = 0 if large else -1
            _extract_part(database, folder / "photos", part, reader, options)
            if large and (weak := _forget_weak(database, part)):
                options.sift.first_octave = -1
                _extract_part(database, folder / "photos", weak, reader, options)
            done += len(part)
            say("affine features" if affine else "features", done / len(wanted))


def _extract_part(
    database: Path,
    photos: Path,
    names: Sequence[str],
    reader: pycolmap.ImageReaderOptions,
    options: pycolmap.FeatureExtractionOptions,
) -> None:
    """Features of photos of one lens; the first call sets the reader's camera, which all of them share."""
    pycolmap.extract_features(database, photos, names, pycolmap.CameraMode.SINGLE, reader, options, pycolmap.Device.cpu)
    if reader.existing_camera_id < 0:
        with pycolmap.Database.open(database) as db:
            reader.existing_camera_id = max(c.camera_id for c in db.read_all_cameras())


def _forget_weak(database: Path, names: Sequence[str]) -> list[str]:
    """Those of the photos `names` that have few features, which are deleted so that they are looked for again."""
    base = sqlite3.connect(database)
    try:
        counts = dict(base.execute("SELECT name, rows FROM images JOIN keypoints USING (image_id)"))
        weak = [name for name in names if counts.get(name, 0) < _FEATURES_ENOUGH]
        for table in ("keypoints", "descriptors"):
            base.executemany(
                f"DELETE FROM {table} WHERE image_id = (SELECT image_id FROM images WHERE name = ?)",
                [(name,) for name in weak],
            )
        base.commit()
    finally:
        base.close()
    return weak


def match(job: dict[str, Any], pairs: Sequence[Pair], database: Path, say: Progress, affine: bool) -> None:
    """Match the pairs and verify each by two-view geometry. affine: only for the name of the stage in the progress.

    No second search along the epipolar lines (guided matching): on a woven mat it turned 21 verified matches, all of
    them right, into 419 of which a third were right.
    """
    options = pycolmap.FeatureMatchingOptions()
    options.num_threads = job["threads"]
    options.use_gpu = False
    listing = database.with_suffix(".pairs.txt")
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = listing
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = pairs[start : start + _PAIRS_AT_ONCE]
        _write_pairs(listing, part)
        pycolmap.match_image_pairs(database, options, pairing, _verification(job), pycolmap.Device.cpu)
        say("affine matching" if affine else "matching", (start + len(part)) / len(pairs))


def _verification(job: dict[str, Any]) -> pycolmap.TwoViewGeometryOptions:
    options = pycolmap.TwoViewGeometryOptions()
    options.ransac.random_seed = job["seed"]
    return options


def _write_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    path.write_text("".join(f"{a} {b}\n" for a, b in pairs), encoding="utf-8")


def add_matches(job: dict[str, Any], database: Path, found: Mapping[Pair, PairMatches]) -> None:
    """Add matches from elsewhere to those of their pairs, and keep what two-view geometry confirms of both together.

    Keypoints are added for them, except where there is one within a pixel already.
    """
    pairs = [pair for pair, (xy, _) in found.items() if len(xy)]
    if not pairs:
        return
    with pycolmap.Database.open(database) as db:
        number = {image.name: image.image_id for image in db.read_all_images()}
        table = {name: _Keypoints(np.asarray(db.read_keypoints(number[name]))) for pair in pairs for name in pair}
        for a, b in pairs:
            new = np.stack([table[name].add(xy) for name, xy in zip((a, b), found[a, b], strict=True)], axis=1)
            ids = number[a], number[b]
            if db.exists_matches(*ids):
                # Wrong raw matches would only make the new ones look worse.
                old = np.asarray(db.read_two_view_geometry(*ids).inlier_matches, np.int64).reshape(-1, 2)
                new = np.concatenate([old, new])
                db.delete_matches(*ids)
                db.delete_two_view_geometry(*ids)
            db.write_matches(*ids, _one_to_one(new).astype(np.uint32))
        for name, keypoints in table.items():
            db.update_keypoints(number[name], keypoints.values())
    listing = database.with_suffix(".added.txt")
    _write_pairs(listing, pairs)
    pycolmap.verify_matches(database, listing, _verification(job))


class _Keypoints:
    """The keypoints of a photo [N,2 or more], with a grid in which they are found by their place."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self._rows = rows if rows.ndim == 2 and len(rows) else np.zeros((0, 6), np.float32)
        self._added: list[tuple[float, float]] = []
        self._cells: dict[tuple[int, int], list[tuple[float, float, int]]] = {}
        for index, (x, y) in enumerate(self._rows[:, :2].tolist()):
            self._cells.setdefault(self._cell(x, y), []).append((x, y, index))

    @staticmethod
    def _cell(x: float, y: float) -> tuple[int, int]:
        return math.floor(x / _SAME_PLACE_PX), math.floor(y / _SAME_PLACE_PX)

    def add(self, xy: NDArray[np.float64]) -> NDArray[np.int64]:
        """Index [M] of the keypoint at each of the places [M,2]: the nearest one within reach, else a new one."""
        out = np.empty(len(xy), np.int64)
        for k, (x, y) in enumerate(xy.tolist()):
            column, row = self._cell(x, y)
            near = [
                (math.hypot(there[0] - x, there[1] - y), there[2])
                for i in (column - 1, column, column + 1)
                for j in (row - 1, row, row + 1)
                for there in self._cells.get((i, j), ())
            ]
            distance, index = min(near, default=(math.inf, -1))
            if distance > _SAME_PLACE_PX:
                index = len(self._rows) + len(self._added)
                self._added.append((x, y))
                self._cells.setdefault((column, row), []).append((x, y, index))
            out[k] = index
        return out

    def values(self) -> NDArray[np.float32]:
        added = np.zeros((len(self._added), self._rows.shape[1]), np.float32)
        added[:, :2] = np.array(self._added, np.float32).reshape(-1, 2)
        if added.shape[1] >= 6:
            # Affine shape: a circle of one pixel.
            added[:, 2] = added[:, 5] = 1.0
        return np.concatenate([self._rows, added]).astype(np.float32)


def _one_to_one(matches: NDArray[np.int64]) -> NDArray[np.int64]:
    """The matches [M,2] without those of a keypoint that an earlier row has matched already."""
    keep = np.zeros(len(matches), bool)
    seen: tuple[set[int], set[int]] = (set(), set())
    for k, (a, b) in enumerate(matches.tolist()):
        if a not in seen[0] and b not in seen[1]:
            keep[k] = True
            seen[0].add(a)
            seen[1].add(b)
    return matches[keep]


def verified(database: Path, pairs: Sequence[Pair]) -> dict[Pair, PairMatches]:
    """The verified matches of each pair that has any."""
    out: dict[Pair, PairMatches] = {}
    with pycolmap.Database.open(database) as db:
        number = {image.name: image.image_id for image in db.read_all_images()}
        for a, b in pairs:
            ids = number[a], number[b]
            if not db.exists_matches(*ids):
                continue
            index = np.asarray(db.read_two_view_geometry(*ids).inlier_matches, np.int64).reshape(-1, 2)
            if len(index):
                xy = [np.asarray(db.read_keypoints(i))[index[:, k], :2].astype(float) for k, i in enumerate(ids)]
                out[a, b] = xy[0], xy[1]
    return out


def pairs_to_match(names: list[str]) -> list[tuple[str, str]]:
    """All pairs of up to 60 photos. Of more: each photo with the next 10 by name and with those 16, 32, 64, ... further
    on, and all pairs of an evenly spread subset of 60, so that a path that returns to its start is closed."""
    count = len(names)
    if count <= _EXHAUSTIVE_MAX:
        return list(combinations(names, 2))
    steps = list(range(1, _NEIGHBOURS + 1)) + [2**k for k in range(4, int(math.log2(count)) + 1)]
    chosen = {(i, i + step) for i in range(count) for step in steps if i + step < count}
    subset = sorted({round(i * (count - 1) / (_EXHAUSTIVE_MAX - 1)) for i in range(_EXHAUSTIVE_MAX)})
    chosen.update(combinations(subset, 2))
    return [(names[i], names[j]) for i, j in sorted(chosen)]


def pair_table(database: Path) -> list[list[Any]]:
    """[name, name, matches, matches that one rigid scene explains] of every pair."""
    table = []
    with pycolmap.Database.open(database) as db:
        by_id = {image.image_id: image.name for image in db.read_all_images()}
        for a, b in combinations(sorted(by_id), 2):
            raw = len(db.read_matches(a, b)) if db.exists_matches(a, b) else 0
            inliers = db.read_two_view_geometry(a, b).inlier_matches if raw else ()
            # The guided search adds matches to those that were found blindly.
            table.append([*sorted((by_id[a], by_id[b])), max(raw, len(inliers)), len(inliers)])
    return sorted(table)

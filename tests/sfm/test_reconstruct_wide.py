# SPDX-License-Identifier: Apache-2.0
"""Structure from motion of photos far apart: what plain features cannot connect, tilted pictures do."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from sparse3d.sfm.database import _Keypoints, _one_to_one, add_matches, extract, pair_table, verified
from sparse3d.sfm.weak import tilted_matches, weak_pairs
from tests.depth.plane_scene import photograph, texture
from tests.sfm.test_tilted import from_direction, through_plane


def _nothing(stage: str, fraction: float) -> None:
    del stage, fraction


def _write(folder: Path, pictures: list[np.ndarray]) -> list[str]:
    (folder / "photos").mkdir()
    names = [f"{k:05d}.jpg" for k in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        cv2.imwrite(str(folder / "photos" / name), picture[:, :, ::-1])
    return names


def test_photos_far_apart_are_connected_and_strangers_are_not(tmp_path: Path) -> None:
    cameras = [from_direction(-65.0), from_direction(65.0)]
    pictures = [photograph(camera, texture()) for camera in cameras] + [texture(seed=30, side=240)]
    names = _write(tmp_path, pictures)
    found = tilted_matches({"threads": 1}, tmp_path, list(combinations(names, 2)), _nothing)
    assert list(found) == [(names[0], names[1])]
    xy_a, xy_b = found[names[0], names[1]]
    off = np.linalg.norm(through_plane(xy_a, *cameras) - xy_b, axis=1)
    assert len(off) > 60
    assert np.median(off) < 1.0
    assert (off < 4.0).mean() > 0.95


def test_added_matches_are_verified_with_those_that_are_there(tmp_path: Path) -> None:
    """A scene of points at random depths, of which half of the matches are in the database already."""
    rng = np.random.default_rng(6)
    names = _write(tmp_path, [np.full((240, 320, 3), 90, np.uint8)] * 2)
    lens = {"focal_px": 300.0, "width": 320, "height": 240}
    photos = [{"file": name, "train": True, "lens": 0} for name in names]
    job = {"threads": 1, "seed": 0, "fixed_below": 6, "masks": False, "photos": photos, "lenses": [lens]}
    database = tmp_path / "photos.db"
    extract(job, tmp_path, database, names, _nothing, affine=False)
    # Pixels apart in both photos, so that no two are one keypoint.
    grid = np.stack(np.meshgrid(np.arange(10), np.arange(10)), axis=2).reshape(-1, 2)
    order = rng.permutation(100)
    disparity = 25.0 + 3.0 * rng.integers(0, 4, 100)
    first = (12.0 * grid + 80.0)[order]
    xy = [first, first + np.stack([disparity, np.zeros(100)], axis=1)]
    add_matches(job, database, {(names[0], names[1]): (xy[0][:50], xy[1][:50])})
    wrong = rng.uniform(0, 240, (20, 2))
    more = np.concatenate([xy[0][40:], wrong]), np.concatenate([xy[1][40:], wrong[::-1]])
    add_matches(job, database, {(names[0], names[1]): more})
    a, b = verified(database, [(names[0], names[1])])[names[0], names[1]]
    # Those of rows 40 to 50 came twice and are there once.
    assert 98 <= len(a) == len(b) <= 104
    assert len(set(map(tuple, a.tolist())) & set(map(tuple, first.tolist()))) >= 98
    [[name_a, name_b, matches, inliers]] = pair_table(database)
    assert (name_a, name_b, inliers) == (*names, len(a))
    assert 118 <= matches <= 120


def test_keypoints_at_one_place_are_one() -> None:
    rows = np.zeros((2, 6), np.float32)
    rows[:, :2] = [[10.2, 20.7], [30.0, 40.0]]
    keypoints = _Keypoints(rows)
    index = keypoints.add(np.array([[10.9, 21.2], [31.5, 40.0], [31.9, 40.3], [10.2, 20.0], [500.0, 3.0]]))
    assert index.tolist() == [0, 2, 2, 0, 3]
    values = keypoints.values()
    assert values.shape == (4, 6)
    assert np.array_equal(values[:2], rows)
    assert values[2].tolist() == [31.5, 40.0, 1.0, 0.0, 0.0, 1.0]
    # A photo in which nothing was found.
    assert _Keypoints(np.zeros((0, 6), np.float32)).add(np.array([[1.0, 2.0]])).tolist() == [0]


def test_a_keypoint_is_matched_once() -> None:
    matches = np.array([[0, 5], [1, 5], [0, 6], [1, 6], [2, 7]])
    assert _one_to_one(matches).tolist() == [[0, 5], [1, 6], [2, 7]]


def test_weak_pairs_are_those_with_few_matches_and_a_photo_to_map() -> None:
    table = [["a", "b", 200, 150], ["a", "c", 30, 20], ["c", "d", 0, 0]]
    assert weak_pairs(table, ["a", "b"], 100) == [("a", "c")]
    assert weak_pairs(table, ["a", "b", "c"], 300) == [("a", "b"), ("a", "c"), ("c", "d")]

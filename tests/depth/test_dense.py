# SPDX-License-Identifier: Apache-2.0
"""Dense depth of photos whose depth is known: matching, maps, and the points made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse3d.depth.depth_map import DepthMap
from sparse3d.depth.fuse import FuseConfig, fuse
from sparse3d.depth.maps import FILLED_CONFIDENCE, depth_maps
from sparse3d.depth.match import MatchConfig, match_photos
from sparse3d.depth.matched import Matched, first_sure, sure_pixels
from sparse3d.kernels import cpu
from sparse3d.records.points import Points
from sparse3d.records.scene import Scene
from sparse3d.start.dense import completed, dense_start
from sparse3d.start.surround import GUESSED_CONFIDENCE, SurroundConfig, surround
from tests.depth import plane_scene
from tests.load import board_scene

# Two sizes of matching, for photos of 240x180.
MATCH = MatchConfig(sweep_side=130)
# Half a pixel of displacement between two of the photos, as a share of the depth.
CLOSE = 0.02


@dataclass
class Dense:
    scene: Scene
    matches: dict[int, Matched]
    maps: dict[int, DepthMap]
    rgb: dict[int, NDArray[np.uint8]]
    truth: dict[int, NDArray[np.float64]]


def made(scene: Scene) -> Dense:
    matches = match_photos(scene, None, MATCH)
    truth = {i: board_scene.photograph(scene.cameras[i])[1] for i in scene.train}
    return Dense(scene, matches, depth_maps(matches), {i: m.rgb for i, m in matches.items()}, truth)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Dense:
    return made(board_scene.write_scene(tmp_path_factory.mktemp("board"), board_scene.cameras(3)))


@pytest.fixture(scope="module")
def points(dense: Dense) -> Points:
    return fuse(dense.maps, dense.rgb, FuseConfig(count=6000))


def nearest(places: NDArray[np.float32], points: NDArray[np.float32], rank: int = 0) -> tuple[NDArray, NDArray]:
    """Distance [M] of each place [M,3] to its nearest point (rank 1: the next), and which point that is."""
    distances, indices = [], []
    for block in np.array_split(places.astype(np.float64), max(1, len(places) // 500)):
        square = ((block[:, None] - points[None].astype(np.float64)) ** 2).sum(axis=2)
        chosen = np.argpartition(square, rank, axis=1)[:, rank]
        distances.append(np.sqrt(square[np.arange(len(block)), chosen]))
        indices.append(chosen)
    return np.concatenate(distances), np.concatenate(indices)


def error_of(depth: NDArray[np.float32], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.abs(depth / truth - 1)


def blank_pixels(dense: Dense, index: int) -> NDArray[np.bool_]:
    flat = np.abs(dense.rgb[index].astype(int) - (120, 130, 110)).max(axis=2) == 0
    assert flat.sum() > 200
    return flat


def test_matches_are_complete_and_right(dense: Dense) -> None:
    assert list(dense.matches) == [0, 1, 2]
    for index, found in dense.matches.items():
        assert found.sources == 2
        assert found.rgb.shape == (180, 240, 3)
        sure = sure_pixels(found)
        assert sure.mean() > 0.7
        error = error_of(np.float32(1) / found.planes[..., 0], dense.truth[index])[sure]
        assert np.median(error) < 0.25 * CLOSE
        assert (error < CLOSE).mean() > 0.95


def test_the_first_that_is_sure_gives_the_match(dense: Dense) -> None:
    narrow = dense.matches[1]
    hole = np.zeros(narrow.agreeing.shape, bool)
    hole[40:120, 60:180] = True
    wide = replace(narrow, planes=narrow.planes + np.float32(1e-3))
    narrow = replace(narrow, agreeing=np.where(hole, 0, narrow.agreeing).astype(np.uint8))
    both = first_sure([narrow, wide])
    taken = hole & sure_pixels(wide)
    assert taken.sum() > 0.5 * hole.sum()
    np.testing.assert_array_equal(both.planes[taken], wide.planes[taken])
    np.testing.assert_array_equal(
        both.planes[~taken & sure_pixels(narrow)], narrow.planes[~taken & sure_pixels(narrow)]
    )
    np.testing.assert_array_equal(both.planes[~sure_pixels(wide)], narrow.planes[~sure_pixels(wide)])
    assert (sure_pixels(narrow) <= sure_pixels(both)).mean() > 0.99
    assert sure_pixels(both)[taken].mean() > 0.99


def test_patches_of_two_widths_are_sure_of_more(dense: Dense) -> None:
    narrow = match_photos(dense.scene, None, replace(MATCH, finest=MATCH.finest[:1]))
    for index, found in dense.matches.items():
        assert sure_pixels(found).mean() > sure_pixels(narrow[index]).mean()


def test_maps_are_sure_or_filled(dense: Dense) -> None:
    for index, found in dense.maps.items():
        sure = sure_pixels(dense.matches[index])
        np.testing.assert_array_equal(found.depth[sure], 1 / dense.matches[index].planes[sure, 0])
        assert found.confidence[sure].min() > 0.29
        assert found.confidence[~sure].max() <= np.float32(FILLED_CONFIDENCE)
        assert (found.depth > 0).all()
        assert np.median(error_of(found.depth, dense.truth[index])[~sure]) < 4 * CLOSE
        blank = blank_pixels(dense, index)
        assert np.quantile(error_of(found.depth, dense.truth[index])[blank], 0.9) < 5 * CLOSE


def test_normals_are_those_of_the_surfaces(dense: Dense) -> None:
    for index, found in dense.maps.items():
        camera = found.camera
        u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
        rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)
        np.testing.assert_allclose(np.linalg.norm(found.normal, axis=-1), 1, atol=1e-5)
        assert ((found.normal * rays).sum(axis=-1) < 0).all()
        points = (rays * dense.truth[index][..., None]) @ camera.world_from_cam[:3, :3].T + camera.position
        _, normal = board_scene.distance_to_surfaces(points.reshape(-1, 3))
        cosine = np.abs((found.normal @ camera.world_from_cam[:3, :3].T).reshape(-1, 3) * normal).sum(axis=1)
        sure = found.confidence.ravel() > FILLED_CONFIDENCE
        assert np.median(np.degrees(np.arccos(np.clip(cosine[sure], 0, 1)))) < 12


def test_fused_points_lie_on_the_surfaces(points: Points) -> None:
    assert points.normal is not None
    assert points.confidence is not None
    sure = points.confidence > FILLED_CONFIDENCE
    assert 2000 < sure.sum() < 9000
    assert (~sure).sum() > 10
    distance, normal = board_scene.distance_to_surfaces(points.xyz)
    assert np.median(distance[sure]) < 0.5 * CLOSE * 4
    assert np.quantile(distance[sure], 0.95) < 2 * CLOSE * 4
    np.testing.assert_allclose(np.linalg.norm(points.normal, axis=1), 1, atol=1e-4)
    assert np.median(np.abs((points.normal * normal).sum(axis=1))[sure]) > 0.97
    # Turned to the cameras, which stand before both.
    assert (points.normal[sure] @ np.array([0, 0, 1.0]) < 0).mean() > 0.95


def test_no_surface_twice(dense: Dense, points: Points) -> None:
    """The points of all photos stand as far apart as their radii say, as those of one photo do."""
    assert points.radius is not None
    assert points.confidence is not None
    sure = points.confidence > FILLED_CONFIDENCE
    xyz, radius = points.xyz[sure], points.radius[sure]
    apart, _ = nearest(xyz, xyz, rank=1)
    assert np.median(apart / (2 * radius)) > 0.7
    assert (apart < radius).mean() < 0.05
    # And every sure pixel of every photo has a point near by.
    for found in dense.maps.values():
        row, column = np.nonzero(found.confidence > FILLED_CONFIDENCE)
        z = found.depth[row, column]
        camera = found.camera
        local = np.stack([(column + 0.5 - camera.cx) / camera.fx * z, (row + 0.5 - camera.cy) / camera.fy * z, z], 1)
        world = local @ camera.world_from_cam[:3, :3].T + camera.position
        reach, which = nearest(world[::40], xyz)
        assert (reach < 4 * radius[which]).mean() > 0.97


def test_filled_points_hide_nothing_that_is_sure(dense: Dense, points: Points) -> None:
    assert points.confidence is not None
    filled = points.xyz[points.confidence <= FILLED_CONFIDENCE].astype(np.float64)
    met = 0
    for found in dense.maps.values():
        xy, z = found.camera.project(filled)
        column, row = np.floor(xy).astype(int).T
        inside = (column >= 0) & (column < 240) & (row >= 0) & (row < 180)
        column, row, z = column[inside], row[inside], z[inside]
        sure = found.confidence[row, column] > FILLED_CONFIDENCE
        met += int(sure.sum())
        assert (z[sure] > found.depth[row, column][sure]).all()
    assert met > 0


def test_more_or_fewer_points(dense: Dense) -> None:
    few, many = (fuse(dense.maps, dense.rgb, FuseConfig(count=n, filled_step=0)) for n in (500, 4000))
    assert len(few) < 1000
    assert 4 < len(many) / len(few) < 16
    assert few.radius is not None
    assert many.radius is not None
    assert 2 < np.median(few.radius) / np.median(many.radius) < 4
    assert few.confidence is not None
    assert few.confidence.min() > FILLED_CONFIDENCE
    again = fuse(dense.maps, dense.rgb, FuseConfig(count=500, filled_step=0))
    np.testing.assert_array_equal(again.xyz, few.xyz)


def test_colours_are_those_of_the_photos(dense: Dense) -> None:
    points = fuse(dense.maps, dense.rgb, FuseConfig(spacing_px=1.0, count=60_000, filled_step=0))
    xy, _ = dense.scene.cameras[0].project(points.xyz[:2000].astype(np.float64))
    column, row = np.floor(xy).astype(int).T
    # The first points are the first photo's own.
    np.testing.assert_allclose(points.rgb[:2000], dense.rgb[0][row, column] / 255.0, atol=0.02)


def test_surroundings_lie_where_no_photo_looks(dense: Dense) -> None:
    around = surround(dense.maps, dense.rgb, SurroundConfig(margin=0.3, spacing_px=5.0))
    assert len(around) > 300
    assert around.confidence is not None
    assert (around.confidence == np.float32(GUESSED_CONFIDENCE)).all()
    near_one = np.zeros(len(around), bool)
    for found in dense.maps.values():
        xy, z = found.camera.project(around.xyz.astype(np.float64))
        x, y = xy[:, 0], xy[:, 1]
        # A float32 position may fall on the other side of the picture's edge.
        inside = (z > 0) & (x > 0.01) & (x < 239.99) & (y > 0.01) & (y < 179.99)
        column, row = np.floor(xy[inside]).astype(int).T
        assert (z[inside] > found.depth[row, column]).all()
        margin = 0.3 * 240 + 1e-2
        near_one |= (z > 0) & (x > -margin) & (x < 240 + margin) & (y > -margin) & (y < 180 + margin)
    assert near_one.all()
    # At the depth of the photo's edge: here the plane goes on.
    assert np.median(plane_scene.distance_to_plane(around.xyz)) < 0.6
    assert len(surround(dense.maps, dense.rgb, SurroundConfig(margin=0.0))) == 0


def test_two_photos(tmp_path: Path) -> None:
    pair = made(board_scene.write_scene(tmp_path, board_scene.cameras(2)))
    for index, found in pair.maps.items():
        sure = found.confidence > FILLED_CONFIDENCE
        assert sure.mean() > 0.6
        error = error_of(found.depth, pair.truth[index])[sure]
        assert np.median(error) < 0.5 * CLOSE
        assert (error < 2 * CLOSE).mean() > 0.93


def test_threads_change_no_bit(tmp_path: Path) -> None:
    scene = board_scene.write_scene(tmp_path, board_scene.cameras(2, size=(96, 72)))
    found = []
    for threads in (1, 2):
        cpu.set_threads(threads)
        try:
            found.append(match_photos(scene, None, MatchConfig(sweep_side=60)))
        finally:
            cpu.set_threads(0)
    for index, one in found[0].items():
        for name in ("planes", "agreeing", "hidden", "passed"):
            np.testing.assert_array_equal(getattr(one, name), getattr(found[1][index], name))


def test_dense_start_says_what_it_found(tmp_path: Path) -> None:
    scene = board_scene.write_scene(tmp_path, board_scene.cameras(2, size=(128, 96)))
    stages: list[tuple[str, float]] = []
    start = dense_start(
        scene, None, spacing_px=2.0, count=1500, margin=0.3, progress=lambda what, f: stages.append((what, f))
    )
    assert start is not None
    assert start.points.oriented
    assert set(start.maps) == set(start.photos) == {0, 1}
    assert "2 photos" in start.sentence
    assert "guessed around them" in start.sentence
    assert start.points.confidence is not None
    assert (start.points.confidence == np.float32(GUESSED_CONFIDENCE)).any()
    fractions = [fraction for _, fraction in stages]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    bare = dense_start(scene, None, spacing_px=2.0, count=1500, margin=0.0)
    assert bare is not None
    assert "guessed" not in bare.sentence
    assert len(bare.points) < len(start.points)


def test_photos_that_share_nothing_give_no_dense_start(tmp_path: Path) -> None:
    """Back to back; and side by side, but of different worlds."""
    away = board_scene.cameras(2, size=(96, 72))
    turned = np.diag([-1.0, 1.0, -1.0, 1.0]) @ away[1].cam_from_world
    away[1] = type(away[1])(96, 72, away[1].fx, away[1].fy, 48, 36, turned)
    scene = board_scene.write_scene(tmp_path / "away", away)
    assert match_photos(scene, None) == {}
    assert dense_start(scene, None, spacing_px=2.0, count=1000, margin=0.3) is None
    scene = board_scene.write_scene(tmp_path / "other", board_scene.cameras(2, size=(96, 72)), seeds=(5, 50))
    assert dense_start(scene, None, spacing_px=2.0, count=1000, margin=0.3) is None


def test_given_depth_fills_what_was_not_matched(dense: Dense) -> None:
    found = dense.maps[1]
    camera = found.camera.resized(120, 90)
    given = DepthMap(
        camera, np.full((90, 120), 7.0, np.float32), np.full((90, 120), 0.6, np.float32),
        np.zeros((90, 120, 3), np.float32),
    )  # fmt: skip
    given.confidence[:45] = 0.0
    out = completed(found, given)
    sure = found.confidence > FILLED_CONFIDENCE
    np.testing.assert_array_equal(out.depth[sure], found.depth[sure])
    np.testing.assert_array_equal(out.confidence[sure], found.confidence[sure])
    np.testing.assert_array_equal(out.depth[:90], found.depth[:90])
    lower = ~sure
    lower[:90] = False
    assert lower.sum() > 100
    assert (out.depth[lower] == 7.0).all()
    assert (out.confidence[lower] == np.float32(0.6)).all()
    # Normals that are not given stay.
    np.testing.assert_array_equal(out.normal, found.normal)
    assert completed(found, None) is found

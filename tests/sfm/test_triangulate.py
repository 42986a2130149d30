# SPDX-License-Identifier: Apache-2.0
"""Points from known poses: on a plane whose every point is known, and on real photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sparse3d.kernels.neighbours import nearest_distances, nearest_rows
from sparse3d.load import SceneConfig, load_scene
from sparse3d.sfm.features import detect
from sparse3d.sfm.tracks import CameraArrays, Observations, components, refine, widest_angle_deg
from sparse3d.sfm.triangulate import TriangulateConfig, triangulate_points
from sparse3d.sfm.two_view import fundamental, midpoints
from tests.depth.plane_scene import cameras_on_arc, distance_to_plane, photograph, texture, write_scene


def test_points_lie_on_the_plane_with_its_colours(tmp_path: Path) -> None:
    scene = write_scene(tmp_path, cameras_on_arc(4), (0, 1, 2, 3))
    points = triangulate_points(scene)
    assert points is not None
    assert points.error_px is not None
    assert len(points) > 500
    distance = distance_to_plane(points.xyz)
    assert np.median(distance) < 0.005
    assert np.quantile(distance, 0.99) < 0.08
    assert points.error_px.max() <= 1.5
    camera = scene.cameras[1]
    xy, z = camera.project(points.xyz)
    column, row = np.floor(xy).astype(int).T
    inside = (z > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    assert inside.sum() > 300
    seen = scene.images.rgb8(1)[row[inside], column[inside]] / 255.0
    assert np.median(np.abs(seen - points.rgb[inside])) < 0.06


def test_same_bits_for_any_number_of_threads(tmp_path: Path) -> None:
    scene = write_scene(tmp_path, cameras_on_arc(5), (0, 1, 2, 3, 4))
    first = triangulate_points(scene, TriangulateConfig(threads=1))
    second = triangulate_points(scene, TriangulateConfig(threads=3))
    assert first is not None
    assert second is not None
    assert np.array_equal(first.xyz, second.xyz)
    assert np.array_equal(first.rgb, second.rgb)


def test_held_out_photos_have_no_say(tmp_path: Path) -> None:
    cameras = cameras_on_arc(4)
    scene = write_scene(tmp_path, cameras, (0, 1, 3))
    before = triangulate_points(scene)
    cv2.imwrite(str(tmp_path / "view_02.png"), photograph(cameras[2], texture(seed=77)))
    shifted = replace(cameras[2], cam_from_world=cameras[0].cam_from_world)
    changed = replace(scene, cameras=(*cameras[:2], shifted, cameras[3]))
    scene.images.close()
    after = triangulate_points(changed)
    assert before is not None
    assert after is not None
    assert np.array_equal(before.xyz, after.xyz)


def test_one_photo_places_nothing(tmp_path: Path) -> None:
    assert triangulate_points(write_scene(tmp_path, cameras_on_arc(2), (1,))) is None


def test_photos_without_texture_place_nothing(tmp_path: Path) -> None:
    grey = np.full((64, 64, 3), 90, np.uint8)
    assert triangulate_points(write_scene(tmp_path, cameras_on_arc(3), (0, 1, 2), grey)) is None


def test_result_is_kept_and_made_again_when_it_does_not_fit(tmp_path: Path) -> None:
    scene = write_scene(tmp_path, cameras_on_arc(3), (0, 1, 2))
    run = tmp_path / "run ü"
    said: list[str] = []
    first = triangulate_points(scene, workdir=run, progress=lambda stage, _: said.append(stage))
    assert {"features", "matching", "points"} <= set(said)
    said.clear()
    again = triangulate_points(scene, workdir=run, progress=lambda stage, _: said.append(stage))
    assert not said
    assert first is not None
    assert again is not None
    assert np.array_equal(first.xyz, again.xyz)
    moved = replace(scene.cameras[0], fx=scene.cameras[0].fx * 1.001)
    triangulate_points(
        replace(scene, cameras=(moved, *scene.cameras[1:])), workdir=run, progress=lambda s, _: said.append(s)
    )
    assert said
    (run / "points.safetensors").write_bytes(b"damaged")
    repaired = triangulate_points(scene, workdir=run)
    assert repaired is not None
    assert np.array_equal(repaired.xyz, first.xyz)


def test_keypoint_positions_have_no_bias() -> None:
    grey = np.zeros((120, 160), np.float32)
    y, x = np.mgrid[:120, :160] + 0.5
    truth = np.array([[40.3, 50.8], [100.6, 70.2], [70.1, 30.4]])
    for cx, cy in truth:
        grey += 200 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 3.0**2))
    found = detect(np.rint(grey).astype(np.uint8), contrast=0.02, count_max=100)
    for spot in truth:
        assert np.linalg.norm(found.xy - spot, axis=1).min() < 0.12


def test_descriptors_are_whole_numbers_so_that_dot_products_are_exact() -> None:
    grey = cv2.cvtColor(texture(side=256), cv2.COLOR_RGB2GRAY).astype(np.uint8)
    found = detect(grey, contrast=0.01, count_max=500)
    assert len(found) > 50
    assert np.array_equal(found.descriptors, np.rint(found.descriptors))
    length = np.linalg.norm(found.descriptors, axis=1)
    assert length.min() > 480
    assert length.max() < 540


def test_fundamental_and_midpoint_agree_with_projection() -> None:
    a, b = cameras_on_arc(2, step_deg=20.0)
    world = np.random.default_rng(3).uniform((-1, -1, 3), (1, 1, 5), (50, 3))
    xy_a, xy_b = a.project(world)[0], b.project(world)[0]
    ones = np.ones((50, 1))
    lines = np.hstack([xy_a, ones]) @ fundamental(a, b).T
    gap = (lines * np.hstack([xy_b, ones])).sum(axis=1) / np.hypot(lines[:, 0], lines[:, 1])
    assert np.abs(gap).max() < 1e-8
    points, angle = midpoints(xy_a, xy_b, a, b)
    assert np.abs(points - world).max() < 1e-8
    assert angle.min() > 5


def test_refine_reaches_the_point_and_never_makes_it_worse() -> None:
    cameras = cameras_on_arc(4, step_deg=8.0)
    rng = np.random.default_rng(8)
    world = rng.uniform((-1, -1, 3), (1, 1, 5), (40, 3))
    point = np.repeat(np.arange(40), 4)
    view = np.tile(np.arange(4), 40)
    xy = np.stack([cameras[v].project(world[p : p + 1])[0][0] for p, v in zip(point, view, strict=True)])
    seen = Observations(point, view, np.zeros(160, np.int64), xy)
    arrays = CameraArrays.of(cameras)
    placed = refine(world + rng.normal(0, 0.05, world.shape), seen, arrays)
    assert np.abs(placed - world).max() < 1e-6
    assert (
        np.array_equal(refine(world, seen, arrays), world) or np.abs(refine(world, seen, arrays) - world).max() < 1e-9
    )
    ray = world[0] - arrays.position
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    widest = np.degrees(np.arccos(np.clip(ray @ ray.T, -1, 1).min()))
    assert widest_angle_deg(world, seen, arrays)[0] == pytest.approx(widest, rel=1e-9)


def test_components_of_a_chain_and_two_islands() -> None:
    label = components(9, np.array([7, 5, 3, 1, 2]), np.array([5, 3, 1, 8, 4]))
    assert label.tolist() == [0, 1, 2, 1, 2, 1, 6, 1, 1]


def test_nearest_distances_are_exact() -> None:
    points = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    brute = np.sort(np.linalg.norm(points[:, None].astype(float) - points[None], axis=2), axis=1)[:, 1:4]
    assert np.abs(nearest_distances(points, 3) - brute).max() < 1e-5
    assert nearest_distances(points[:1], 3).tolist() == [[0.0, 0.0, 0.0]]
    assert nearest_distances(points[:2], 3).shape == (2, 3)


def test_nearest_rows_are_the_others() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    brute = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(brute, np.inf)
    assert np.array_equal(nearest_rows(points, 4), np.argsort(brute, axis=1)[:, :4])
    same = nearest_rows(np.zeros((6, 3), np.float32), 2)
    assert same.shape == (6, 2)
    assert not np.any(same == np.arange(6)[:, None]), "a point is not its own neighbour"
    assert nearest_rows(points[:2], 3).tolist() == [[1, 1, 1], [0, 0, 0]]
    assert nearest_rows(points[:1], 2).tolist() == [[0, 0]]


def test_fox_four_views_real_photos(shared_scene: Callable[[str], Path], tmp_path: Path) -> None:
    scene = load_scene(shared_scene("fox"), SceneConfig(views="4", max_side=480))
    points = triangulate_points(scene)
    assert points is not None
    assert points.error_px is not None
    assert len(points) > 600
    assert np.median(points.error_px) < 0.5

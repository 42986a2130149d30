# SPDX-License-Identifier: Apache-2.0
"""The visual hull of masks: a sphere seen from a few sides, with right and wrong masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.depth.depth_map import DepthMap
from sparse3d.depth.hull import Hull, outside_hull, outside_share, visual_hull
from sparse3d.records.points import Points
from sparse3d.start.hull_points import HullPointsConfig, hull_grid, hull_points, unmatched
from sparse3d.start.init_splats import init_splats

SIZE = 96
RADIUS = 0.7


def _camera(place: tuple[float, float, float]) -> Camera:
    """Looks at the origin."""
    position = np.array(place)
    forward = -position / np.linalg.norm(position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ position
    return Camera(SIZE, SIZE, 110.0, 110.0, SIZE / 2, SIZE / 2, pose)


CAMERAS = [_camera(p) for p in ((3, 0, 1), (0, 3, 1), (-3, 0.2, 0.5), (0.2, -3, -1.5))]


def _disc(camera: Camera, radius: float = RADIUS) -> NDArray[np.bool_]:
    """Mask of the sphere around the origin: rays that pass it closer than its radius."""
    x, y = np.meshgrid(np.arange(SIZE) + 0.5 - camera.cx, np.arange(SIZE) + 0.5 - camera.cy)
    ray = np.stack([x / camera.fx, y / camera.fy, np.ones_like(x)], axis=-1) @ camera.world_from_cam[:3, :3].T
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    return np.linalg.norm(np.cross(ray, camera.position), axis=-1) < radius


MASKS = [_disc(camera) for camera in CAMERAS]


def _hull(masks: list[NDArray[np.bool_]] | None = None) -> Hull:
    hull = visual_hull(CAMERAS, MASKS if masks is None else masks)
    assert hull is not None
    return hull


def _on_sphere(radius: float, count: int = 2000) -> NDArray[np.float64]:
    points = np.random.default_rng(1).standard_normal((count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True) * radius


def _shell(hull: Hull) -> Points:
    photos = {k: np.full((SIZE, SIZE, 3), 40 * (k + 1), np.uint8) for k in range(4)}
    points = hull_points(hull, photos, HullPointsConfig(cells=48))
    assert points is not None
    return points


def test_hull_of_a_sphere_holds_the_sphere():
    hull = _hull()
    assert (len(hull.silhouettes), hull.forgiven) == (4, 1)
    assert hull.contains(_on_sphere(RADIUS)).all()
    assert hull.contains(np.zeros((1, 3))).all()


def test_hull_is_not_much_larger_than_the_sphere():
    # With 3 of 4 masks the hull is a union of 4 intersections of cones: larger than with all, but bounded.
    sphere = 4.0 / 3.0 * np.pi * RADIUS**3
    grid = hull_grid(_hull(), 64)
    assert grid is not None
    assert sphere < grid.volume < 2.2 * sphere
    assert not _hull().contains(_on_sphere(3.0 * RADIUS)).any()
    finer = hull_grid(_hull(), 96)
    assert finer is not None
    assert finer.volume == pytest.approx(grid.volume, rel=0.04)


def test_one_wrong_mask_of_four_cuts_nothing_away_two_do():
    wrong = np.zeros_like(MASKS[0])
    wrong[2:8, 2:8] = True
    hull = _hull([wrong, *MASKS[1:]])
    assert hull.contains(_on_sphere(RADIUS)).all()
    assert not _hull([wrong, wrong, *MASKS[2:]]).contains(np.zeros((1, 3))).any()


def test_two_masks_forgive_nothing():
    hull = visual_hull(CAMERAS[:2], MASKS[:2])
    assert hull is not None
    assert hull.forgiven == 0
    behind = np.array([[-1.2, 0.0, -0.4]])
    assert not hull.contains(behind).any()
    assert _hull().contains(np.zeros((1, 3))).all()


def test_points_behind_a_camera_or_not_finite_are_outside():
    hull = _hull()
    points = np.array([[30.0, 0.0, 10.0], [np.nan, 0.0, 0.0], [0.0, np.inf, 0.0]])
    assert not hull.contains(points).any()


def test_beyond_a_cut_off_mask_may_be_the_object():
    # The object leaves each picture below: its border there is masked, so what lies further down may be it.
    masks = []
    for mask in MASKS:
        cut = mask.copy()
        cut[SIZE // 2 :, 30:66] = True
        masks.append(cut)
    below = np.array([[0.0, 0.0, -2.2]])
    assert all((camera.project(below)[0][0, 1] > SIZE) for camera in CAMERAS[:3])
    assert _hull(masks).contains(below).all()
    assert not _hull().contains(below).any()


@pytest.mark.parametrize(
    "masks",
    [
        [None, None, None, None],
        [None, None, None, MASKS[3]],
        [np.zeros_like(MASKS[0])] * 4,
        [~m for m in MASKS],
    ],
    ids=["none", "one", "empty", "all but the object"],
)
def test_there_is_no_hull_without_two_masks_of_an_object(masks: list[NDArray[np.bool_] | None]):
    assert visual_hull(CAMERAS, masks) is None


def test_hull_points_lie_on_the_hull_and_look_outwards():
    hull = _hull()
    points = _shell(hull)
    assert points.normal is not None
    assert points.radius is not None
    assert points.confidence is not None
    assert len(points) > 500
    assert hull.contains(points.xyz.astype(np.float64)).mean() > 0.98
    step = 2.0 * points.radius[:, None] * points.normal
    assert hull.contains((points.xyz + step).astype(np.float64)).mean() < 0.05
    assert ((points.xyz * points.normal).sum(axis=1) > 0).mean() > 0.98
    np.testing.assert_allclose(np.linalg.norm(points.normal, axis=1), 1.0, atol=1e-5)
    assert points.confidence.max() < 0.1


def test_hull_points_take_the_colour_of_the_photo_they_face():
    points = _shell(_hull())
    facing = points.xyz[:, 0] > 0.6
    assert facing.sum() > 20
    np.testing.assert_allclose(points.rgb[facing], 40.0 / 255.0, atol=1e-6)


def test_hull_points_are_the_same_every_time():
    a, b = _shell(_hull()), _shell(_hull())
    for name in ("xyz", "rgb", "normal", "radius"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    few = hull_points(_hull(), {k: np.zeros((SIZE, SIZE, 3), np.uint8) for k in range(4)}, HullPointsConfig(48, 300))
    assert few is not None
    assert len(few) == 300


def test_hull_points_stand_where_no_photo_has_a_depth():
    points = _shell(_hull())
    camera = CAMERAS[0]
    depth = np.where(MASKS[0], np.float32(2.9), 0).astype(np.float32)
    sure = DepthMap(camera, depth, 0.9 * MASKS[0].astype(np.float32), np.zeros((SIZE, SIZE, 3), np.float32))
    left = unmatched(points, {0: sure})
    assert unmatched(points, {}).all()
    xy, _ = camera.project(points.xyz)
    masked = MASKS[0][tuple(np.clip(xy.astype(np.int64), 0, SIZE - 1).T[::-1])]
    front = masked & (points.xyz @ camera.position > 1.0)
    assert front.sum() > 100
    assert not left[front].any()
    assert left[points.xyz @ camera.position < -1.2].all()
    unsure = DepthMap(camera, depth, 0.05 * MASKS[0].astype(np.float32), sure.normal)
    assert (unmatched(points, {0: unsure}) == left).all()
    assert unmatched(points, {0: unsure}, 0.1).all()


def test_share_of_opacity_outside():
    xyz = np.concatenate([_on_sphere(0.5, 30), _on_sphere(2.5, 10)]).astype(np.float32)
    splats = init_splats(Points(xyz, np.full_like(xyz, 0.5)), 0)
    hull = _hull()
    assert torch.equal(outside_hull(splats, hull), torch.arange(40) >= 30)
    assert outside_share(splats, hull) == pytest.approx(0.25, abs=1e-6)
    assert outside_share(splats.select(torch.arange(30)), hull) == 0.0

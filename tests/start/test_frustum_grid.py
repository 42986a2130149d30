# SPDX-License-Identifier: Apache-2.0
"""Random points for those parts of the photos that nothing explains."""

from __future__ import annotations

import numpy as np

from sparse3d.camera import Camera
from sparse3d.depth.hull import visual_hull
from sparse3d.records.points import Points
from sparse3d.sfm.frustum import near_far, seen_by
from sparse3d.start.frustum_grid import FrustumGridConfig, frustum_grid

WIDTH, HEIGHT = 80, 60


def _camera(x: float) -> Camera:
    pose = np.eye(4)
    pose[0, 3] = -x
    return Camera(WIDTH, HEIGHT, 70.0, 70.0, WIDTH / 2, HEIGHT / 2, pose)


CAMERAS = [_camera(-0.3), _camera(0.3)]
PHOTOS = [np.full((HEIGHT, WIDTH, 3), value, np.uint8) for value in (60, 180)]


def _left_half() -> Points:
    """A wall at depth 4 over the left half of the first photo."""
    x, y = np.meshgrid(np.arange(1.0, WIDTH / 2, 1.0), np.arange(0.5, HEIGHT, 1.0))
    xyz = np.stack([(x - WIDTH / 2) / 70 * 4 - 0.3, (y - HEIGHT / 2) / 70 * 4, np.full_like(x, 4.0)], axis=-1)
    xyz = xyz.reshape(-1, 3).astype(np.float32)
    return Points(xyz, np.zeros_like(xyz))


NOTHING = Points(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))


def test_points_lie_inside_the_frusta_between_near_and_far():
    points = frustum_grid(CAMERAS, PHOTOS, NOTHING)
    near, far = near_far(CAMERAS)
    assert len(points) > 1000
    assert (seen_by(CAMERAS, points.xyz) >= 1).all()
    assert points.xyz[:, 2].min() >= near * 0.999
    assert points.xyz[:, 2].max() <= far * 1.001
    assert set(np.unique(np.rint(points.rgb * 255))) == {60.0, 180.0}
    assert points.confidence is not None
    assert points.confidence.max() == 0.0


def test_points_stand_only_where_there_are_none():
    wall = _left_half()
    points = frustum_grid(CAMERAS[:1], PHOTOS[:1], wall)
    xy, _ = CAMERAS[0].project(points.xyz)
    cell = 0.03 * WIDTH
    assert xy[:, 0].min() > WIDTH / 2 - 1.5 * cell
    assert xy[:, 0].max() > WIDTH - cell
    assert points.xyz[:, 2].min() >= 0.8 * 4.0 * 0.999
    assert points.xyz[:, 2].max() <= 1.25 * 4.0 * 1.001
    everywhere = Points(np.concatenate([wall.xyz, points.xyz]), np.concatenate([wall.rgb, points.rgb]))
    assert len(frustum_grid(CAMERAS[:1], PHOTOS[:1], everywhere)) == 0


def test_the_same_seed_gives_the_same_points():
    a, b = (frustum_grid(CAMERAS, PHOTOS, NOTHING, FrustumGridConfig(seed=3)) for _ in range(2))
    np.testing.assert_array_equal(a.xyz, b.xyz)
    other = frustum_grid(CAMERAS, PHOTOS, NOTHING, FrustumGridConfig(seed=4))
    assert not np.array_equal(a.xyz, other.xyz)


def test_with_a_hull_points_stand_inside_it_alone():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:40, 30:50] = True
    hull = visual_hull(CAMERAS, [mask, mask])
    assert hull is not None
    points = frustum_grid(CAMERAS, PHOTOS, NOTHING, hull=hull)
    assert len(points) > 20
    assert hull.contains(points.xyz.astype(np.float64)).all()


def test_what_a_mask_leaves_out_gets_no_points():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:, : WIDTH // 2] = True
    points = frustum_grid(CAMERAS[:1], PHOTOS[:1], NOTHING, masks=[mask])
    assert len(points) > 100
    assert CAMERAS[0].project(points.xyz)[0][:, 0].max() < WIDTH / 2 + 0.03 * WIDTH

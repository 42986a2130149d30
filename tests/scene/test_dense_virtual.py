# SPDX-License-Identifier: Apache-2.0
"""Virtual photos between the cameras against what a camera there would really see."""

from __future__ import annotations

import numpy as np
import pytest

from sparse3d.scene.dense.virtual import virtual_views
from sparse3d.scene.depth_map import DepthMap
from tests.scene import board_scene

SIZE = (160, 120)


def exact(scale: float = 1.0, count: int = 3) -> tuple[dict[int, DepthMap], dict[int, np.ndarray]]:
    """Exact depth and photos of the board before the plane, in a world `scale` times as large."""
    maps, photos = {}, {}
    for index, camera in enumerate(board_scene.cameras(count, size=SIZE, scale=scale)):
        rgb, depth = board_scene.photograph(camera, scale=scale)
        normal = np.broadcast_to(np.array([0.0, 0.0, -1.0], np.float32), (*depth.shape, 3))
        maps[index] = DepthMap(camera, depth.astype(np.float32), np.ones(depth.shape, np.float32), normal)
        photos[index] = rgb
    return maps, photos


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(((a.astype(np.float64) - b) ** 2).mean()))


@pytest.mark.parametrize("scale", [0.01, 1.0, 1000.0])
def test_views_are_what_a_camera_there_would_see(scale: float) -> None:
    """In metres as in millimetres."""
    views = virtual_views(*exact(scale), 6)
    assert len(views) == 6
    for view in views:
        assert (view.camera.width, view.camera.height) == SIZE
        assert set(np.unique(view.weight)) == {0.0, 1.0}
        assert view.weight.mean() > 0.6
        truth = board_scene.photograph(view.camera, scale=scale)[0] / 255.0
        counts = view.weight > 0
        assert psnr(view.image[counts], truth[counts]) > 27
        # Single wrong pixels too: what lies behind must not show through.
        assert (np.abs(view.image - truth).max(axis=2)[counts] > 0.35).mean() < 0.005


def test_views_stand_between_the_cameras_and_apart() -> None:
    maps, photos = exact()
    views = virtual_views(maps, photos, 6)
    places = np.stack([view.camera.position for view in views])
    cameras = np.stack([found.camera.position for found in maps.values()])
    for view in views:
        rotation = view.camera.cam_from_world[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        ways = [
            abs(
                np.linalg.norm(view.camera.position - a)
                + np.linalg.norm(view.camera.position - b)
                - np.linalg.norm(a - b)
            )
            for a in cameras
            for b in cameras
        ]
        assert min(ways) < 1e-9
    gaps = np.linalg.norm(places[:, None] - np.concatenate([places, cameras])[None], axis=2)
    assert np.sort(gaps, axis=1)[:, 1].min() > 0.01 * np.linalg.norm(cameras[0] - cameras[1])


def test_only_sure_pixels_are_carried() -> None:
    maps, photos = exact(count=2)
    for found in maps.values():
        # The right half was filled in.
        found.confidence[:, 80:] = 0.1
    (view,) = virtual_views(maps, photos, 1)
    assert 0.2 < view.weight.mean() < 0.6
    for found in maps.values():
        found.confidence[:] = 0.1
    assert virtual_views(maps, photos, 1) == ()


def test_nothing_is_asked_or_there_is_no_pair() -> None:
    maps, photos = exact(count=2)
    assert virtual_views(maps, photos, 0) == ()
    assert virtual_views({0: maps[0]}, photos, 4) == ()
    first, again = (virtual_views(maps, photos, 2) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)

# SPDX-License-Identifier: Apache-2.0
"""Tilted pictures: matches across views that plain features cannot bridge, and only right ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sparse3d.camera import Camera
from sparse3d.sfm.features import detect
from sparse3d.sfm.tilted import match_tilted, on_planes, tilted_features, tilts_up_to
from tests.depth.plane_scene import look_at, photograph, plane_axes, texture

SIZE = (240, 180)


def from_direction(degrees: float) -> Camera:
    """A camera that looks at the middle of the plane under an angle to its normal, from 3 units away."""
    origin, across, down = plane_axes()
    outward = -np.cross(across, down)
    angle = np.deg2rad(degrees)
    place = origin + 3.0 * (np.cos(angle) * outward + np.sin(angle) * across)
    return Camera(*SIZE, 260.0, 260.0, SIZE[0] / 2, SIZE[1] / 2, look_at(place.tolist(), origin.tolist()))


def grey(camera: Camera) -> np.ndarray:
    return cv2.cvtColor(photograph(camera, texture()), cv2.COLOR_RGB2GRAY)


def through_plane(xy: np.ndarray, a: Camera, b: Camera) -> np.ndarray:
    """Where in b the plane's points lie that a sees at xy [N,2]."""
    origin, across, down = plane_axes()
    normal = np.cross(across, down)
    ray = np.concatenate([(xy - [a.cx, a.cy]) / [a.fx, a.fy], np.ones((len(xy), 1))], axis=1) @ a.cam_from_world[:3, :3]
    depth = ((origin - a.position) @ normal) / (ray @ normal)
    return b.project(a.position + depth[:, None] * ray)[0]


def test_tilts_are_sampled_as_in_the_paper() -> None:
    views = tilts_up_to(4 * 2**0.5)
    assert views[0] == (1.0, 0.0)
    counts = [sum(abs(t - 2 ** (k / 2)) < 1e-9 for t, _ in views) for k in range(6)]
    assert counts == [1, 4, 5, 8, 10, 15]
    assert max(direction for _, direction in views) < np.pi


def test_photos_130_degrees_apart_are_matched_where_plain_features_fail() -> None:
    a, b = from_direction(-65.0), from_direction(65.0)
    found = [tilted_features(grey(c), None, tilt_max=4.0, count_max=4000) for c in (a, b)]
    xy_a, xy_b = match_tilted(*found)
    keep = on_planes(xy_a, xy_b, error_px=4.0, count_min=20, more_min=15)
    off = np.linalg.norm(through_plane(xy_a[keep], a, b) - xy_b[keep], axis=1)
    assert keep.sum() >= 60
    assert np.median(off) < 1.0
    assert (off < 4.0).mean() > 0.95

    plain = [detect(grey(c), contrast=0.01, count_max=4000) for c in (a, b)]
    pairs = cv2.BFMatcher().knnMatch(plain[0].descriptors, plain[1].descriptors, k=2)
    good = np.array([(m.queryIdx, m.trainIdx) for m, n in pairs if m.distance < 0.82 * n.distance]).reshape(-1, 2)
    off = np.linalg.norm(through_plane(plain[0].xy[good[:, 0]], a, b) - plain[1].xy[good[:, 1]], axis=1)
    assert (off < 4.0).sum() < 0.2 * keep.sum()


def test_masked_parts_and_empty_photos_give_no_features() -> None:
    picture = grey(from_direction(0.0))
    mask = np.zeros_like(picture)
    mask[:, 120:] = 255
    found = tilted_features(picture, mask, tilt_max=2.0, count_max=1000)
    assert len(found.xy) > 100
    assert found.xy[:, 0].min() > 118
    nothing = tilted_features(np.full((60, 80), 90, np.uint8), None, tilt_max=2.0, count_max=1000)
    assert len(nothing.xy) == 0
    assert len(match_tilted(nothing, found)[0]) == len(match_tilted(found, nothing)[0]) == 0


@pytest.mark.parametrize("seed", range(5))
def test_matches_at_random_lie_on_no_plane(seed: int) -> None:
    rng = np.random.default_rng(seed)
    xy_a, xy_b = rng.uniform(0, 300, (2, 200, 2))
    assert not on_planes(xy_a, xy_b, error_px=4.0, count_min=20, more_min=15).any()
    assert not on_planes(xy_a[:3], xy_b[:3], error_px=4.0, count_min=20, more_min=15).any()
    # Two planes among them, each moved in its own way, are both found.
    xy_b[:40] = xy_a[:40] * 1.3 + 20
    xy_b[40:65] = xy_a[40:65] @ np.array([[0.6, -0.5], [0.5, 0.6]]) + 90
    keep = on_planes(xy_a, xy_b, error_px=4.0, count_min=20, more_min=15)
    assert keep[:65].all()
    assert keep[65:].sum() <= 8

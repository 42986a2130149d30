# SPDX-License-Identifier: Apache-2.0
"""Selecting in a picture: what the eye would say of each projected centre."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from sparse3d.edit import Document, apply, camera_values
from sparse3d.edit.picture import at_click, in_polygon, in_rectangle, project, seen_in, under_brush
from sparse3d.splats import Splats
from tests.edit.clouds import before_it, cloud


def test_centres_are_where_the_camera_says() -> None:
    splats, camera = cloud(), before_it()
    at = project(splats, camera)
    pixels, depth = camera.project(splats.means.numpy().astype(np.float64))
    np.testing.assert_allclose(np.stack([at.x, at.y], axis=1), pixels, atol=1e-9)
    np.testing.assert_allclose(at.z, depth, atol=1e-12)
    assert at.ahead.all()


def test_rectangle_takes_what_lies_between_any_two_corners() -> None:
    at = project(cloud(), before_it())
    inside = (at.x >= 20) & (at.x <= 40) & (at.y >= 10) & (at.y <= 30)
    assert 0 < inside.sum() < len(inside)
    for corners in ((20, 10, 40, 30), (40, 30, 20, 10), (20, 30, 40, 10)):
        assert np.array_equal(in_rectangle(at, corners), inside)


def _winding(x: float, y: float, corners: np.ndarray) -> bool:
    """Even-odd by the plain test of one point."""
    inside = False
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            inside = not inside
    return inside


def test_polygon_is_even_and_odd_point_by_point() -> None:
    at = project(cloud(2000), before_it())
    angles = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    star = np.stack([32 + 20 * np.cos(2 * angles + 0.1), 24 + 15 * np.sin(3 * angles)], axis=1)
    expected = [_winding(x, y, star) for x, y in zip(at.x, at.y, strict=True)]
    assert 100 < sum(expected) < 1900
    assert np.array_equal(in_polygon(at, star), expected)


def test_brush_takes_what_lies_within_its_radius() -> None:
    at = project(cloud(1000), before_it())
    stroke = np.array([[10.0, 10.0], [40.0, 20.0], [30.0, 40.0]])
    expected = np.zeros(1000, bool)
    for start, end in itertools.pairwise(stroke):
        for share in np.linspace(0, 1, 4001):
            point = start + share * (end - start)
            expected |= (at.x - point[0]) ** 2 + (at.y - point[1]) ** 2 <= 25.0
    assert np.array_equal(under_brush(at, stroke, 5.0), expected)
    dot = under_brush(at, stroke[:1], 6.0)
    assert np.array_equal(dot, (at.x - 10) ** 2 + (at.y - 10) ** 2 <= 36.0)


def test_what_is_behind_the_camera_is_never_taken() -> None:
    splats = cloud()
    splats.means[:, 2] -= 10.0
    at = project(splats, before_it())
    everything = np.array([[-1e6, -1e6], [1e6, -1e6], [1e6, 1e6], [-1e6, 1e6]])
    assert not in_polygon(at, everything).any()
    assert not in_rectangle(at, (-1e6, -1e6, 1e6, 1e6)).any()
    assert not under_brush(at, everything, 1e6).any()


def _wall_before_one() -> Splats:
    """Row 0 lies behind a wall of opaque splats; row 1 is the wall's middle."""
    splats = cloud(122, degree=0)
    side = torch.linspace(-1, 1, 11)
    splats.means[1:] = torch.stack([*torch.meshgrid(side, side, indexing="xy"), torch.zeros(11, 11)], -1).reshape(-1, 3)
    splats.means[0] = torch.tensor([0.0, 0.0, 1.0])
    splats.log_scales[:], splats.logit_opacities[:] = math.log(0.12), 6.0
    return splats


def test_only_what_is_seen() -> None:
    splats, camera = _wall_before_one(), before_it()
    document = Document(splats)
    op = {"op": "select_rectangle", "camera": camera_values(camera), "corners": [30, 22, 34, 26]}
    apply(document, op)
    assert document.selected[0]
    through = document.selected.sum()
    apply(document, {**op, "seen_only": True})
    assert not document.selected[0]
    assert document.selected.sum() == through - 1
    click = {"op": "select_click", "camera": op["camera"], "pixel": [32.2, 24]}
    apply(document, {**click, "seen_only": True})
    assert np.flatnonzero(document.selected).tolist() == [61]


def test_a_depth_picture_without_surface_hides_nothing() -> None:
    splats, camera = cloud(), before_it()
    at = project(splats, camera)
    inside = (at.x >= 0) & (at.x < 64) & (at.y >= 0) & (at.y < 48)
    assert np.array_equal(seen_in(splats, camera, np.zeros((48, 64))), inside)


def test_click_takes_the_nearest_in_the_picture_then_in_depth() -> None:
    splats = cloud(3, degree=0)
    splats.means[:] = torch.tensor([[0, 0, 1.0], [0, 0, 0.0], [0.2, 0, 0.0]])
    at = project(splats, before_it())
    everything = np.ones(3, bool)
    assert at_click(at, (32, 24), 5, everything) == 1
    assert at_click(at, (34.9, 24), 5, everything) == 2
    assert at_click(at, (5, 5), 5, everything) is None

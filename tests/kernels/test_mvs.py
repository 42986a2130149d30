# SPDX-License-Identifier: Apache-2.0
"""The dense-depth kernels on photos of a tilted plane, whose inverse depth is known at every pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from parity import CPU_LEVELS

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.kernels import cpu
from sparse3d.kernels.cpu import mvs
from sparse3d.kernels.cpu.mvs import DepthRange, MatchCosts, MvsImage, Planes
from tests.depth import plane_scene

W_FAR, W_NEAR = 1 / 8.0, 1 / 2.0
SPAN = DepthRange(W_FAR, W_NEAR)
COSTS = MatchCosts(best_views=1)
# The pictures' edges have fewer samples in the other photos.
INSIDE = (slice(8, -8), slice(8, -8))


@pytest.fixture(scope="module")
def photos() -> list[MvsImage]:
    """Three photos of 192x144 of the plane; the second is matched with the others."""
    # Wide enough for what the cameras see, and no finer than their pixels.
    picture = plane_scene.texture(side=512)
    out = []
    for camera in plane_scene.cameras_on_arc(3, step_deg=9.0, size=(192, 144)):
        rgb = plane_scene.photograph(camera, picture, extent=6.0)
        out.append(MvsImage(camera, (rgb @ np.array([0.299, 0.587, 0.114]) / 255).astype(np.float32)))
    return out


@pytest.fixture(scope="module")
def swept(photos: list[MvsImage]) -> Planes:
    return sweep(photos)[0]


def sweep(photos: list[MvsImage]) -> tuple[Planes, NDArray[np.float32]]:
    return mvs.sweep(photos[1], sources_of(photos), COSTS, SPAN, 48)


def sources_of(photos: list[MvsImage]) -> list:
    return [photos[k].source_of(photos[1]) for k in (0, 2)]


def match(photos: list[MvsImage], planes: Planes, iterations: int, seed: int = 1) -> Planes:
    out = planes.copy()
    mvs.patch_match(photos[1], sources_of(photos), COSTS, out, SPAN, mvs.Rounds(iterations, seed))
    return out


def true_planes(camera: Camera) -> Planes:
    """Of the plane in the world: w = n . K^-1 (u, v, 1) / d in the camera's frame."""
    pose = camera.cam_from_world
    normal = pose[:3, :3] @ plane_scene.NORMAL
    row = normal @ np.linalg.inv(camera.K) / (plane_scene.OFFSET + normal @ pose[:3, 3])
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    out = np.zeros((camera.height, camera.width, 4))
    out[..., 0] = row[0] * u + row[1] * v + row[2]
    out[..., 1], out[..., 2] = row[0], row[1]
    return out.astype(np.float32)


def relative_error(planes: Planes, truth: Planes) -> NDArray[np.float64]:
    return np.abs(planes[..., 0].astype(np.float64) / truth[..., 0] - 1)[INSIDE]


def normal_error_deg(planes: Planes, camera: Camera) -> NDArray[np.float64]:
    """Angle to the plane's true normal; a normal is the gradient of w over the ray's coordinates."""
    w, gx, gy = (planes[..., k].astype(np.float64) for k in range(3))
    x = ((np.arange(camera.width) + 0.5 - camera.cx) / camera.fx)[None, :]
    y = ((np.arange(camera.height) + 0.5 - camera.cy) / camera.fy)[:, None]
    a, b = gx * camera.fx, gy * camera.fy
    normal = np.stack([a, b, w - a * x - b * y], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    cosine = np.abs(normal @ (camera.cam_from_world[:3, :3] @ plane_scene.NORMAL))
    return np.degrees(np.arccos(np.clip(cosine, 0, 1)))[INSIDE]


def test_sweep_finds_the_depth_nearly_everywhere(photos: list[MvsImage]) -> None:
    planes, clarity = sweep(photos)
    error = relative_error(planes, true_planes(photos[1].camera))
    assert (error < 0.03).mean() > 0.98
    assert (planes[..., 0] > 0.99 * W_FAR).all()
    assert (planes[..., 0] < 1.01 * W_NEAR).all()
    assert (planes[..., 1:3] == 0).all()
    assert clarity.min() >= 0
    assert clarity.max() <= 1


def test_sweep_is_less_clear_where_nothing_is_to_be_seen(photos: list[MvsImage]) -> None:
    """A grey patch painted over all photos' middle: its clarity falls, that of the rest hardly."""
    blank = []
    for image in photos:
        grey = image.grey.copy()
        grey[48:96, 60:132] = 0.5
        blank.append(MvsImage(image.camera, grey))
    before, after = sweep(photos)[1], sweep(blank)[1]
    assert np.median(after[60:84, 78:114]) < 0.5 * np.median(before[60:84, 78:114])


def test_patch_match_finds_depth_and_normals(photos: list[MvsImage], swept: Planes) -> None:
    truth = true_planes(photos[1].camera)
    found = match(photos, swept, 4)
    error = relative_error(found, truth)
    assert np.median(error) < 0.003
    assert np.median(error) < 0.7 * np.median(relative_error(swept, truth))
    assert (error < 0.02).mean() > 0.97
    before = np.median(normal_error_deg(swept, photos[1].camera))
    assert np.median(normal_error_deg(found, photos[1].camera)) < min(12.0, 0.6 * before)


def test_patch_match_starts_from_nothing(photos: list[MvsImage]) -> None:
    """w = 0 means nothing is known; chance and propagation find the plane all the same."""
    found = match(photos, np.zeros((144, 192, 4), np.float32), 8)
    assert np.median(relative_error(found, true_planes(photos[1].camera))) < 0.02
    assert (found[..., 0] >= np.float32(W_FAR)).all()
    assert (found[..., 0] <= np.float32(W_NEAR)).all()


def test_cost_never_rises(photos: list[MvsImage], swept: Planes) -> None:
    now = match(photos, swept, 0)
    first = now
    for seed in range(4):
        after = match(photos, now, 1, seed)
        assert (after[..., 3] <= now[..., 3]).all()
        # The cost that is stored is the cost of the plane that is stored.
        np.testing.assert_array_equal(match(photos, after, 0)[..., 3], after[..., 3])
        now = after
    assert now[..., 3].mean() < 0.8 * first[..., 3].mean()


def test_the_true_plane_costs_least(photos: list[MvsImage]) -> None:
    truth = true_planes(photos[1].camera)
    cost = match(photos, truth, 0)[..., 3][INSIDE]
    assert (match(photos, truth, 0)[..., :3] == truth[..., :3]).all()
    assert np.median(cost) < 0.15
    for factor in (0.9, 0.96, 1.04, 1.1):
        off = truth * np.array([factor, factor, factor, 1], np.float32)
        assert (match(photos, off, 0)[..., 3][INSIDE] > cost).mean() > 0.95, factor
    for slope in (-1.0, 1.0):
        off = truth.copy()
        off[..., 1] += slope * truth[..., 0] / photos[1].camera.fx
        assert (match(photos, off, 0)[..., 3][INSIDE] > cost).mean() > 0.8, slope


def test_geometry_adds_to_the_cost_what_it_disagrees(photos: list[MvsImage]) -> None:
    """Sources that know the true plane: no more cost for the truth, more for anything else."""
    planes = true_planes(photos[1].camera)
    off = planes * np.array([1.05, 1.05, 1.05, 1], np.float32)
    added = []
    for start in (planes, off):
        costs = []
        for weight in (0.0, 0.2):
            sources = [photos[k].source_of(photos[1], true_planes(photos[k].camera)) for k in (0, 2)]
            out = start.copy()
            mvs.patch_match(photos[1], sources, MatchCosts(1, geometric_weight=weight), out, SPAN, mvs.Rounds(0, 0))
            costs.append(out[..., 3][INSIDE])
        added.append(costs[1] - costs[0])
    assert np.abs(added[0]).max() < 0.01
    assert np.median(added[1]) > 0.05
    assert added[1].max() <= 0.2 * 3 + 1e-4


@pytest.fixture(scope="module")
def five() -> list[MvsImage]:
    """Five photos of the plane; the middle one is matched with four, enough that planes are first tried in some."""
    picture = plane_scene.texture(side=512)
    out = []
    for camera in plane_scene.cameras_on_arc(5, step_deg=6.0, size=(160, 120)):
        rgb = plane_scene.photograph(camera, picture, extent=6.0)
        out.append(MvsImage(camera, (rgb @ np.array([0.299, 0.587, 0.114]) / 255).astype(np.float32)))
    return out


def match_five(photos: list[MvsImage], planes: Planes | None, rounds: int) -> Planes:
    sources = [photos[k].source_of(photos[2]) for k in (0, 1, 3, 4)]
    out = np.zeros((120, 160, 4), np.float32) if planes is None else planes.copy()
    mvs.patch_match(photos[2], sources, MatchCosts(2), out, SPAN, mvs.Rounds(rounds, 3))
    return out


def test_many_sources_find_the_plane_and_every_cost_is_that_of_all(five: list[MvsImage]) -> None:
    found = match_five(five, None, 6)
    error = relative_error(found, true_planes(five[2].camera))
    assert np.median(error) < 0.005
    assert (error < 0.02).mean() > 0.95
    # Without a round the cost of each plane is that of all sources.
    np.testing.assert_array_equal(match_five(five, found, 0)[..., 3], found[..., 3])


def test_many_sources_give_the_same_bits_on_any_number_of_threads(five: list[MvsImage]) -> None:
    found = []
    for threads in (1, 2, 3):
        cpu.set_threads(threads)
        try:
            found.append(match_five(five, None, 2))
        finally:
            cpu.set_threads(0)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_threads_change_no_bit(photos: list[MvsImage]) -> None:
    results = []
    for threads in (1, 2):
        cpu.set_threads(threads)
        try:
            planes, clarity = sweep(photos)
            refined = match(photos, planes, 2)
            results.append((planes, clarity, refined, *checked(photos, refined)))
        finally:
            cpu.set_threads(0)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def checked(photos: list[MvsImage], planes: Planes) -> tuple[NDArray[np.uint8], ...]:
    sources = [photos[k].source_of(photos[1], true_planes(photos[k].camera)) for k in (0, 2)]
    return mvs.check(photos[1], sources, planes, 1.0, 0.01)


@pytest.mark.skipif(len(CPU_LEVELS) < 2, reason="this machine has one SIMD level")
def test_simd_levels_agree(photos: list[MvsImage]) -> None:
    found = []
    for level in CPU_LEVELS:
        with cpu.use_level(level):
            planes, _ = sweep(photos)
            cost = match(photos, true_planes(photos[1].camera), 0)[..., 3]
            found.append((planes[..., 0], cost, match(photos, planes, 2)[..., 0]))
    for level, (planes, cost, refined) in zip(CPU_LEVELS[1:], found[1:], strict=True):
        assert (np.abs(planes / found[0][0] - 1) < 1e-3).mean() > 0.99, level
        # A census sign at its threshold may fall either way.
        assert (np.abs(cost - found[0][1]) < 1e-3).mean() > 0.98, level
        assert (np.abs(refined / found[0][2] - 1) < 0.02)[INSIDE].mean() > 0.97, level


def occluded_pair() -> tuple[list[MvsImage], list[Planes]]:
    """A board at depth 2 before a wall at depth 4, seen by two cameras side by side: pictures and true planes."""
    images, planes = [], []
    for x in (0.0, 0.5):
        pose = np.eye(4)
        pose[0, 3] = -x
        camera = Camera(120, 90, 100.0, 100.0, 60.0, 45.0, pose)
        u, v = np.meshgrid(np.arange(120) + 0.5, np.arange(90) + 0.5)
        across, down = (u - 60) / 100 * 2 + x, (v - 45) / 100 * 2
        board = (np.abs(across) < 0.3) & (np.abs(down) < 0.4)
        images.append(MvsImage(camera, np.zeros((90, 120), np.float32)))
        planes.append(np.zeros((90, 120, 4), np.float32))
        planes[-1][..., 0] = np.where(board, 1 / 2, 1 / 4)
    return images, planes


def test_check_counts_what_agrees_hides_and_is_seen_through() -> None:
    images, planes = occluded_pair()
    # A floating patch that is not there: the other camera sees the wall through it.
    floating = (slice(2, 12), slice(90, 110))
    own = planes[0].copy()
    own[(*floating, 0)] = 1.0
    agreeing, hidden, passed = mvs.check(images[0], [images[1].source_of(images[0], planes[1])], own, 1.0, 0.01)

    u, v = np.meshgrid(np.arange(120) + 0.5, np.arange(90) + 0.5)
    depth = 1.0 / own[..., 0]
    x, y = (u - 60) / 100 * depth, (v - 45) / 100 * depth
    there = (x - 0.5) / depth * 100 + 60
    outside = (there < -0.5) | (there > 120.5)
    # Where the way from the wall to the other camera meets the board's depth.
    meets_x, meets_y = (x + 0.5) / 2, y / 2
    wall = depth == 4.0
    behind = wall & (np.abs(meets_x) < 0.26) & (np.abs(meets_y) < 0.36)
    beside = wall & ((np.abs(meets_x) > 0.34) | (np.abs(meets_y) > 0.44))
    middle = (depth == 2.0) & (np.abs(x) < 0.26) & (np.abs(y) < 0.36)
    through = (depth == 1.0) & (there > 1) & (there < 119)
    for name, pixels, expected in (
        ("wall and board", (beside | middle) & ~outside & (there > 0.5) & (there < 119.5), (1, 0, 0)),
        ("hidden wall", behind & ~outside, (0, 1, 0)),
        ("floating", through, (0, 0, 1)),
        ("outside", outside, (0, 0, 0)),
    ):
        assert pixels.sum() > 50, name
        for counts, wanted in zip((agreeing, hidden, passed), expected, strict=True):
            assert (counts[pixels] == wanted).all(), name


def test_check_counts_sources_and_skips_unknown_pixels(photos: list[MvsImage]) -> None:
    truth = true_planes(photos[1].camera)
    agreeing, hidden, passed = checked(photos, truth)
    assert (agreeing[INSIDE] == 2).mean() > 0.7
    assert not hidden.any()
    assert not passed.any()
    assert not any(counts.any() for counts in checked(photos, np.zeros_like(truth)))
    nearer = truth * np.array([1.1, 1.1, 1.1, 1], np.float32)
    agreeing, hidden, passed = checked(photos, nearer)
    assert not agreeing.any()
    assert not hidden.any()
    assert (passed[INSIDE] == 2).mean() > 0.7


def test_settled_pixels_take_part_in_the_last_rounds_only(five: list[MvsImage]) -> None:
    """The left half is settled: with no round of its own it keeps its planes, with one it is refined once."""
    begun = match_five(five, None, 1)
    moved = []
    for own in (0, 1, 3):
        last = np.full((120, 160), 3, np.uint8)
        last[:, :80] = own
        out = begun.copy()
        sources = [five[k].source_of(five[2]) for k in (0, 1, 3, 4)]
        mvs.patch_match(five[2], sources, MatchCosts(2), out, SPAN, mvs.Rounds(3, 3, last))
        moved.append((out[:, :80, :3] != begun[:, :80, :3]).any(axis=-1).mean())
        assert (out[:, 80:, :3] != begun[:, 80:, :3]).any(axis=-1).mean() > 0.5
    assert moved[0] == 0.0
    assert 0.1 < moved[1] < moved[2]
    np.testing.assert_array_equal(out, match_five(five, begun, 3))


def test_what_cannot_be_matched_is_said(photos: list[MvsImage]) -> None:
    reference, sources = photos[1], sources_of(photos)
    with pytest.raises(DataError, match="does not fit a 192x144 camera"):
        MvsImage(reference.camera, np.zeros((144, 191), np.float32))
    with pytest.raises(DataError, match="0 sources"):
        mvs.sweep(reference, [], COSTS, SPAN, 32)
    for w_far, w_near in ((0.5, 0.5), (0.5, 0.1), (0.0, 0.5), (-1.0, 0.5)):
        with pytest.raises(DataError, match="cannot be searched"):
            mvs.sweep(reference, sources, COSTS, DepthRange(w_far, w_near), 32)
    with pytest.raises(DataError, match="3 planes"):
        mvs.sweep(reference, sources, COSTS, SPAN, 3)
    small = MvsImage(replace(reference.camera.resized(64, 48)), np.zeros((48, 64), np.float32))
    wrong = np.zeros((48, 64, 4), np.float32)
    with pytest.raises(DataError, match=r"\(48, 64, 4\)"):
        mvs.patch_match(reference, sources, COSTS, wrong, SPAN, mvs.Rounds(1, 0))
    with pytest.raises(DataError, match=r"\(48, 64, 4\)"):
        mvs.check(reference, [small.source_of(reference, wrong)], wrong, 1.0, 0.01)
    with pytest.raises(DataError, match=r"\(48, 64, 4\)"):
        reference.source_of(small, wrong)
    planes = np.zeros((144, 192, 4), np.float32)
    with pytest.raises(DataError, match=r"last must be a contiguous uint8 array \(144, 192\)"):
        mvs.patch_match(reference, sources, COSTS, planes, SPAN, mvs.Rounds(1, 0, np.zeros((48, 64), np.uint8)))
    with pytest.raises(DataError, match="17 sources"):
        mvs.patch_match(
            reference, [sources[0]] * 17, COSTS, np.zeros((144, 192, 4), np.float32), SPAN, mvs.Rounds(1, 0)
        )

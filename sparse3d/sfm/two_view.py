# SPDX-License-Identifier: Apache-2.0
"""Two views with known poses: the epipolar line guides the matching, the triangulated point judges it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.sfm.features import DESCRIPTOR_NORM, Features

# Points of one view that are compared at once: enough for an efficient matrix product, few enough that their epipolar
# lines cover a narrow strip of the other view.
_CHUNK = 80
# A second candidate nearer to the best one than this, in multiples of the keypoint's size, is the same corner again.
_SAME_PLACE = 0.75
# At most this many such candidates are skipped.
_SAME_PLACE_MAX = 4


@dataclass(frozen=True)
class GuidedOptions:
    """What counts as a match. band_px: distance from the epipolar line; ratio: largest quotient of the descriptor
    distances to the best and the second-best candidate in the band; distance_max: RootSIFT distance, 0 equal, 1.41
    orthogonal. Of a triangulated match: angle_min_deg between its rays, size_ratio_max between the keypoints' sizes,
    turn_max_deg between their directions."""

    band_px: float = 2.0
    ratio: float = 0.85
    distance_max: float = 0.75
    angle_min_deg: float = 1.0
    size_ratio_max: float = 1.8
    turn_max_deg: float = 40.0


def fundamental(a: Camera, b: Camera) -> NDArray[np.float64]:
    """[3,3] F with x_b' F x_a = 0 (Hartley and Zisserman 2004, eq. 9.1); F x_a is the epipolar line in b."""
    b_from_a = b.cam_from_world @ a.world_from_cam
    t = b_from_a[:3, 3]
    cross = np.array([[0.0, -t[2], t[1]], [t[2], 0.0, -t[0]], [-t[1], t[0], 0.0]])
    return np.linalg.inv(b.K).T @ cross @ b_from_a[:3, :3] @ np.linalg.inv(a.K)


def match_guided(
    a: Features, b: Features, camera_a: Camera, camera_b: Camera, options: GuidedOptions
) -> NDArray[np.int32]:
    """Index pairs [M,2] (into a, into b) that are each other's best candidate along the epipolar line.

    Both directions pass the ratio test among the candidates of the band. Features may be empty: then M is 0.
    """
    if len(a) == 0 or len(b) == 0:
        return np.zeros((0, 2), np.int32)
    lines, usable = _epipolar_lines(a.xy, fundamental(camera_a, camera_b))
    order = _around_epipole(a.xy, camera_a, camera_b)
    order = order[usable[order]]
    best_of_a = np.full(len(a), -1, np.int32)
    of_b = _BestOfB(a, len(b))
    for start in range(0, len(order), _CHUNK):
        rows = order[start : start + _CHUNK]
        strip = _strip(lines[rows], b.xy, options.band_px)
        if len(strip) == 0:
            continue
        dots = _dots_in_band(a, b, rows, strip, lines[rows], options.band_px)
        # A copy, for the search overwrites it.
        best, top, second = _best_two(dots.copy(), b.xy[strip], b.size_px[strip])
        good = _passes(top, second, options)
        best_of_a[rows[good]] = strip[best[good]]
        of_b.update(strip, rows, dots)
    from_a = np.flatnonzero(best_of_a >= 0)
    partner = best_of_a[from_a]
    # Two keypoints at one place (two orientations) count as each other.
    back = of_b.best[partner]
    mutual = (back == from_a) | (np.abs(a.xy[back] - a.xy[from_a]).max(axis=1) < _SAME_PLACE * a.size_px[from_a])
    mutual &= _passes(of_b.top[partner], of_b.second[partner], options)
    return np.stack([from_a[mutual], partner[mutual]], axis=1).astype(np.int32)


def _epipolar_lines(xy: NDArray[np.float64], F: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Lines [N,3] in b of the points [N,2] in a, of unit normal, and which of them are lines: none at the epipole."""
    lines = xy @ F[:, :2].T + F[:, 2]
    length = np.hypot(lines[:, 0], lines[:, 1])
    usable = length > 1e-12 * max(length.max(), 1e-300)
    return lines / np.where(usable, length, 1.0)[:, None], usable


def _around_epipole(xy: NDArray[np.float64], camera_a: Camera, camera_b: Camera) -> NDArray[np.int64]:
    """The points of a in the order of their angle around the epipole: neighbours in it share a strip of b."""
    centre_b = camera_a.cam_from_world @ np.append(camera_b.position, 1.0)
    epipole = camera_a.K @ centre_b[:3]
    spoke = xy * epipole[2] - epipole[:2]
    return np.argsort(np.arctan2(spoke[:, 1], spoke[:, 0]), kind="stable")


def _dots_in_band(
    a: Features,
    b: Features,
    rows: NDArray[np.int64],
    strip: NDArray[np.int64],
    lines: NDArray[np.float64],
    band_px: float,
) -> NDArray[np.float32]:
    """Dot products [R,S] of the descriptors `rows` of a and `strip` of b; -1 off the band around the lines [R,3]."""
    chunk = lines.astype(np.float32)
    xy = b.xy[strip].astype(np.float32)
    distance = chunk[:, :1] * xy[:, 0]
    distance += chunk[:, 1:2] * xy[:, 1]
    distance += chunk[:, 2:]
    # Not the BLAS product: its threads spin, and on a busy machine that is a hundred times slower (measured).
    dots = np.einsum("ik,jk->ij", a.descriptors[rows], b.descriptors[strip])
    dots[np.abs(distance, out=distance) > band_px] = -1.0
    return dots


class _BestOfB:
    """For each feature of b the best one of a so far (-1: none), its dot product `top`, and the largest one `second`
    among those at another place."""

    def __init__(self, a: Features, count: int) -> None:
        self._a = a
        self.best = np.full(count, -1, np.int32)
        self.top = np.full(count, -1.0, np.float32)
        self.second = np.full(count, -1.0, np.float32)

    def update(self, strip: NDArray[np.int64], rows: NDArray[np.int64], dots: NDArray[np.float32]) -> None:
        """Take in the dot products [R,S] of a's `rows` with b's `strip`."""
        xy, size = self._a.xy, self._a.size_px
        best, top, second = _best_two(np.ascontiguousarray(dots.T), xy[rows], size[rows])
        known, known_at, rival = self.top[strip], self.best[strip], rows[best]
        apart = np.abs(xy[rival] - xy[known_at]).max(axis=1) > _SAME_PLACE * size[rival]
        loser = np.where(apart, np.minimum(top, known), -1.0)
        better = top > known
        self.second[strip] = np.maximum(np.maximum(self.second[strip], second), loser)
        self.top[strip] = np.where(better, top, known)
        self.best[strip] = np.where(better, rival, known_at)


def _best_two(
    dots: NDArray[np.float32], xy: NDArray[np.float64], size_px: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Of each row of `dots` [R,C]: the column of the largest value, that value, and the largest value among columns at
    another place than that. Overwrites `dots`."""
    row = np.arange(len(dots))
    best = dots.argmax(axis=1)
    top = dots[row, best]
    dots[row, best] = -1.0
    reach = _SAME_PLACE * size_px[best]
    for _ in range(_SAME_PLACE_MAX):
        runner = dots.argmax(axis=1)
        near = np.abs(xy[runner] - xy[best]).max(axis=1) <= reach
        if not near.any():
            break
        dots[row[near], runner[near]] = -1.0
    return best, top, dots[row, dots.argmax(axis=1)]


def _passes(top: NDArray[np.float32], second: NDArray[np.float32], options: GuidedOptions) -> NDArray[np.bool_]:
    """Absolute and ratio test on squared distances 2 (1 - cos)."""
    norm2 = DESCRIPTOR_NORM**2
    first = np.maximum(2.0 * (1.0 - np.maximum(top, 0.0) / norm2), 0.0)
    runner_up = np.maximum(2.0 * (1.0 - np.maximum(second, 0.0) / norm2), 0.0)
    return (top >= 0) & (first <= options.distance_max**2) & (first <= options.ratio**2 * runner_up)


def _strip(lines: NDArray[np.float64], xy: NDArray[np.float64], band_px: float) -> NDArray[np.int64]:
    """Indices of the points within the band of any of the lines, which are sorted by angle: those near the first or the
    last line or between them. All points where the lines turn by more than 60 degrees (the epipole is near)."""
    first, last = lines[0], lines[-1]
    if float(first[:2] @ last[:2]) < 0.5:
        return np.arange(len(xy))
    side_first = xy @ first[:2] + first[2]
    side_last = xy @ last[:2] + last[2]
    keep = (np.abs(side_first) <= band_px) | (np.abs(side_last) <= band_px) | ((side_first > 0) != (side_last > 0))
    return np.flatnonzero(keep)


def midpoints(
    xy_a: NDArray[np.float64], xy_b: NDArray[np.float64], a: Camera, b: Camera
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """World points [M,3] midway between the two rays of each match, and the angle between the rays in degrees [M].

    Points of parallel rays are NaN.
    """
    ray_a, ray_b = rays(xy_a, a), rays(xy_b, b)
    base = b.position - a.position
    cosine = np.clip((ray_a * ray_b).sum(axis=1), -1.0, 1.0)
    sine2 = 1.0 - cosine * cosine
    along_a, along_b = ray_a @ base, ray_b @ base
    with np.errstate(divide="ignore", invalid="ignore"):
        reach_a = (along_a - cosine * along_b) / sine2
        reach_b = (cosine * along_a - along_b) / sine2
        points = 0.5 * (a.position + reach_a[:, None] * ray_a + b.position + reach_b[:, None] * ray_b)
    points[~np.isfinite(points).all(axis=1)] = np.nan
    angle = np.degrees(np.arctan2(np.linalg.norm(np.cross(ray_a, ray_b), axis=1), cosine))
    return points, angle


def rays(xy: NDArray[np.float64], camera: Camera) -> NDArray[np.float64]:
    """Unit world directions [N,3] through the pixels [N,2]."""
    x = (xy[:, 0] - camera.cx) / camera.fx
    y = (xy[:, 1] - camera.cy) / camera.fy
    rotation = camera.cam_from_world[:3, :3]
    direction = x[:, None] * rotation[0] + y[:, None] * rotation[1] + rotation[2]
    return direction / np.linalg.norm(direction, axis=1, keepdims=True)


def explained(
    xy_a: NDArray[np.float64], xy_b: NDArray[np.float64], camera_a: Camera, camera_b: Camera, options: GuidedOptions
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """World points [M,3] of matches xy_a, xy_b [M,2], and which of the matches they explain: the point lies in front of
    both views, falls within the band in both, and is seen under a wide enough angle (else it is put at the origin)."""
    points, angle = midpoints(xy_a, xy_b, camera_a, camera_b)
    ok = np.isfinite(points).all(axis=1) & (angle >= options.angle_min_deg)
    points = np.where(ok[:, None], points, 0.0)
    seen_a, z_a = camera_a.project(points)
    seen_b, z_b = camera_b.project(points)
    ok &= (z_a > 0) & (z_b > 0)
    error = np.maximum(np.abs(seen_a - xy_a).max(axis=1), np.abs(seen_b - xy_b).max(axis=1))
    return points, ok & (error <= options.band_px)


def verify(
    a: Features, b: Features, camera_a: Camera, camera_b: Camera, matches: NDArray[np.int32], options: GuidedOptions
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The matches [M,2] that a point in space explains, and those points [M,3].

    The point must lie in front of both views, fall within the band in both, be seen under a wide enough angle; and the
    keypoints' sizes and directions must agree with a surface patch at its depth that faces the two views.
    """
    if len(matches) == 0:
        return matches, np.zeros((0, 3))
    at_a, at_b = matches[:, 0], matches[:, 1]
    xy_a, xy_b = a.xy[at_a], b.xy[at_b]
    points, ok = explained(xy_a, xy_b, camera_a, camera_b, options)
    _, z_a = camera_a.project(points)
    seen_b, z_b = camera_b.project(points)

    width_a = a.size_px[at_a] * z_a / camera_a.fx
    width_b = b.size_px[at_b] * z_b / camera_b.fx
    with np.errstate(divide="ignore", invalid="ignore"):
        ok &= np.abs(np.log(width_a / width_b)) <= np.log(options.size_ratio_max)

    # A short step along the keypoint's direction in a, on the plane across the mean viewing ray, must point along the
    # keypoint's direction in b.
    middle = points - 0.5 * (camera_a.position + camera_b.position)
    tip = xy_a + a.size_px[at_a][:, None] * np.stack([np.cos(a.angle_rad[at_a]), np.sin(a.angle_rad[at_a])], axis=1)
    ray_tip = rays(tip, camera_a)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = ((points - camera_a.position) * middle).sum(axis=1) / (ray_tip * middle).sum(axis=1)
        tip_b, _ = camera_b.project(camera_a.position + reach[:, None] * ray_tip)
        turn = np.arctan2(*(tip_b - seen_b)[:, ::-1].T) - b.angle_rad[at_b]
        ok &= np.cos(turn) >= np.cos(np.deg2rad(options.turn_max_deg))
    return matches[ok], points[ok]

# SPDX-License-Identifier: Apache-2.0
"""Matches of many pairs joined to tracks, and a point in space for each track, all with whole-array arithmetic.

A track that joins two different points (one wrong match is enough) is not thrown away: the point of every match in it
is a hypothesis, the one that most photos agree with wins, and what is left over is tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera

# Hypotheses tried in one component; those whose rays cross at the widest angle come first.
_HYPOTHESES_MAX = 48
# Rounds in which a component may give one more point.
_ROUNDS = 3


@dataclass(frozen=True)
class Observations:
    """M sightings of T points: point [M] sorted, view [M] (position in the list of cameras), keypoint [M] (global
    number), xy [M,2] pixels."""

    point: NDArray[np.int64]
    view: NDArray[np.int64]
    keypoint: NDArray[np.int64]
    xy: NDArray[np.float64]

    def select(self, keep: NDArray[np.bool_]) -> Observations:
        return Observations(self.point[keep], self.view[keep], self.keypoint[keep], self.xy[keep])


@dataclass(frozen=True)
class Edges:
    """E verified matches: keypoints [E,2] (global numbers), the two-view point [E,3] of each, and the angle [E] between
    its two rays in degrees."""

    keypoints: NDArray[np.int64]
    point: NDArray[np.float64]
    angle_deg: NDArray[np.float64]

    def select(self, keep: NDArray[np.bool_]) -> Edges:
        return Edges(self.keypoints[keep], self.point[keep], self.angle_deg[keep])


@dataclass(frozen=True)
class CameraArrays:
    """The cameras as arrays: rotation [C,3,3], translation [C,3], focal [C,2], centre_px [C,2], position [C,3]."""

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    focal: NDArray[np.float64]
    centre_px: NDArray[np.float64]
    position: NDArray[np.float64]

    @staticmethod
    def of(cameras: Sequence[Camera]) -> CameraArrays:
        return CameraArrays(
            np.stack([c.cam_from_world[:3, :3] for c in cameras]),
            np.stack([c.cam_from_world[:3, 3] for c in cameras]),
            np.array([(c.fx, c.fy) for c in cameras]),
            np.array([(c.cx, c.cy) for c in cameras]),
            np.stack([c.position for c in cameras]),
        )

    def to_cam(self, points: NDArray[np.float64], view: NDArray[np.int64]) -> NDArray[np.float64]:
        """points [M,3] in the frame of camera view[m]. Summed by hand: the order of the sum is then always the same."""
        R = self.rotation[view]
        return (
            R[:, :, 0] * points[:, 0, None]
            + R[:, :, 1] * points[:, 1, None]
            + R[:, :, 2] * points[:, 2, None]
            + self.translation[view]
        )

    def error(
        self, points: NDArray[np.float64], view: NDArray[np.int64], xy: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Distance in pixels [M] between projection and sighting; infinite behind the camera."""
        cam = self.to_cam(points, view)
        front = cam[:, 2] > 1e-9
        z = np.where(front, cam[:, 2], 1.0)
        residual = cam[:, :2] / z[:, None] * self.focal[view] + self.centre_px[view] - xy
        return np.where(front, np.hypot(residual[:, 0], residual[:, 1]), np.inf)


def components(count: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Label [count] of the connected component of each node of the graph with edges (a[e], b[e]): its smallest node."""
    label = np.arange(count)
    while True:
        low = np.minimum(label[a], label[b])
        new = label.copy()
        np.minimum.at(new, label[a], low)
        np.minimum.at(new, label[b], low)
        new = new[new]
        if np.array_equal(new, label):
            return label
        label = new


def consensus(
    view: NDArray[np.int64], xy: NDArray[np.float64], edges: Edges, cameras: CameraArrays, error_max_px: float
) -> tuple[NDArray[np.float64], Observations]:
    """Points [T,3] and the sightings that agree with each. A point has at most one sighting a photo and at least two.

    view [K], xy [K,2]: photo and place of every keypoint of every photo, in pixels.
    """
    points: list[NDArray[np.float64]] = []
    found: list[Observations] = []
    total = 0
    free = np.ones(len(view), bool)
    for _ in range(_ROUNDS):
        live = free[edges.keypoints[:, 0]] & free[edges.keypoints[:, 1]]
        if not live.any():
            break
        tried = _hypotheses(len(view), edges.select(live))
        support = _support(tried, view, xy, cameras, error_max_px)
        winner = _winners(tried, support)
        if len(winner) == 0:
            break
        number = np.full(len(tried.component), -1)
        number[winner] = np.arange(len(winner))
        keep = number[support.hypothesis] >= 0
        point, keypoint = number[support.hypothesis[keep]], support.keypoint[keep]
        order = np.lexsort((view[keypoint], point))
        point, keypoint = point[order], keypoint[order]
        points.append(tried.point[winner])
        found.append(Observations(point + total, view[keypoint], keypoint, xy[keypoint]))
        total += len(winner)
        free[keypoint] = False
    if not points:
        empty = np.zeros(0, np.int64)
        return np.zeros((0, 3)), Observations(empty, empty, empty, np.zeros((0, 2)))
    return np.concatenate(points), _concatenated(found)


@dataclass(frozen=True)
class _Hypotheses:
    """Points that the keypoints of a component may be sightings of: component [H] ascending, point [H,3]. The keypoints
    of component c are members[start[c] : start[c] + size[c]]."""

    component: NDArray[np.int64]
    point: NDArray[np.float64]
    members: NDArray[np.int64]
    start: NDArray[np.int64]
    size: NDArray[np.int64]

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(hypothesis, keypoint) of every keypoint in each hypothesis' component."""
        count = self.size[self.component]
        hypothesis = np.repeat(np.arange(len(self.component)), count)
        within = np.arange(len(hypothesis)) - np.repeat(np.cumsum(count) - count, count)
        return hypothesis, self.members[self.start[self.component][hypothesis] + within]


@dataclass(frozen=True)
class _Support:
    """Which keypoints agree with which hypotheses, and by how many pixels they miss: three columns [S], sorted by
    hypothesis and photo, one keypoint a photo."""

    hypothesis: NDArray[np.int64]
    keypoint: NDArray[np.int64]
    error_px: NDArray[np.float64]

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> _Support:
        return _Support(self.hypothesis[rows], self.keypoint[rows], self.error_px[rows])


def _hypotheses(keypoints: int, edges: Edges) -> _Hypotheses:
    """The two-view points of each component, at most _HYPOTHESES_MAX, those seen under the widest angle first."""
    label = components(keypoints, edges.keypoints[:, 0], edges.keypoints[:, 1])
    members = np.unique(edges.keypoints)
    members = members[np.argsort(label[members], kind="stable")]
    names, start, size = np.unique(label[members], return_index=True, return_counts=True)
    component = np.searchsorted(names, label[edges.keypoints[:, 0]])
    order = np.lexsort((-edges.angle_deg, component))
    component, point = component[order], edges.point[order]
    first = np.searchsorted(component, np.arange(len(names)))
    few = np.arange(len(component)) - first[component] < _HYPOTHESES_MAX
    return _Hypotheses(component[few], point[few], members, start, size)


def _support(
    tried: _Hypotheses,
    view: NDArray[np.int64],
    xy: NDArray[np.float64],
    cameras: CameraArrays,
    error_max_px: float,
) -> _Support:
    """Every hypothesis against every keypoint of its component; of two in one photo the nearer one counts."""
    hypothesis, keypoint = tried.pairs()
    error = cameras.error(tried.point[hypothesis], view[keypoint], xy[keypoint])
    near = _Support(hypothesis, keypoint, error).select(error <= error_max_px)
    near = near.select(np.lexsort((near.error_px, view[near.keypoint], near.hypothesis)))
    seen_in = view[near.keypoint]
    first = np.ones(len(seen_in), bool)
    first[1:] = (near.hypothesis[1:] != near.hypothesis[:-1]) | (seen_in[1:] != seen_in[:-1])
    return near.select(first)


def _winners(tried: _Hypotheses, support: _Support) -> NDArray[np.int64]:
    """The best hypothesis of each component that at least two photos agree with: most photos, then smallest error."""
    votes = np.bincount(support.hypothesis, minlength=len(tried.component))
    cost = np.bincount(support.hypothesis, support.error_px, minlength=len(tried.component))
    order = np.lexsort((cost, -votes, tried.component))
    winner = order[np.searchsorted(tried.component[order], np.arange(len(tried.start)))]
    return winner[votes[winner] >= 2]


def _concatenated(parts: Sequence[Observations]) -> Observations:
    return Observations(
        np.concatenate([o.point for o in parts]),
        np.concatenate([o.view for o in parts]),
        np.concatenate([o.keypoint for o in parts]),
        np.concatenate([o.xy for o in parts]),
    )


def refine(
    points: NDArray[np.float64], seen: Observations, cameras: CameraArrays, steps: int = 6
) -> NDArray[np.float64]:
    """Gauss-Newton on the squared reprojection error of every point, cameras fixed, damped by a thousandth of the
    diagonal; a step that does not lower a point's error is not taken."""
    points = points.copy()
    count = len(points)

    def cost(at: NDArray[np.float64]) -> NDArray[np.float64]:
        error = np.minimum(cameras.error(at[seen.point], seen.view, seen.xy), 1e6)
        return np.bincount(seen.point, error * error, minlength=count).astype(np.float64)

    current = cost(points)
    for _ in range(steps):
        cam = cameras.to_cam(points[seen.point], seen.view)
        z = np.where(np.abs(cam[:, 2]) < 1e-9, 1e-9, cam[:, 2])
        focal = cameras.focal[seen.view]
        residual = cam[:, :2] / z[:, None] * focal + cameras.centre_px[seen.view] - seen.xy
        R = cameras.rotation[seen.view]
        J = (focal / z[:, None])[:, :, None] * (R[:, :2] - (cam[:, :2] / z[:, None])[:, :, None] * R[:, 2:3])
        A = np.empty((count, 3, 3))
        g = np.empty((count, 3))
        for r in range(3):
            g[:, r] = np.bincount(
                seen.point, J[:, 0, r] * residual[:, 0] + J[:, 1, r] * residual[:, 1], minlength=count
            )
            for c in range(r, 3):
                A[:, r, c] = A[:, c, r] = np.bincount(
                    seen.point, J[:, 0, r] * J[:, 0, c] + J[:, 1, r] * J[:, 1, c], minlength=count
                )
        diagonal = A[:, range(3), range(3)]
        A[:, range(3), range(3)] = 1.001 * diagonal + np.maximum(1e-9 * diagonal.max(axis=1, keepdims=True), 1e-30)
        trial = points - np.linalg.solve(A, g[:, :, None])[:, :, 0]
        trial_cost = cost(trial)
        lower = trial_cost < current
        points[lower] = trial[lower]
        current = np.where(lower, trial_cost, current)
    return points


def widest_angle_deg(points: NDArray[np.float64], seen: Observations, cameras: CameraArrays) -> NDArray[np.float64]:
    """[T] angle in degrees between the ray that is farthest from the point's mean ray and the ray farthest from it."""
    ray = points[seen.point] - cameras.position[seen.view]
    ray /= np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-300)
    count = len(points)
    if len(seen.point) == 0:
        return np.zeros(count)
    mean = np.stack([np.bincount(seen.point, ray[:, k], minlength=count) for k in range(3)], axis=1)
    off_mean = (ray * mean[seen.point]).sum(axis=1)
    order = np.lexsort((off_mean, seen.point))
    first = np.minimum(np.searchsorted(seen.point[order], np.arange(count)), len(order) - 1)
    outermost = ray[order[first]]
    cosine = np.clip((ray * outermost[seen.point]).sum(axis=1), -1.0, 1.0)
    angle = np.zeros(count)
    np.maximum.at(angle, seen.point, np.degrees(np.arccos(cosine)))
    return angle

# SPDX-License-Identifier: Apache-2.0
"""Matches of many pairs joined to tracks, each track to one point in space, all with whole-array arithmetic.

A track that joins two different points (one wrong match is enough) is not thrown away: the point of every match in it
is a hypothesis, the one that most photos agree with wins, and what it leaves over is tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera

# Hypotheses tried in one component; those with the widest rays come first.
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
    nodes_view: NDArray[np.int64],
    nodes_xy: NDArray[np.float64],
    edges: NDArray[np.int64],
    edge_points: NDArray[np.float64],
    edge_angles: NDArray[np.float64],
    cameras: CameraArrays,
    error_max_px: float,
) -> tuple[NDArray[np.float64], Observations]:
    """Points [T,3] and the sightings that agree with each.

    nodes_*: every keypoint of every photo; edges [E,2] verified matches between nodes, each with its two-view point
    [E,3] and angle [E] in degrees. A point has at most one sighting a photo and at least two sightings.
    """
    points: list[NDArray[np.float64]] = []
    found: list[Observations] = []
    total = 0
    free = np.ones(len(nodes_view), bool)
    for _ in range(_ROUNDS):
        live = free[edges[:, 0]] & free[edges[:, 1]]
        if not live.any():
            break
        edge, hyp_point, angle = edges[live], edge_points[live], edge_angles[live]
        label = components(len(nodes_view), edge[:, 0], edge[:, 1])
        nodes = np.unique(edge)
        nodes = nodes[np.argsort(label[nodes], kind="stable")]
        names, start, size = np.unique(label[nodes], return_index=True, return_counts=True)
        comp = np.searchsorted(names, label[edge[:, 0]])
        order = np.lexsort((-angle, comp))
        comp, hyp_point = comp[order], hyp_point[order]
        first = np.searchsorted(comp, np.arange(len(names)))
        few = np.arange(len(comp)) - first[comp] < _HYPOTHESES_MAX
        comp, hyp_point = comp[few], hyp_point[few]

        # Every hypothesis against every sighting of its component; of two in one photo the nearer one counts.
        hyp, node = _pairs(comp, start, size, nodes)
        error = cameras.error(hyp_point[hyp], nodes_view[node], nodes_xy[node])
        near = error <= error_max_px
        hyp, node, error = hyp[near], node[near], error[near]
        order = np.lexsort((error, nodes_view[node], hyp))
        hyp, node, error = hyp[order], node[order], error[order]
        view = nodes_view[node]
        one = np.ones(len(hyp), bool)
        one[1:] = (hyp[1:] != hyp[:-1]) | (view[1:] != view[:-1])
        hyp, node, error = hyp[one], node[one], error[one]
        votes = np.bincount(hyp, minlength=len(comp))
        cost = np.bincount(hyp, error, minlength=len(comp))

        # The best hypothesis of each component: most photos, then the smallest error.
        order = np.lexsort((cost, -votes, comp))
        winner = order[np.searchsorted(comp[order], np.arange(len(names)))]
        winner = winner[votes[winner] >= 2]
        if len(winner) == 0:
            break
        number = np.full(len(comp), -1)
        number[winner] = np.arange(len(winner))
        keep = number[hyp] >= 0
        point, node = number[hyp[keep]], node[keep]
        order = np.lexsort((nodes_view[node], point))
        point, node = point[order], node[order]
        points.append(hyp_point[winner])
        found.append(Observations(point + total, nodes_view[node], node, nodes_xy[node]))
        total += len(winner)
        free[node] = False
    if not points:
        empty = np.zeros(0, np.int64)
        return np.zeros((0, 3)), Observations(empty, empty, empty, np.zeros((0, 2)))
    return np.concatenate(points), Observations(
        np.concatenate([o.point for o in found]),
        np.concatenate([o.view for o in found]),
        np.concatenate([o.keypoint for o in found]),
        np.concatenate([o.xy for o in found]),
    )


def _pairs(
    comp: NDArray[np.int64], start: NDArray[np.int64], size: NDArray[np.int64], nodes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All (hypothesis, node) with the hypothesis' component equal to the node's."""
    count = size[comp]
    hyp = np.repeat(np.arange(len(comp)), count)
    within = np.arange(len(hyp)) - np.repeat(np.cumsum(count) - count, count)
    return hyp, nodes[start[comp][hyp] + within]


def refine(
    points: NDArray[np.float64], seen: Observations, cameras: CameraArrays, steps: int = 6
) -> NDArray[np.float64]:
    """Gauss-Newton on the squared reprojection error of every point, cameras fixed; damped by a thousandth of the
    diagonal, a step that does not lower the error is not taken."""
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
    """[T] angle between the ray that is farthest from the point's mean ray and the ray farthest from that one."""
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

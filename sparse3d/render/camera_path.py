# SPDX-License-Identifier: Apache-2.0
"""Ways for a camera through a scene, made from the cameras that the photos were taken with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.geometry.quaternions import rotation_from_unit_quats

Vector = NDArray[np.float64]

# A gap between neighbouring photos wider than this means that the object was not walked around: what lies there was
# never seen, and a full circle would show it.
_LARGEST_GAP_RAD = math.radians(120.0)


def look_at_point(cameras: Sequence[Camera]) -> Vector:
    """[3] the point that the cameras look at: nearest to all optical axes in least squares.

    Axes that are nearly parallel meet nowhere useful; a weak pull towards the point one camera spread in front of the
    mean camera then decides. Where the result lies behind more than half of the cameras it is that point itself.
    """
    centres, forwards = _centres_and_forwards(cameras)
    ahead = _ahead(centres, forwards)
    across = np.eye(3) - forwards[:, :, None] * forwards[:, None, :]
    weight = 1e-3 * len(cameras)
    normal = across.sum(axis=0) + weight * np.eye(3)
    point = np.linalg.solve(normal, (across @ centres[:, :, None]).sum(axis=0)[:, 0] + weight * ahead)
    in_front = ((point - centres) * forwards).sum(axis=1) > 0
    return point if in_front.mean() > 0.5 else ahead


def orbit(cameras: Sequence[Camera], num_frames: int) -> list[Camera]:
    """Around the point the cameras look at, looking at it, at the height and distance of the cameras on that side.

    A full turn (the last frame is one step before the first) where the photos surround the point; else there and back
    over the arc that was photographed. Raises DataError without cameras or frames.
    """
    _require(cameras, num_frames)
    centres, _ = _centres_and_forwards(cameras)
    target = look_at_point(cameras)
    up = _up(cameras)
    right, ahead = _plane(up, centres.mean(axis=0) - target)
    offsets = centres - target
    heights, radii = offsets @ up, np.hypot(offsets @ right, offsets @ ahead)
    if np.median(radii) < 1e-9:
        radii = np.full_like(radii, max(float(np.linalg.norm(offsets, axis=1).max()), 1e-3))
    azimuths = np.arctan2(offsets @ right, offsets @ ahead)
    angles, width = _orbit_angles(azimuths, num_frames)
    lens = _middle_lens(cameras)
    out = []
    for i, angle in enumerate(angles):
        height, radius = (_around(angle, azimuths, values, width) for values in (heights, radii))
        eye = target + height * up + radius * (math.sin(angle) * right + math.cos(angle) * ahead)
        out.append(replace(lens, cam_from_world=look_at(eye, target, up), name=f"orbit {i}"))
    return out


def interpolate(cameras: Sequence[Camera], num_frames: int) -> list[Camera]:
    """Smoothly through the cameras in their order, at an even pace, from the first to the last.

    Positions on a Catmull-Rom spline with the distances as knots, directions by slerp. Raises DataError without
    cameras or frames.
    """
    _require(cameras, num_frames)
    centres, _ = _centres_and_forwards(cameras)
    quats = np.stack([quat_wxyz_from_matrix(camera.cam_from_world[:3, :3].T) for camera in cameras])
    knots = _knots(centres, quats)
    lens = _middle_lens(cameras)
    out = []
    for i, t in enumerate(np.linspace(0.0, knots[-1], num_frames)):
        k = min(int(np.searchsorted(knots, t, side="right")) - 1, max(len(cameras) - 2, 0))
        if len(cameras) == 1:
            eye, quat = centres[0], quats[0]
        else:
            u = (t - knots[k]) / (knots[k + 1] - knots[k])
            eye = _catmull_rom(knots, centres, k, float(u))
            quat = slerp(quats[k], quats[k + 1], float(u))
        out.append(replace(lens, cam_from_world=_pose(rotation_from_unit_quats(quat).T, eye), name=f"path {i}"))
    return out


def look_at(eye: Vector, target: Vector, up: Vector) -> Vector:
    """[4,4] cam_from_world of a camera at `eye` with `target` on its axis and `up` upwards in the image (y is down)."""
    forward = _unit(target - eye)
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-9:
        right = np.cross(forward, _any_across(forward))
    right = _unit(right)
    return _pose(np.stack([right, np.cross(forward, right), forward]), eye)


def slerp(a: Vector, b: Vector, u: float) -> Vector:
    """The unit quaternion at the share u of the shorter arc from unit quaternion a to b."""
    cosine = float(a @ b)
    if cosine < 0:
        b, cosine = -b, -cosine
    angle = math.acos(min(cosine, 1.0))
    if angle < 1e-6:
        return _unit((1 - u) * a + u * b)
    return (math.sin((1 - u) * angle) * a + math.sin(u * angle) * b) / math.sin(angle)


def quat_wxyz_from_matrix(rotation: Vector) -> Vector:
    """[4] unit quaternion of a [3,3] rotation: an eigenvector, without branches (Bar-Itzhack 2000)."""
    m = rotation
    k = np.array([
        [m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
        [m[2, 1] - m[1, 2], m[0, 0] - m[1, 1] - m[2, 2], m[1, 0] + m[0, 1], m[2, 0] + m[0, 2]],
        [m[0, 2] - m[2, 0], m[1, 0] + m[0, 1], m[1, 1] - m[0, 0] - m[2, 2], m[2, 1] + m[1, 2]],
        [m[1, 0] - m[0, 1], m[2, 0] + m[0, 2], m[2, 1] + m[1, 2], m[2, 2] - m[0, 0] - m[1, 1]],
    ])  # fmt: skip
    quat = np.linalg.eigh(k)[1][:, -1]
    return quat if quat[0] >= 0 else -quat


def _require(cameras: Sequence[Camera], num_frames: int) -> None:
    if not cameras:
        raise DataError("a camera path needs at least one camera to start from")
    if num_frames < 1:
        raise DataError(f"a camera path needs at least 1 frame, asked for {num_frames}")


def _centres_and_forwards(cameras: Sequence[Camera]) -> tuple[Vector, Vector]:
    centres = np.stack([camera.position for camera in cameras])
    return centres, np.stack([camera.cam_from_world[2, :3] for camera in cameras])


def _ahead(centres: Vector, forwards: Vector) -> Vector:
    """The point in front of the mean camera at twice the spread of the cameras (1 for a single camera)."""
    spread = float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max())
    mean = forwards.mean(axis=0)
    direction = _unit(mean) if np.linalg.norm(mean) > 1e-6 else forwards[0]
    return centres.mean(axis=0) + direction * (2 * spread if spread > 1e-9 else 1.0)


def _up(cameras: Sequence[Camera]) -> Vector:
    mean = -np.mean([camera.cam_from_world[1, :3] for camera in cameras], axis=0)
    return _unit(mean) if np.linalg.norm(mean) > 1e-6 else -cameras[0].cam_from_world[1, :3]


def _plane(up: Vector, towards: Vector) -> tuple[Vector, Vector]:
    """Two unit vectors across `up`: the second points as far as possible along `towards`."""
    ahead = towards - (towards @ up) * up
    ahead = _unit(ahead) if np.linalg.norm(ahead) > 1e-9 else _unit(np.cross(up, _any_across(up)))
    return np.cross(up, ahead), ahead


def _around(angle: float, azimuths: Vector, values: Vector, width: float) -> float:
    """The mean of `values` around `angle`, weighted by a Gaussian: smooth, and near what was photographed."""
    apart = (azimuths - angle + np.pi) % (2 * np.pi) - np.pi
    exponent = -0.5 * (apart / width) ** 2
    weights = np.exp(exponent - exponent.max())
    return float((weights * values).sum() / weights.sum())


def _orbit_angles(azimuths: Vector, num_frames: int) -> tuple[Vector, float]:
    """Angles of the frames, and the width over which heights and distances of the cameras are evened out."""
    ordered = np.sort(azimuths)
    gaps = np.diff(np.append(ordered, ordered[0] + 2 * np.pi))
    widest = int(gaps.argmax())
    if gaps[widest] < _LARGEST_GAP_RAD:
        return ordered[0] + np.arange(num_frames) * (2 * np.pi / num_frames), math.radians(30.0)
    start = ordered[(widest + 1) % len(ordered)]
    arc = 2 * np.pi - gaps[widest]
    # One camera, or all at one azimuth: a small swing shows depth and stays near what was seen.
    if arc < math.radians(10.0):
        start, arc = start + arc / 2 - math.radians(5.0), math.radians(10.0)
    phase = np.arange(num_frames) * (2 * np.pi / num_frames)
    return start + arc * (0.5 - 0.5 * np.cos(phase)), arc / 4


def _knots(centres: Vector, quats: Vector) -> Vector:
    """Times at which the cameras are passed: the way between them, a turn counted as way on the cameras' spread."""
    spread = float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max()) or 1.0
    ways = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    turns = 2 * np.arccos(np.clip(np.abs((quats[1:] * quats[:-1]).sum(axis=1)), 0.0, 1.0))
    # Two photos from one place must not share a time.
    return np.concatenate([[0.0], np.cumsum(ways + 0.5 * spread * turns + 1e-6 * spread)])


def _catmull_rom(knots: Vector, points: Vector, k: int, u: float) -> Vector:
    """Cubic Hermite between points k and k + 1 with finite-difference tangents over uneven knots."""
    step = knots[k + 1] - knots[k]
    before, after = max(k - 1, 0), min(k + 2, len(points) - 1)
    start = (points[k + 1] - points[before]) / (knots[k + 1] - knots[before]) * step
    end = (points[after] - points[k]) / (knots[after] - knots[k]) * step
    u2, u3 = u * u, u * u * u
    return (
        (2 * u3 - 3 * u2 + 1) * points[k] + (u3 - 2 * u2 + u) * start
        + (3 * u2 - 2 * u3) * points[k + 1] + (u3 - u2) * end
    )  # fmt: skip


def _middle_lens(cameras: Sequence[Camera]) -> Camera:
    """The camera of median focal length, with its size: one lens for the whole path, without distortion."""
    middle = sorted(cameras, key=lambda camera: camera.fx / camera.width)[len(cameras) // 2]
    return replace(middle, distortion=(), lens="opencv")


def _pose(rotation: Vector, eye: Vector) -> Vector:
    """[4,4] cam_from_world from its [3,3] rotation and the camera's place in the world."""
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = -rotation @ eye
    return out


def _any_across(vector: Vector) -> Vector:
    return np.eye(3)[int(np.abs(vector).argmin())]


def _unit(vector: Vector) -> Vector:
    return vector / np.linalg.norm(vector)


def cameras_around(points: NDArray[np.floating], width: int = 960, height: int = 720) -> list[Camera]:
    """12 cameras in a ring around a cloud [N,3] that no cameras are known for: y is down, a little from above.

    The middle is the median and the size the 90th percentile of distances, so that a few stray points do not matter.
    """
    finite = points[np.isfinite(points).all(axis=1)].astype(np.float64)
    if len(finite) == 0:
        raise DataError("a camera path around the splats needs at least one splat at a finite place")
    centre: Vector = np.median(finite, axis=0).astype(np.float64)
    radius = float(np.quantile(np.linalg.norm(finite - centre, axis=1), 0.9)) or 1.0
    focal = 0.5 * height / math.tan(math.radians(25.0))
    # At three radii a ball of that radius fills 80 % of a 50 degree field of view.
    up = np.array([0.0, -1.0, 0.0])
    out = []
    for angle in np.arange(12) * (2 * np.pi / 12):
        eye = centre + 3.0 * radius * np.array([math.sin(angle), -0.35, math.cos(angle)])
        pose = look_at(eye, centre, up)
        out.append(Camera(width, height, focal, focal, width / 2, height / 2, pose, name=f"around {len(out)}"))
    return out

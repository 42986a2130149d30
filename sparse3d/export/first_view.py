# SPDX-License-Identifier: Apache-2.0
"""Where a page opens: at the photo that shows best what the photos show. And how far from there its view may turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.formats.html.options import Reach, StartCamera, Vector
from sparse3d.judge.spread import spread
from sparse3d.render import RenderOptions, render
from sparse3d.render.camera_path import look_at_point
from sparse3d.splats import Splats

_Array = NDArray[np.float64]

# Photos and splats that are looked at, at most, spread evenly.
_MOST_PHOTOS, _MOST_SPLATS = 64, 50_000
_AS_GOOD = 0.95
# The long side of the picture that depths are read off, pixels.
_DEPTH_SIDE = 128
# How far from a photo's middle, in half pictures, the axes of the photos may meet to tell how deep its pivot lies.
_MIDDLE = 0.5
# A gap of azimuths wider than this, degrees, is a side that nobody walked along (as in render.camera_path).
_SIDE = 120.0
# Beyond the outermost photos the view may turn by a base and a share of the angle that they span, up to a most.
_MARGIN_BASE, _MARGIN_SHARE, _MARGIN_MOST = 4.0, 0.1, 10.0
_NEARER, _FARTHER = 0.4, 1.25
# Of the half width of the picture.
_SHIFT = 0.5


@dataclass(frozen=True)
class FirstView:
    """camera: where a page opens. photo: index of the photo that this is. reach: None where the photos do not look at
    what that one shows, as those of a room from its middle."""

    camera: StartCamera
    photo: int
    reach: Reach | None


def first_view(splats: Splats, cameras: Sequence[Camera]) -> FirstView:
    """The first view among the photos taken by `cameras` (one at least), upright as these are on average.

    It stands where the best photo was taken and looks as that one does, so that the window shows the photo. It turns
    about a point before it, at the depth of the surface where the axes of the photos meet.
    """
    best = best_photo(splats, cameras)
    camera = cameras[best]
    target = _target(splats, cameras, camera)
    up = _mean_up(cameras)
    if up is None:
        up = -camera.cam_from_world[1, :3]
    side = math.sqrt(camera.width * camera.height)
    fov = 2 * math.degrees(math.atan(side / (2 * math.sqrt(camera.fx * camera.fy))))
    start = StartCamera(_vector(camera.position), _vector(target), _vector(up), min(150.0, max(5.0, fov)))
    return FirstView(start, best, reach_of(start, cameras))


def best_photo(splats: Splats, cameras: Sequence[Camera]) -> int:
    """The index of the photo that shows most of what the photos show, and has it nearest to its middle; of photos that
    are about as good, the one that was taken nearest to the middle of all, so that the view can turn to both sides.

    A splat counts by its opacity, by its size as the photos see it on average, and by how many have it in their frame;
    the less the nearer to a photo's border it is. What hides behind something counts too.
    """
    chosen = [cameras[index] for index in spread(range(len(cameras)), _MOST_PHOTOS)]
    step = max(1, -(-splats.num_splats // _MOST_SPLATS))
    means, sides, opacities = (
        values[::step].detach().cpu().numpy().astype(np.float64)
        for values in (splats.means, splats.scales, splats.opacities)
    )
    sides.sort(axis=1)
    near = np.stack([_nearness(camera, means) for camera in chosen])
    away = np.mean([((means - camera.position) ** 2).sum(axis=1) for camera in chosen], axis=0)
    worth = opacities * sides[:, 1] * sides[:, 2] / np.maximum(away, 1e-12) * (near > 0).sum(axis=0)
    scores = near @ worth
    places = np.stack([camera.position for camera in chosen])
    aside = np.linalg.norm(places - np.median(places, axis=0), axis=1)
    best = chosen[int(np.where(scores >= _AS_GOOD * scores.max(), aside, np.inf).argmin())]
    return next(index for index, camera in enumerate(cameras) if camera is best)


def reach_of(start: StartCamera, cameras: Sequence[Camera]) -> Reach | None:
    """How far about the start's target the photos of `cameras` look, with a margin. None where fewer than half of them
    have that point in their picture, or the start looks along its own up."""
    target = np.array(start.target)
    seeing = [camera for camera in cameras if _nearness(camera, target[None])[0] > 0]
    axes = _level_axes(start)
    if axes is None or 2 * len(seeing) < len(cameras):
        return None
    towards = target - np.stack([np.array(start.position), *(camera.position for camera in seeing)])
    distances = np.linalg.norm(towards, axis=1)
    near = distances > 1e-9 * distances.max()
    x, y, z = axes @ (towards[near] / distances[near, None]).T
    yaws, pitches = np.degrees(np.arctan2(x, z)), np.degrees(np.arcsin(np.clip(y, -1.0, 1.0)))
    low, high = float(distances[near].min()), float(distances.max())
    half = math.dist(start.position, start.target) * math.tan(math.radians(start.fov) / 2)
    return Reach(_arc(yaws), _widened(float(pitches.min()), float(pitches.max())),
                 (_NEARER * low, _FARTHER * high), _SHIFT * half)  # fmt: skip


def _nearness(camera: Camera, points: _Array) -> _Array:
    """[N] 1 for points in the middle of the picture, falling to 0 at its border and outside."""
    pixels, depths = camera.project(points)
    aside = 1.0 - np.abs(2.0 * pixels / (camera.width, camera.height) - 1.0)
    return np.where((depths > 0) & (aside > 0).all(axis=1), aside.prod(axis=1), 0.0)


def _target(splats: Splats, cameras: Sequence[Camera], camera: Camera) -> _Array:
    """[3] behind the middle of the picture of `camera`, at the depth of what the photos look at there."""
    pixels, depths = camera.project(look_at_point(cameras)[None])
    at = 2.0 * pixels[0] / (camera.width, camera.height) - 1.0
    if not (depths[0] > 0 and np.abs(at).max() <= _MIDDLE):
        at = np.zeros(2)
    x, y = camera.width / 2, camera.height / 2
    ray = np.array([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, 1.0])
    return camera.position + _depth_at(splats, camera, at) * (camera.cam_from_world[:3, :3].T @ ray)


def _depth_at(splats: Splats, camera: Camera, at: _Array) -> float:
    """The middle one of the depths of surfaces in a window of a third of the picture around `at` (-1 to 1), widened to
    the whole picture where that is empty."""
    scale = _DEPTH_SIDE / max(camera.width, camera.height)
    small = camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))
    drawn = render(splats, small, RenderOptions(depth=True))
    depths, solid = drawn.median_depth.cpu().numpy(), drawn.alpha.cpu().numpy() > 0.5
    ys, xs = (2.0 * (np.arange(n) + 0.5) / n - 1.0 for n in depths.shape)
    window = (np.abs(ys - at[1])[:, None] < 1 / 3) & (np.abs(xs - at[0])[None] < 1 / 3)
    for where in (window & solid, solid):
        found = depths[where & (depths > 0)]
        if len(found):
            return float(np.sort(found)[len(found) // 2])
    return 1.0


def _level_axes(start: StartCamera) -> _Array | None:
    """Rows right, up, ahead of the frame in which a page measures its angles; None where the start looks along up."""
    up = np.array(start.up) / np.linalg.norm(start.up)
    forward = np.array(start.target) - np.array(start.position)
    level = forward - (forward @ up) * up
    if np.linalg.norm(level) < 1e-3 * np.linalg.norm(forward):
        return None
    ahead = level / np.linalg.norm(level)
    return np.stack([np.cross(ahead, up), up, ahead])


def _arc(yaws: _Array) -> tuple[float, float] | None:
    """The arc (degrees, around 0) that angles span without their widest gap; None where they go all around."""
    ordered = np.sort(yaws)
    gaps = np.diff(np.append(ordered, ordered[0] + 360.0))
    widest = int(gaps.argmax())
    if gaps[widest] < _SIDE:
        return None
    low = float(ordered[(widest + 1) % len(ordered)])
    high = low + 360.0 - float(gaps[widest])
    # The start is one of the angles, at 0.
    turn = 360.0 * math.ceil((low - 1e-6) / 360.0)
    return _widened(low - turn, high - turn)


def _widened(low: float, high: float) -> tuple[float, float]:
    margin = min(_MARGIN_MOST, _MARGIN_BASE + _MARGIN_SHARE * (high - low))
    return low - margin, high + margin


def _mean_up(cameras: Sequence[Camera]) -> _Array | None:
    """None where the cameras do not agree on a direction, as in a capture from all around an object in the air."""
    up = -np.mean([camera.cam_from_world[1, :3] for camera in cameras], axis=0)
    return up if np.linalg.norm(up) >= 0.3 else None


def _vector(values: _Array) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z

# SPDX-License-Identifier: Apache-2.0
"""A depth for every pixel of every training photo, coarse to fine, from the training photos alone.

A plane sweep with semi-global aggregation at a small size gives a first depth everywhere; PatchMatch over slanted
planes refines it from size to size; then every photo is matched once more, with the others' depth in the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.depth.matched import Matched, first_sure, sure_pixels
from sparse3d.kernels.cpu import mvs
from sparse3d.kernels.cpu.mvs import DepthRange, MatchCosts, MvsImage, Planes, Rounds
from sparse3d.records.points import Points
from sparse3d.records.scene import Scene
from sparse3d.sfm.frustum import best_neighbours, near_far

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Patches:
    """spacing: pixels between a patch's samples; rounds: of PatchMatch with such patches; settled_rounds: of them, for
    pixels on which the photos agree already."""

    spacing: int
    rounds: int
    settled_rounds: int = 0


@dataclass(frozen=True)
class MatchConfig:
    """Settings of the matching; lengths in pixels of the working size."""

    max_side: int = 640
    """Longer side of the photos that are matched."""
    sweep_side: int = 260
    """Longer side at which planes are swept."""
    step_px: float = 0.75
    """Largest displacement from one plane of the sweep to the next."""
    planes_max: int = 256
    """Most planes in a sweep."""
    sources: int = 6
    """Other photos that each photo is matched with: those that see most of the same from a useful angle."""
    coarse: Patches = Patches(spacing=2, rounds=3)
    """At all sizes but the finest."""
    finest: tuple[Patches, ...] = (Patches(spacing=1, rounds=3, settled_rounds=1), Patches(spacing=2, rounds=2))
    """At the finest size, each of these in turn is matched to the end, and a pixel's match is taken from the first that
    is sure of it. Narrow patches place edges; wide ones find what has little texture or is seen from far apart."""
    census_share: float = 0.5
    """Share of the census in the cost; the rest is ZNCC."""
    geometric_weight: float = 0.15
    """Cost of a pixel of disagreement with another photo's depth in the last round."""
    agree_px: float = 1.0
    """Two photos agree on a pixel if the other one's depth puts it at most this far away from itself,"""
    agree_relative: float = 0.01
    """and the two depths differ by at most this share."""
    settled_px: float = 1.0
    """As agree_px, at the size before the finest: a pixel that the photos agree on so is settled there."""
    seed: int = 0
    """Seed of the random perturbations."""


def match_photos(
    scene: Scene, points: Points | None, cfg: MatchConfig | None = None, progress: Progress | None = None
) -> dict[int, Matched]:
    """Matches of the training photos by scene index; {} if no two of them see the same things.

    points: triangulated ones, for the range of depths; without them it comes from the cameras. The same input gives the
    same bits on any number of threads. progress(stage, fraction) is told how far the work has come.
    """
    cfg = cfg or MatchConfig()
    tell = progress or (lambda stage, fraction: None)
    cameras = [_working(scene.cameras[i], cfg.max_side) for i in scene.train]
    others = best_neighbours(cameras, min(cfg.sources, mvs.sources_max()))
    if not any(others):
        return {}
    store = scene.images.resized(scene.train, cameras)
    rgb = [store.rgb8(k) for k in range(len(cameras))]
    store.close()
    pyramids = [_pyramid(camera, pixels, cfg.sweep_side) for camera, pixels in zip(cameras, rgb, strict=True)]
    near, far = near_far(cameras, points)
    span = DepthRange(1.0 / far, 1.0 / near)
    done, stages = 0, len(cameras) * (1 + 2 * len(cfg.finest))

    def told() -> None:
        nonlocal done
        done += 1
        tell("dense depth", done / stages)

    coarse = []
    for k, near_by in enumerate(others):
        coarse.append(_match_coarse(pyramids, k, near_by, span, cfg))
        told()
    starts = [_start(pyramids, others, coarse, k, cfg) for k in range(len(cameras))]
    finest = [p[0] for p in pyramids]
    found = [_match_finest(finest, others, starts, patches, span, cfg, told) for patches in cfg.finest]
    out = {}
    for k, near_by in enumerate(others):
        if near_by:
            ways = [
                Matched(
                    finest[k],
                    rgb[k],
                    planes[k],
                    *_check(finest, near_by, k, planes, cfg.agree_px, cfg.agree_relative),
                    len(near_by),
                )
                for planes in found
            ]
            out[scene.train[k]] = first_sure(ways)
    return out


@dataclass(frozen=True)
class _Start:
    """planes [H,W,4] at the finest size to begin with, and where they are settled [H,W]; None: nowhere."""

    planes: Planes
    settled: NDArray[np.bool_] | None

    def rounds(self, patches: Patches, seed: int) -> Rounds:
        if self.settled is None:
            return Rounds(patches.rounds, seed)
        last = np.where(self.settled, patches.settled_rounds, patches.rounds)
        return Rounds(patches.rounds, seed, last.astype(np.uint8))


def _match_finest(
    images: Sequence[MvsImage],
    others: Sequence[Sequence[int]],
    starts: Sequence[_Start],
    patches: Patches,
    span: DepthRange,
    cfg: MatchConfig,
    told: Callable[[], None],
) -> list[Planes]:
    """Planes of every photo at its full working size, from `starts`: once by looks alone, once with the depth of the
    others in the cost."""
    first = []
    for k, near_by in enumerate(others):
        planes = starts[k].planes.copy()
        if near_by:
            costs = MatchCosts(_best_views(len(near_by)), cfg.census_share, spacing=patches.spacing)
            sources = [images[j].source_of(images[k]) for j in near_by]
            mvs.patch_match(images[k], sources, costs, planes, span, starts[k].rounds(patches, cfg.seed))
        first.append(planes)
        told()
    second = []
    for k, near_by in enumerate(others):
        planes = first[k].copy()
        if near_by:
            costs = MatchCosts(_best_views(len(near_by)), cfg.census_share, cfg.geometric_weight, patches.spacing)
            sources = [images[j].source_of(images[k], first[j]) for j in near_by]
            mvs.patch_match(images[k], sources, costs, planes, span, starts[k].rounds(patches, cfg.seed + 7919))
        second.append(planes)
        told()
    return second


def _check(
    images: Sequence[MvsImage], near_by: Sequence[int], k: int, planes: Sequence[Planes], px: float, relative: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    sources = [images[j].source_of(images[k], planes[j]) for j in near_by]
    return mvs.check(images[k], sources, planes[k], px, relative)


def _working(camera: Camera, max_side: int) -> Camera:
    scale = min(1.0, max_side / max(camera.width, camera.height))
    return camera.resized(max(16, round(camera.width * scale)), max(16, round(camera.height * scale)))


def _best_views(sources: int) -> int:
    """A third of the sources: a few photos far apart seldom all see a pixel, and one good match tells its depth. (Half,
    as in ICO-GS, costs 0.9 dB on held-out photos of a draw of 4 wide-baseline photos.)"""
    return max(1, round(sources / 3))


def _pyramid(camera: Camera, rgb: NDArray[np.uint8], sweep_side: int) -> list[MvsImage]:
    """Finest first; the last is swept."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255.0
    images = [MvsImage(camera, grey)]
    while max(images[-1].camera.width, images[-1].camera.height) > sweep_side:
        last = images[-1]
        smaller = last.camera.resized(max(8, round(last.camera.width / 2)), max(8, round(last.camera.height / 2)))
        size = (smaller.width, smaller.height)
        grey = cv2.resize(last.grey, size, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)
        images.append(MvsImage(smaller, grey))
    return images


def _match_coarse(
    pyramids: Sequence[list[MvsImage]], k: int, near_by: list[int], span: DepthRange, cfg: MatchConfig
) -> Planes:
    """Planes at the size before the finest: swept at the coarsest one, refined from there on."""
    levels = pyramids[k]
    if not near_by:
        return np.zeros((*levels[-1].grey.shape, 4), np.float32)
    image = levels[-1]
    sources = [pyramids[j][-1].source_of(image) for j in near_by]
    costs = MatchCosts(_best_views(len(near_by)), cfg.census_share, spacing=cfg.coarse.spacing)
    count = _plane_count(image.camera, [pyramids[j][-1].camera for j in near_by], span, cfg)
    planes, _ = mvs.sweep(image, sources, costs, span, count)
    for level in range(len(levels) - 1, 0, -1):
        image = levels[level]
        planes = planes if level == len(levels) - 1 else _enlarged(planes, image.camera)
        sources = [_at_level(pyramids[j], level).source_of(image) for j in near_by]
        mvs.patch_match(image, sources, costs, planes, span, Rounds(cfg.coarse.rounds, cfg.seed + level))
    return planes


def _at_level(pyramid: Sequence[MvsImage], level: int) -> MvsImage:
    return pyramid[min(level, len(pyramid) - 1)]


def _start(
    pyramids: Sequence[list[MvsImage]],
    others: Sequence[Sequence[int]],
    coarse: Sequence[Planes],
    k: int,
    cfg: MatchConfig,
) -> _Start:
    """What the coarse matches of photo `k` say at the finest size; settled where other photos confirm them."""
    if len(pyramids[k]) == 1 or not others[k]:
        return _Start(coarse[k] if others[k] else np.zeros((*pyramids[k][0].grey.shape, 4), np.float32), None)
    camera = pyramids[k][0].camera
    images = [_at_level(p, 1) for p in pyramids]
    counts = _check(images, others[k], k, coarse, cfg.settled_px, cfg.agree_relative)
    found = Matched(images[k], np.zeros(0, np.uint8), coarse[k], *counts, len(others[k]))
    sure = sure_pixels(found).astype(np.uint8)
    settled = cv2.resize(sure, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST) > 0
    return _Start(_enlarged(coarse[k], camera), settled)


def _plane_count(camera: Camera, others: Sequence[Camera], span: DepthRange, cfg: MatchConfig) -> int:
    """Enough planes that from one to the next no pixel moves by more than `step_px` in another photo."""
    u, v = np.meshgrid(np.linspace(0, camera.width, 5), np.linspace(0, camera.height, 5))
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1).reshape(-1, 3)
    back = camera.world_from_cam
    longest = 0.0
    for other in others:
        ends = [other.project(rays / w @ back[:3, :3].T + back[:3, 3]) for w in (span.w_far, span.w_near)]
        ahead = (ends[0][1] > 0) & (ends[1][1] > 0)
        if ahead.any():
            longest = max(longest, float(np.median(np.linalg.norm(ends[0][0] - ends[1][0], axis=1)[ahead])))
    return int(np.clip(np.ceil(longest / cfg.step_px), 32, cfg.planes_max))


def _enlarged(planes: Planes, camera: Camera) -> Planes:
    """Planes at a finer size: each pixel continues the plane of the coarse pixel that it lies in."""
    h, w = planes.shape[:2]
    sx, sy = w / camera.width, h / camera.height
    x, y = (np.arange(camera.width) + 0.5) * sx, (np.arange(camera.height) + 0.5) * sy
    ix, iy = np.minimum(x.astype(np.int64), w - 1), np.minimum(y.astype(np.int64), h - 1)
    out = planes[iy[:, None], ix[None, :]].copy()
    out[..., 0] += out[..., 1] * (x - ix - 0.5)[None, :] + out[..., 2] * (y - iy - 0.5)[:, None]
    out[..., 1] *= sx
    out[..., 2] *= sy
    return np.ascontiguousarray(out, np.float32)

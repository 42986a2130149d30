# SPDX-License-Identifier: Apache-2.0
"""Dense depth of a few photos against the truth, beside OpenCV's StereoSGBM on the same photos."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.bench.sgbm import sgbm_depth
from sparse3d.camera import Camera
from sparse3d.depth.maps import FILLED_CONFIDENCE, depth_maps
from sparse3d.depth.match import MatchConfig, match_photos
from sparse3d.errors import DataError, UsageError
from sparse3d.kernels.cpu.mvs import DepthRange
from sparse3d.records.scene import Scene
from sparse3d.sfm.frustum import near_far
from sparse3d.sfm.triangulate import triangulate_points

# If no depth is given, the truth is our own depth from this many photos around each, where this many others confirm it.
_TRUTH_NEIGHBOURS, _TRUTH_AGREEING = 10, 4
# Millimetres, in a scene of metres.
_PNG_UNIT = 0.001


@dataclass(frozen=True)
class DepthBenchConfig:
    """views: positions in the sorted names (22,25,28), or a number of photos: each one whose depth is given (or else
    the middle one) with its nearest others. truth: files, photos (our own depth from many of them), none, or auto:
    files if there are any."""

    views: str = "4"
    truth: str = "auto"


def run(scene: Scene, cfg: DepthBenchConfig, say: Callable[[str], None]) -> dict[str, Any]:
    """Each method's completeness, errors and seconds over all groups of photos. Raises UsageError for views that do not
    exist, DataError if depth files are asked for and no chosen photo has one."""
    files = _depth_files(scene)
    kind = cfg.truth if cfg.truth != "auto" else "files" if files else "photos"
    groups = _groups(scene, cfg.views, sorted(files) if kind == "files" else [])
    truth: dict[int, NDArray[np.float32]] = {}
    if kind == "files":
        truth = {i: files[i] for group in groups for i in group if i in files}
        if not truth:
            raise DataError(f"{scene.root}: none of the photos {cfg.views} has a file in {scene.root / 'depth'}")
    elif kind == "photos":
        say("making the truth from many photos")
        truth = _many_view_truth(scene, sorted({i for group in groups for i in group}))
    results: dict[str, list[NDArray[np.float64]]] = {}
    seconds: dict[str, float] = {}
    for group in groups:
        say("photos " + ", ".join(scene.names[i] for i in group))
        for name, (depths, spent) in _methods(replace(scene, train=group, test=())).items():
            seconds[name] = seconds.get(name, 0.0) + spent
            rows = results.setdefault(name, [])
            for index, depth in depths.items():
                # With files, each group is around one photo, and only that one's depth counts, once.
                if index in truth and (kind != "files" or len(groups) == 1 or index == group[0]):
                    rows.append(_relative_error(depth, truth[index]))
    return {
        "scene": str(scene.root),
        "groups": [[scene.names[i] for i in group] for group in groups],
        "size": [scene.cameras[groups[0][0]].width, scene.cameras[groups[0][0]].height],
        "truth": kind,
        "truth_pixels": int(sum((found > 0).sum() for found in truth.values())),
        "methods": [
            {"method": name, **_scores(results[name]), "seconds": seconds[name] / len(groups)} for name in results
        ],
    }


def _groups(scene: Scene, views: str, with_truth: Sequence[int]) -> list[tuple[int, ...]]:
    parts = [part.strip() for part in views.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise UsageError(f"--views {views}: give positions of photos (22,25,28) or a number of photos (4)")
    numbers = [int(part) for part in parts]
    count = len(scene.names)
    if "," in views:
        if max(numbers) >= count or len(set(numbers)) < 2:
            raise UsageError(f"--views {views}: give two or more different positions from 0 to {count - 1}")
        return [tuple(sorted(set(numbers)))]
    if not 2 <= numbers[0] <= count:
        raise UsageError(f"--views {views}: the scene has {count} photos, give 2 to {count}")
    middles = with_truth or [count // 2]
    return [(middle, *_nearest(scene.cameras, middle, numbers[0] - 1)) for middle in middles]


def _nearest(cameras: Sequence[Camera], index: int, count: int) -> list[int]:
    away = np.linalg.norm(np.stack([c.position for c in cameras]) - cameras[index].position, axis=1)
    return [int(i) for i in np.argsort(away, kind="stable") if i != index][:count]


def _depth_files(scene: Scene) -> dict[int, NDArray[np.float32]]:
    """Depth by scene index from depth/NAME.png, 16-bit millimetres, 0 unknown."""
    out = {}
    for index, name in enumerate(scene.names):
        path = scene.root / "depth" / (name.rsplit("/", 1)[-1].rsplit(".", 1)[0] + ".png")
        if path.is_file():
            read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if read is None or read.dtype != np.uint16 or read.ndim != 2:
                raise DataError(f"{path}: expected a 16-bit png of one channel with depth in millimetres")
            out[index] = read.astype(np.float32) * np.float32(_PNG_UNIT)
    return out


def _many_view_truth(scene: Scene, wanted: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    used = set(wanted)
    for index in wanted:
        used.update(_nearest(scene.cameras, index, _TRUTH_NEIGHBOURS))
    many = replace(scene, train=tuple(sorted(used)), test=())
    matches = match_photos(many, triangulate_points(many), MatchConfig(sources=_TRUTH_NEIGHBOURS))
    out = {}
    for index in wanted:
        if index in matches:
            found = matches[index]
            sure = found.agreeing >= _TRUTH_AGREEING
            out[index] = np.where(sure, 1.0 / np.where(sure, found.planes[..., 0], 1.0), 0.0).astype(np.float32)
    return out


def _methods(scene: Scene) -> dict[str, tuple[dict[int, NDArray[np.float32]], float]]:
    """Depth by scene index and seconds of each method. Triangulated points give both of them the range to search; that
    time is not counted."""
    points = triangulate_points(scene)
    began = time.perf_counter()
    matches = match_photos(scene, points)
    maps = depth_maps(matches)
    spent = time.perf_counter() - began
    every = {index: found.depth for index, found in maps.items()}
    sure = {i: np.where(m.confidence > FILLED_CONFIDENCE, m.depth, np.float32(0.0)) for i, m in maps.items()}
    out = {"sparse3d, all pixels": (every, spent), "sparse3d, sure pixels": (sure, spent)}
    cameras = [scene.cameras[i] for i in scene.train]
    photos = [scene.images.rgb8(i) for i in scene.train]
    near, far = near_far(cameras, points)
    began = time.perf_counter()
    found = {i: sgbm_depth(cameras, photos, k, DepthRange(1.0 / far, 1.0 / near)) for k, i in enumerate(scene.train)}
    out["OpenCV StereoSGBM"] = (found, time.perf_counter() - began)
    return out


def _relative_error(depth: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float64]:
    """[N] of the pixels with a truth, infinite where there is no depth; at the size of the truth."""
    if depth.shape != truth.shape:
        resized = cv2.resize(depth, truth.shape[::-1], interpolation=cv2.INTER_NEAREST)
        depth = resized.astype(np.float32, copy=False)
    known = truth > 0
    error = np.abs(depth[known].astype(np.float64) / truth[known] - 1.0)
    return np.where(depth[known] > 0, error, np.inf)


def _scores(errors: Sequence[NDArray[np.float64]]) -> dict[str, float | None]:
    every = np.concatenate(errors) if errors else np.zeros(0)
    found = every[np.isfinite(every)]
    if not len(every):
        return {"complete": None, "median_error": None, "within_1": None, "within_5": None}
    return {
        "complete": len(found) / len(every),
        "median_error": float(np.median(found)) if len(found) else None,
        "within_1": float((every < 0.01).mean()),
        "within_5": float((every < 0.05).mean()),
    }

# SPDX-License-Identifier: Apache-2.0
"""Points triangulated from photos with known poses, from the TRAINING photos only.

Features of the undistorted photos are matched along the epipolar lines of the known poses, joined to tracks (with the
user's own matches, if there are any), and every track's point is refined on its reprojection error. The same photos and
poses give the same bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.kernels.neighbours import nearest_distances
from sparse3d.records.points import Points
from sparse3d.records.scene import Scene
from sparse3d.sfm.features import Features, detect
from sparse3d.sfm.frustum import view_pairs
from sparse3d.sfm.known_pairs import known_pairs
from sparse3d.sfm.tracks import CameraArrays, Edges, Observations, consensus, refine, widest_angle_deg
from sparse3d.sfm.two_view import GuidedOptions, match_guided, verify

Progress = Callable[[str, float], None]
_VERSION = 2
_FEW_PHOTOS = 12


@dataclass(frozen=True)
class TriangulateConfig:
    """Settings of the triangulation; lengths in pixels of the working size, angles in degrees."""

    max_side: int = 960
    """Longer side of the photos on which features are found."""
    features_max: int = 8192
    """Features kept in a photo."""
    contrast: float = 0.01
    """OpenCV's SIFT contrast threshold."""
    few_max_side: int = 1600
    """As max_side, for 12 photos or fewer: there are few pairs, so each may take longer and give more."""
    few_features_max: int = 16384
    """As features_max, for 12 photos or fewer."""
    few_contrast: float = 0.005
    """As contrast, for 12 photos or fewer."""
    pairs_per_photo: int = 14
    """Other photos that each photo is matched with."""
    band_px: float = 2.0
    """Distance from the epipolar line within which candidates lie."""
    ratio: float = 0.85
    """Largest quotient of the distances to the best and the second-best candidate in the band. Of the points that 0.9
    adds to those of 0.85 on 4 photos of a real scene, more than half lie off its surfaces (measured)."""
    error_max_px: float = 1.5
    """Reprojection error of any sighting of a kept point."""
    angle_min: float = 1.5
    """Smallest angle between the widest rays of a point; half of it for cameras side by side."""
    threads: int = 2
    """Photos and pairs worked on at once; the result does not depend on it."""


def triangulate_points(
    scene: Scene,
    cfg: TriangulateConfig | None = None,
    workdir: Path | None = None,
    progress: Progress | None = None,
) -> Points | None:
    """Points seen by at least two training photos of `scene`, coloured from them; None if nothing can be placed (fewer
    than two training photos, or no match that holds).

    workdir: where the result is kept (`points.safetensors`) and found again while photos, poses and settings are the
    same. progress(stage, fraction) is told how far the work has come.
    """
    cfg = cfg or TriangulateConfig()
    if len(scene.train) < 2:
        return None
    key = _key(scene, cfg)
    store = None if workdir is None else Path(workdir) / "points.safetensors"
    if store is not None and (kept := _load(store, key)) is not None:
        return kept if len(kept) else None
    points = _triangulate(scene, cfg, progress or (lambda stage, fraction: None))
    if store is not None:
        _save(store, key, points)
    return points if len(points) else None


def _triangulate(scene: Scene, cfg: TriangulateConfig, progress: Progress) -> Points:
    few = len(scene.train) <= _FEW_PHOTOS
    if few:
        cfg = replace(cfg, max_side=cfg.few_max_side, features_max=cfg.few_features_max, contrast=cfg.few_contrast)
    cameras = _working_cameras(scene, cfg.max_side)
    photos = scene.images.resized(scene.train, cameras)
    pairs = view_pairs(cameras, len(cameras) if few else cfg.pairs_per_photo)
    options = GuidedOptions(band_px=cfg.band_px, ratio=cfg.ratio, angle_min_deg=0.5 * cfg.angle_min)
    given = known_pairs(scene, cameras, options)
    cv_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(max_workers=max(1, cfg.threads)) as pool:

            def find(k: int) -> tuple[Features, NDArray[np.float32], NDArray[np.bool_]]:
                rgb, mask = photos.rgb8(k), _feature_mask(photos.mask(k))
                grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
                found = detect(grey, contrast=cfg.contrast, count_max=cfg.features_max, mask=mask)
                return found, _colours(rgb, np.concatenate([found.xy, given.xy[k]])), _kept(mask, given.xy[k])

            features: list[Features] = []
            colours: list[NDArray[np.float32]] = []
            kept: list[NDArray[np.bool_]] = []
            for k, (found, colour, inside) in enumerate(pool.map(find, range(len(cameras)))):
                features.append(found)
                colours.append(colour)
                kept.append(inside)
                progress("features", (k + 1) / len(cameras))

            def match(pair: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
                i, j = pair
                matches = match_guided(features[i], features[j], cameras[i], cameras[j], options)
                return verify(features[i], features[j], cameras[i], cameras[j], matches, options)

            matched = []
            for p, result in enumerate(pool.map(match, pairs)):
                matched.append(result)
                progress("matching", (p + 1) / len(pairs))
    finally:
        cv2.setNumThreads(cv_threads)
    progress("points", 0.0)
    xy = [np.concatenate([f.xy, more]) for f, more in zip(features, given.xy, strict=True)]
    # The user's own sightings are numbered after those that were found here.
    for (i, j), (index, at) in zip(given.pairs, given.matched, strict=True):
        both = kept[i][index[:, 0]] & kept[j][index[:, 1]]
        matched.append((index[both] + np.array([len(features[i]), len(features[j])], np.int32), at[both]))
    points = _points_from_matches(cameras, xy, colours, [*pairs, *given.pairs], matched, cfg)
    progress("points", 1.0)
    return points


def _points_from_matches(
    cameras: Sequence[Camera],
    seen_xy: Sequence[NDArray[np.float64]],
    colours: Sequence[NDArray[np.float32]],
    pairs: Sequence[tuple[int, int]],
    matched: Sequence[tuple[NDArray[np.int32], NDArray[np.float64]]],
    cfg: TriangulateConfig,
) -> Points:
    """Points of the matches (index pairs [M,2] into the sightings of two photos, and their two-view points [M,3])."""
    arrays = CameraArrays.of(cameras)
    offset = np.concatenate([[0], np.cumsum([len(f) for f in seen_xy])])
    view = np.repeat(np.arange(len(seen_xy)), [len(f) for f in seen_xy])
    xy = np.concatenate(list(seen_xy))
    colour = np.concatenate(colours)
    place = _same_place(view, xy)
    edges = [
        np.stack([place[offset[i] + m[:, 0]], place[offset[j] + m[:, 1]]], axis=1)
        for (i, j), (m, _) in zip(pairs, matched, strict=True)
    ]
    edge = np.concatenate(edges) if edges else np.zeros((0, 2), np.int64)
    if len(edge) == 0:
        return _no_points()
    edge_point = np.concatenate([p for _, p in matched])
    angle = _angle_between(edge_point, arrays.position[view[edge[:, 0]]], arrays.position[view[edge[:, 1]]])
    points, seen = consensus(view, xy, Edges(edge, edge_point, angle), arrays, 1.5 * cfg.error_max_px)
    points = refine(points, seen, arrays)
    points, seen = _drop(points, seen, arrays.error(points[seen.point], seen.view, seen.xy) <= cfg.error_max_px)
    points = refine(points, seen, arrays)
    error = arrays.error(points[seen.point], seen.view, seen.xy)
    number = len(points)
    worst = np.zeros(number)
    np.maximum.at(worst, seen.point, error)
    wide = widest_angle_deg(points, seen, arrays) >= _angle_min(cameras, cfg)
    good = wide & (worst <= cfg.error_max_px) & np.isfinite(points).all(axis=1)
    good &= ~_isolated(points, good, arrays)
    sightings = np.bincount(seen.point, minlength=number)
    rgb = np.stack([np.bincount(seen.point, colour[seen.keypoint, c], minlength=number) for c in range(3)], axis=1)
    mean_error = np.bincount(seen.point, error, minlength=number)
    share = np.maximum(sightings, 1)
    return Points(
        points[good].astype(np.float32),
        (rgb / share[:, None])[good].astype(np.float32),
        (mean_error / share)[good].astype(np.float32),
    )


def _drop(
    points: NDArray[np.float64], seen: Observations, keep: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], Observations]:
    """Without the sightings that are not kept, and without the points that have fewer than two left."""
    seen = seen.select(keep)
    alive = np.bincount(seen.point, minlength=len(points)) >= 2
    seen = seen.select(alive[seen.point])
    number = np.cumsum(alive) - 1
    return points[alive], Observations(number[seen.point], seen.view, seen.keypoint, seen.xy)


def _angle_min(cameras: Sequence[Camera], cfg: TriangulateConfig) -> float:
    """In degrees. Photos taken side by side see everything under small angles, so half of the usual will do."""
    axis = np.stack([c.cam_from_world[2, :3] for c in cameras])
    widest = np.degrees(np.arccos(np.clip(np.einsum("ik,jk->ij", axis, axis).min(), -1.0, 1.0)))
    return cfg.angle_min if widest > 20.0 else 0.5 * cfg.angle_min


def _isolated(points: NDArray[np.float64], good: NDArray[np.bool_], arrays: CameraArrays) -> NDArray[np.bool_]:
    """Points whose neighbours are far away for their depth: the mean distance to the 3 nearest, over the distance to
    the nearest camera, is more than 4 median absolute deviations (in the logarithm) above the median."""
    out = np.zeros(len(points), bool)
    index = np.flatnonzero(good)
    if len(index) < 20:
        return out
    chosen = points[index]
    depth = np.min(np.stack([np.linalg.norm(chosen - p, axis=1) for p in arrays.position]), axis=0)
    gap = np.log(nearest_distances(chosen.astype(np.float32), 3).mean(axis=1) / np.maximum(depth, 1e-12) + 1e-9)
    middle = np.median(gap)
    spread = 1.4826 * np.median(np.abs(gap - middle))
    out[index] = gap > middle + 4.0 * max(spread, 0.1)
    return out


def _angle_between(points: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    ray_a, ray_b = points - a, points - b
    across = np.linalg.norm(np.cross(ray_a, ray_b), axis=1)
    return np.degrees(np.arctan2(across, (ray_a * ray_b).sum(axis=1)))


def _same_place(view: NDArray[np.int64], xy: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each keypoint the first one of the same photo at the same place (one corner with two orientations)."""
    order = np.lexsort((xy[:, 0], xy[:, 1], view))
    new = np.ones(len(view), bool)
    same = (view[order][1:] == view[order][:-1]) & (np.abs(np.diff(xy[order], axis=0)).max(axis=1) < 1e-3)
    new[1:] = ~same
    leader = order[np.flatnonzero(new)][np.cumsum(new) - 1]
    out = np.empty(len(view), np.int64)
    out[order] = leader
    return out


def _no_points() -> Points:
    return Points(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), np.zeros(0, np.float32))


def _working_cameras(scene: Scene, max_side: int) -> list[Camera]:
    """Cameras of the training photos at the working size: at most `max_side`, never above the file's own pixels."""
    cameras = []
    for i in scene.train:
        camera = scene.cameras[i]
        own = scene.images.source_size(i)
        scale = min(max_side, max(own)) / max(camera.width, camera.height)
        cameras.append(camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale))))
    return cameras


def _feature_mask(mask: Tensor | None) -> NDArray[np.uint8] | None:
    """Where keypoints may lie: the photo's mask, without a border of 2 pixels along its edge."""
    if mask is None:
        return None
    keep = (mask.numpy() > 0.5).astype(np.uint8)
    return cv2.erode(keep, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1) * 255


def _kept(mask: NDArray[np.uint8] | None, xy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N] whether the mask (None: everywhere) keeps the pixels [N,2]."""
    if mask is None:
        return np.ones(len(xy), bool)
    column, row = np.minimum(xy.astype(np.int64), [mask.shape[1] - 1, mask.shape[0] - 1]).T
    return mask[row, column] > 0


def _colours(rgb: NDArray[np.uint8], xy: NDArray[np.float64]) -> NDArray[np.float32]:
    """[N,3] in 0..1, bilinear at the pixels [N,2]."""
    if len(xy) == 0:
        return np.zeros((0, 3), np.float32)
    at = (xy - 0.5).astype(np.float32)
    picked = cv2.remap(rgb, at[:, 0][:, None], at[:, 1][:, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return picked.reshape(-1, 3).astype(np.float32) / 255.0


def _key(scene: Scene, cfg: TriangulateConfig) -> str:
    """A digest of all that the result depends on; of the photos their names, sizes and times."""
    files = []
    for i in scene.train:
        path = scene.root / scene.names[i]
        files.append(
            [scene.names[i], path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else [scene.names[i]]
        )
    settings = {k: v for k, v in asdict(cfg).items() if k != "threads"}
    digest = hashlib.sha256(json.dumps([_VERSION, cv2.__version__, files, settings]).encode())
    if scene.matches is not None:
        digest.update(scene.matches.digest.encode())
    for i in scene.train:
        c = scene.cameras[i]
        digest.update(np.array([c.width, c.height, c.fx, c.fy, c.cx, c.cy], np.float64).tobytes())
        digest.update(np.ascontiguousarray(c.cam_from_world).tobytes())
    return digest.hexdigest()


def _load(path: Path, key: str) -> Points | None:
    """The kept points, or None if there are none for this key (a damaged file counts as none: it is made again)."""
    if not path.is_file():
        return None
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError):
        return None
    stored = arrays.get("key")
    if stored is None or stored.tobytes() != bytes.fromhex(key):
        return None
    return Points(arrays["xyz"], arrays["rgb"], arrays["error_px"])


def _save(path: Path, key: str, points: Points) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    error = points.error_px if points.error_px is not None else np.zeros(len(points), np.float32)
    temporary = path.with_suffix(".tmp")
    digest = np.frombuffer(bytes.fromhex(key), np.uint8)
    save_file({"xyz": points.xyz, "rgb": points.rgb, "error_px": error, "key": digest}, temporary)
    temporary.replace(path)

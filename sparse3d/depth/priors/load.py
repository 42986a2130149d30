# SPDX-License-Identifier: Apache-2.0
"""The user's own depth and normals of the training photos, as records that training terms can use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.depth.depth_map import DepthMap
from sparse3d.depth.priors import fit as fits
from sparse3d.depth.priors.arrays import DEPTH_SUFFIXES, NORMAL_SUFFIXES, read_depth, read_normals
from sparse3d.depth.priors.config import PriorConfig
from sparse3d.depth.priors.onnx_depth import OnnxDepth
from sparse3d.depth.priors.resample import map_camera, through_camera
from sparse3d.errors import DataError
from sparse3d.photos.named_files import file_like
from sparse3d.records.points import Points
from sparse3d.records.scene import Scene

Progress = Callable[[str, float], None]
# Confidence of depth that is given as metric and that no point can judge.
_UNJUDGED = 0.5
# Depth outside the range of the points was extrapolated.
_BEYOND, _BEYOND_FACTOR = 1.5, 0.5


@dataclass(frozen=True)
class RelativeDepth:
    """Depth of one photo of which only the shape is known, for Pearson correlation: `values` [H,W] float32 (NaN where
    unknown) at `camera`'s size are 1/z (`inverse`) or z, up to a scale above 0 and a shift."""

    camera: Camera
    values: NDArray[np.float32]
    inverse: bool

    def as_depth_map(self) -> DepthMap:
        """The same shape as depth above 0; its scale and shift mean nothing."""
        known = np.isfinite(self.values)
        low, high = (float(f(self.values[known])) for f in (np.min, np.max)) if known.any() else (0.0, 1.0)
        # Kept away from 0, where a depth and its inverse part.
        positive = np.where(known, self.values - low + 0.1 * max(high - low, 1e-12), 1.0)
        depth = np.where(known, 1.0 / positive if self.inverse else positive, 0.0).astype(np.float32)
        confidence = np.where(known, 1.0, 0.0).astype(np.float32)
        return DepthMap(self.camera, depth, confidence, np.zeros((*depth.shape, 3), np.float32), metric=False)


@dataclass(frozen=True)
class NormalMap:
    """Unit normals [H,W,3] float32 in `camera`'s frame (OpenCV axes), facing the camera; zero where unknown."""

    camera: Camera
    normal: NDArray[np.float32]


@dataclass(frozen=True)
class Priors:
    """By scene index, training photos only. depth_maps: depth in world units, given so or fitted; its confidence says
    how well it agrees with the points. relative: the others. normals: they are in the depth map of the same photo, too.
    notes: sentences for the user."""

    depth_maps: Mapping[int, DepthMap] = field(default_factory=dict)
    relative: Mapping[int, RelativeDepth] = field(default_factory=dict)
    normals: Mapping[int, NormalMap] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def check_prior_paths(cfg: PriorConfig) -> None:
    """Raises DataError for a prior that is not there, before anything that takes long."""
    for option, path, suffixes in (
        ("--prior-depth", cfg.prior_depth, (".onnx",)),
        ("--prior-normals", cfg.prior_normals, ()),
    ):
        if path is None or path.is_dir() or (path.is_file() and path.suffix.lower() in suffixes):
            continue
        what = "a folder or an .onnx file" if suffixes else "a folder"
        found = "it is another kind of file" if path.exists() else "there is nothing of this name"
        raise DataError(f"{option} {path}: {what} is expected, {found}")


def load_priors(
    scene: Scene, cfg: PriorConfig, points: Points | None = None, progress: Progress | None = None
) -> Priors:
    """Depth and normals that `cfg` names, for the scene's training photos; empty where it names none.

    points: those that relative depth is fitted to, triangulated from the training photos; None: the scene's own.
    Photos without a file are left out, with a note. Raises DataError for files that cannot be used and for
    a folder without any for these photos, BackendError where a model needs what is not installed.
    """
    check_prior_paths(cfg)
    points = scene.points if points is None else points
    progress = progress or (lambda stage, share: None)
    normals, notes = _normals(scene, cfg, progress) if cfg.prior_normals is not None else ({}, ())
    if cfg.prior_depth is None:
        return Priors(normals=normals, notes=notes)
    raw = dict(_raw_depth(scene, cfg, cfg.prior_depth, progress))
    kind, fitted, more = _fit_all(raw, cfg, points)
    depth_maps: dict[int, DepthMap] = {}
    relative: dict[int, RelativeDepth] = {}
    for index, (camera, values) in raw.items():
        found = fitted[index]
        if found.good or (kind == "metric" and found.count < fits.POINTS_MIN):
            depth_maps[index] = _depth_map(camera, values, found, normals.get(index))
        else:
            relative[index] = RelativeDepth(camera, values, kind == "disparity")
    notes += _left_out(scene, raw, cfg.prior_depth) + more + _report(scene, kind, fitted, relative)
    return Priors(depth_maps, relative, normals, notes)


def _raw_depth(
    scene: Scene, cfg: PriorConfig, path: Path, progress: Progress
) -> Iterator[tuple[int, tuple[Camera, NDArray[np.float32]]]]:
    """(index, (camera, map values [H,W])) of each training photo that has any."""
    network = None if path.is_dir() else OnnxDepth(path)
    for done, index in enumerate(scene.train):
        camera, photo = scene.cameras[index], scene.images.photo(index)
        if network is not None:
            values = network(scene.images.rgb8(index))
            height, width = values.shape
            values[~np.isfinite(values)] = np.nan
            yield index, (camera.resized(width, height), values)
        elif (file := _file(path, photo.name, DEPTH_SUFFIXES, "_depth", photo.path)) is not None:
            # Files are in the units of the user's world. A power of two: exact.
            values = read_depth(file, cfg.prior_depth_scale) * np.float32(scene.frame.scale)
            camera = map_camera(camera, photo, values.shape[1], values.shape[0], file)
            yield index, (camera, through_camera(values, photo, camera))
        progress("prior depth", (done + 1) / len(scene.train))


def _file(folder: Path, name: str, suffixes: tuple[str, ...], ending: str, photo: Path) -> Path | None:
    """The photo's file; NAME_depth.npy before NAME.npy, as depth and normals may lie in one folder."""
    return file_like(folder, name, (*(ending + suffix for suffix in suffixes), *suffixes), other_than=photo)


def _left_out(scene: Scene, found: Mapping[int, object], folder: Path) -> tuple[str, ...]:
    """A note on the training photos without a file. Raises DataError where none has one."""
    missing = [scene.names[i] for i in scene.train if i not in found]
    if len(missing) == len(scene.train):
        raise DataError(
            f"{folder}: holds no map for any of the {len(missing)} training photos; a map is named like its photo "
            f"(for {missing[0]}: {Path(missing[0]).stem}.npy, .npz, .png)"
        )
    if not missing:
        return ()
    return (f"{len(missing)} of {len(scene.train)} training photos have no map in {folder}, first {missing[0]}",)


def _fit_all(
    raw: Mapping[int, tuple[Camera, NDArray[np.float32]]], cfg: PriorConfig, points: Points | None
) -> tuple[fits.Kind, dict[int, fits.Fit], tuple[str, ...]]:
    """The kind of the maps and the fit of each photo to the points it sees."""
    pairs = {}
    for index, (camera, values) in raw.items():
        xyz = np.zeros((0, 3)) if points is None else points.xyz
        xy, z = fits.seen_points(xyz, camera)
        at = fits.sample(values, camera, xy)
        known = np.isfinite(at)
        pairs[index] = at[known], z[known]
    asked = cfg.prior_depth_kind
    if asked == "auto" and cfg.prior_depth is not None and cfg.prior_depth.is_file():
        asked = "disparity"
    if asked != "auto":
        return asked, {i: fits.fit(asked, *pair) for i, pair in pairs.items()}, ()
    best: tuple[float, fits.Kind, dict[int, fits.Fit]] | None = None
    handicaps: dict[fits.Kind, float] = {"metric": 0.5, "disparity": 1.0, "relative": 1.0}
    for kind, handicap in handicaps.items():
        found = {i: fits.fit(kind, *pair) for i, pair in pairs.items()}
        judged = [f.error if f.scale > 0.0 else np.inf for f in found.values() if f.count >= fits.POINTS_MIN]
        # Without a free number to fit, metric depth is believed even where it is a little worse.
        cost = handicap * float(np.median(judged)) if judged else np.inf
        if best is None or cost < best[0]:
            best = cost, kind, found
    if best is None or not np.isfinite(best[0]):
        raise DataError(
            f"--prior-depth {cfg.prior_depth}: cannot tell what the values mean, because fewer than "
            f"{fits.POINTS_MIN} triangulated points lie on each map or none of metric, disparity and relative fits "
            "them; say it with --prior-depth-kind"
        )
    return best[1], best[2], (f"prior depth taken as {best[1]}, which fits the points best",)


def _depth_map(camera: Camera, values: NDArray[np.float32], found: fits.Fit, normals: NormalMap | None) -> DepthMap:
    depth = found.depth(values)
    confidence = np.where(depth > 0.0, np.float32(found.confidence if found.good else _UNJUDGED), np.float32(0.0))
    if found.good:
        near, far = found.z_range
        beyond = (depth < near / _BEYOND) | (depth > far * _BEYOND)
        confidence = np.where(beyond, confidence * np.float32(_BEYOND_FACTOR), confidence)
    normal = np.zeros((*depth.shape, 3), np.float32)
    if normals is not None:
        rows = ((np.arange(camera.height) + 0.5) / camera.height * normals.camera.height).astype(np.int64)
        columns = ((np.arange(camera.width) + 0.5) / camera.width * normals.camera.width).astype(np.int64)
        normal = normals.normal[rows[:, None], columns[None, :]]
    return DepthMap(camera, depth, confidence.astype(np.float32), normal)


def _report(
    scene: Scene, kind: str, fitted: Mapping[int, fits.Fit], relative: Mapping[int, RelativeDepth]
) -> tuple[str, ...]:
    good = [f for i, f in fitted.items() if i not in relative]
    notes = []
    if good:
        error = float(np.median([f.error for f in good]))
        judged = f", median error {100 * error:.1f} % of the depth" if np.isfinite(error) else ", not judged by points"
        notes.append(f"prior depth ({kind}) of {len(good)} of {len(fitted)} photos is in world units{judged}")
    for index in relative:
        f = fitted[index]
        why = f"only {f.count} points lie on it" if f.count < fits.POINTS_MIN else _misfit(f)
        notes.append(f"prior depth of {scene.names[index]} gives only the shape ({kind}): {why}")
    return tuple(notes)


def _misfit(f: fits.Fit) -> str:
    if f.scale <= 0.0:
        return "its values fall where depth rises; try another --prior-depth-kind"
    hint = "; check the units, or try --prior-depth-kind relative" if f.kind == "metric" else ""
    return f"it is {100 * f.error:.0f} % off the {f.count} points on it{hint}"


def _normals(scene: Scene, cfg: PriorConfig, progress: Progress) -> tuple[dict[int, NormalMap], tuple[str, ...]]:
    folder = cfg.prior_normals
    assert folder is not None
    out: dict[int, NormalMap] = {}
    away, count = 0, 0
    for done, index in enumerate(scene.train):
        photo = scene.images.photo(index)
        file = _file(folder, photo.name, NORMAL_SUFFIXES, "_normal", photo.path)
        if file is not None:
            normal = read_normals(file)
            camera = map_camera(scene.cameras[index], photo, normal.shape[1], normal.shape[0], file)
            normal = np.nan_to_num(through_camera(normal, photo, camera))
            if cfg.prior_normals_axes == "opengl":
                normal = normal * np.array([1.0, -1.0, -1.0], np.float32)
            facing = (normal * _rays(camera)).sum(axis=2)
            away += int((facing > 0.0).sum())
            count += int((facing != 0.0).sum())
            out[index] = NormalMap(camera, np.where(facing[:, :, None] < 0.0, normal, np.float32(0.0)))
        progress("prior normals", (done + 1) / len(scene.train))
    notes = _left_out(scene, out, folder)
    if away > 0.5 * count:
        other = "opengl" if cfg.prior_normals_axes == "opencv" else "opencv"
        raise DataError(
            f"--prior-normals {folder}: {100 * away / count:.0f} % of the normals point away from their camera; they "
            f"may have other axes: try --prior-normals-axes {other}"
        )
    return out, (*notes, f"prior normals of {len(out)} of {len(scene.train)} training photos")


def _rays(camera: Camera) -> NDArray[np.float32]:
    """[H,W,3] directions of the pixels in the camera's frame, z = 1."""
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    rays = np.ones((camera.height, camera.width, 3), np.float32)
    rays[:, :, 0], rays[:, :, 1] = x[None, :], y[:, None]
    return rays

# SPDX-License-Identifier: Apache-2.0
"""Cameras and points of photos that come without cameras: structure from motion, run in a child process.

Its bits differ from machine to machine, so its result is kept in the run (`sfm/result.json` and
`sfm/points.safetensors`) and used again. A failure is reported with numbers: matches of the pairs, photos placed.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.photos.files import composite, decode, photo_info
from sparse3d.photos.masks import read_mask
from sparse3d.photos.photo import Photo
from sparse3d.records.matches import Matches
from sparse3d.records.points import Points
from sparse3d.sfm.child import run_worker
from sparse3d.sfm.lens import group_lenses

Progress = Callable[[str, float], None]
_VERSION = 2
_TABLE_PAIRS_MAX = 28


@dataclass(frozen=True)
class SfmConfig:
    """Settings of structure from motion."""

    seed: int = 0
    """Seed of its random samples."""
    cameras: Literal["train", "all"] = "train"
    """Photos that the cameras are found from; train: held-out ones are placed afterwards against the frozen model."""
    max_side: int = 1600
    """Longer side of the photos on which features are found."""
    fixed_below: int = 6
    """With fewer photos than this, focal length and distortion stay as given (EXIF, else guessed): they would drift."""
    placed_min: float = 0.6
    """Share of the training photos that must be placed; two in any case."""
    points_min: int = 50
    """Fewer points than this are no reconstruction."""
    angle_min_deg: float = 1.0
    """The median angle under which points are seen must reach this."""
    timeout_s: float = 7200.0
    """Seconds after which the child process is killed."""
    threads: int = -1
    """Threads of the child process; -1 takes all cores."""


@dataclass(frozen=True)
class PairCounts:
    """Two photos (names), how many matches they have, and how many of those one rigid scene explains."""

    a: str
    b: str
    matches: int
    inliers: int


@dataclass(frozen=True)
class SfmResult:
    """cameras: by photo name, for the photo's own upright pixels, with distortion; photos that could not be placed are
    left out. points: from the training photos only. camera_source: "sfm_train" or "sfm_all". notes: sentences for the
    user."""

    cameras: dict[str, Camera]
    points: Points
    camera_source: str
    pairs: tuple[PairCounts, ...]
    notes: tuple[str, ...]


def reconstruct(
    photos: Sequence[Photo],
    train: Sequence[int],
    cfg: SfmConfig | None = None,
    workdir: Path | None = None,
    progress: Progress | None = None,
    matches: Matches | None = None,
) -> SfmResult:
    """Cameras of `photos` and points of those at the positions `train`.

    matches: the user's own, used beside those found here.
    workdir: the run folder; the result is kept in its `sfm` folder and taken from there while photos and settings are
    the same. Raises DataError, with the matches of the pairs, if fewer than 60 % of the training photos (or fewer than
    two) can be placed, fewer than 50 points are found, or they are seen under too small an angle; also if the child
    process breaks down or takes too long.
    """
    cfg = cfg or SfmConfig()
    progress = progress or (lambda stage, fraction: None)
    if len(train) < 2:
        raise DataError(
            f"These {len(photos)} photos come without cameras and {len(train)} of them is for training; structure from "
            "motion needs 2 training photos or more that overlap (or give camera poses, for example a transforms.json)"
        )
    with tempfile.TemporaryDirectory(prefix="sparse3d-sfm-") as scratch:
        store = Path(workdir) / "sfm" if workdir is not None else Path(scratch) / "sfm"
        key = _key(photos, train, cfg, matches)
        found = _stored(store, key)
        if found is None:
            job = _job(photos, train, cfg, matches, Path(scratch), progress)
            found = run_worker(job, Path(scratch), cfg.timeout_s, progress)
            found["key"] = key
            _store(store, Path(scratch), found)
        return _result(photos, train, cfg, found, store)


def _job(
    photos: Sequence[Photo],
    train: Sequence[int],
    cfg: SfmConfig,
    matches: Matches | None,
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Write the photos (upright, sRGB, at the working size) and masks; returns what the worker is to do with them."""
    (folder / "photos").mkdir()
    training = set(train)
    entries, sizes, any_mask = [], [], False
    for k, photo in enumerate(photos):
        rgb, alpha = decode(photo.path, upright=photo.upright is not False)
        keep = alpha >= 128 if photo.alpha_is_mask and alpha is not None else None
        if photo.mask_path is not None:
            keep = read_mask(photo.mask_path, upright=photo.upright is not False)
        rgb = composite(rgb, alpha, "white")
        height, width = rgb.shape[:2]
        scale = min(1.0, cfg.max_side / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale < 1.0 else rgb
        file = f"{k:05d}.jpg"
        _write(folder / "photos" / file, small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 97])
        if keep is not None:
            (folder / "masks").mkdir(exist_ok=True)
            mask = cv2.resize(keep.astype(np.uint8) * 255, size, interpolation=cv2.INTER_NEAREST)
            _write(folder / "masks" / f"{file}.png", mask, [])
            any_mask = True
        entries.append({"file": file, "train": k in training})
        sizes.append(size)
        progress("reading photos", (k + 1) / len(photos))
    lenses, lens_of = group_lenses([p.path for p in photos], sizes)
    for entry, lens in zip(entries, lens_of, strict=True):
        entry["lens"] = lens
    return {
        "photos": entries,
        "lenses": [asdict(lens) for lens in lenses],
        "masks": any_mask,
        "matches": _given_matches(photos, sizes, matches, folder),
        "cameras": cfg.cameras,
        "fixed_below": cfg.fixed_below,
        "seed": cfg.seed,
        "threads": cfg.threads,
        "folder": str(folder),
    }


def _given_matches(
    photos: Sequence[Photo], sizes: Sequence[tuple[int, int]], matches: Matches | None, folder: Path
) -> list[tuple[str, str]]:
    """Write the user's matches in pixels of the working photos; returns the pairs of files."""
    position = {photo.name: k for k, photo in enumerate(photos)}
    own = [photo_info(photo.path).size(photo.upright is not False) for photo in photos]
    pairs, arrays = [], {}
    for pair in () if matches is None else matches.pairs:
        if pair.a not in position or pair.b not in position:
            continue
        i, j = position[pair.a], position[pair.b]
        xy = pair.pixels(sizes[i], sizes[j], own[i], own[j])
        arrays[f"xy_{len(pairs)}"] = np.ascontiguousarray(np.concatenate(xy, axis=1))
        pairs.append((f"{i:05d}.jpg", f"{j:05d}.jpg"))
    if pairs:
        save_file(arrays, folder / "matches.safetensors")
    return pairs


def _write(path: Path, pixels: np.ndarray, options: list[int]) -> None:
    """cv2.imwrite cannot handle every path on every system; encoding and writing separately can."""
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(pixels), options)
    if not done:
        raise DataError(f"{path}: the working copy of a photo could not be encoded")
    path.write_bytes(data.tobytes())


def _result(
    photos: Sequence[Photo], train: Sequence[int], cfg: SfmConfig, found: dict[str, Any], store: Path
) -> SfmResult:
    """The stored result as records, or the DataError that says why there is none."""
    names = {f"{k:05d}.jpg": photo.name for k, photo in enumerate(photos)}
    pairs = tuple(PairCounts(names[a], names[b], raw, inliers) for a, b, raw, inliers in found["pairs"])
    trouble = _trouble(found, len(train), cfg)
    if trouble:
        raise DataError(failure_sentence(trouble, [photos[i].name for i in train], pairs))
    by_name = {photo.name: photo for photo in photos}
    cameras = {names[file]: _camera(by_name[names[file]], entry) for file, entry in sorted(found["cameras"].items())}
    arrays = load_file(store / "points.safetensors")
    points = Points(arrays["xyz"], arrays["rgb"], arrays["error_px"])
    training = {photos[i].name for i in train}
    count_test = len(photos) - len(train)
    focal = Counter(round(c.fx / max(c.width, c.height), 3) for c in cameras.values()).most_common(1)[0][0]
    notes = [
        f"structure from motion placed {found['registered_train']} of {len(train)} training photos: "
        f"{len(points):,} points, median error {found['median_error_px']:.2f} px, "
        f"median angle {found['median_angle_deg']:.1f} degrees, focal length {focal:g} of the longer side"
    ]
    if count_test and cfg.cameras == "train":
        notes.append(f"{found['registered_test']} of {count_test} held-out photos placed against the frozen model")
    lost = sorted(training - set(cameras))
    if lost:
        notes.append(f"training photos that could not be placed are left out: {', '.join(lost)}")
    return SfmResult(cameras, points, f"sfm_{cfg.cameras}", pairs, tuple(notes))


def _trouble(found: dict[str, Any], count: int, cfg: SfmConfig) -> str | None:
    """Why the model cannot be trained on, or None if it can."""
    placed = found["registered_train"]
    if placed < max(2, math.ceil(cfg.placed_min * count)):
        return f"placed {placed} of {count} training photos"
    if found["points"] < cfg.points_min:
        return f"placed {placed} of {count} training photos but found {found['points']} points, too few to trust"
    if found["median_angle_deg"] < cfg.angle_min_deg:
        return (
            f"placed {placed} of {count} training photos, but they were taken from nearly one place (rays cross at "
            f"{found['median_angle_deg']:.2f} degrees in the median), so that nothing has a depth"
        )
    return None


def failure_sentence(trouble: str, train_names: Sequence[str], pairs: Sequence[PairCounts]) -> str:
    """The sentence for the user, with a table of the training photos' pairs (the best 28 if there are more)."""
    training = set(train_names)
    mine = [p for p in pairs if p.a in training and p.b in training]
    shown = sorted(mine, key=lambda p: (-p.inliers, -p.matches, p.a, p.b))[:_TABLE_PAIRS_MAX]
    width_a = max((len(p.a) for p in shown), default=5)
    width_b = max((len(p.b) for p in shown), default=5)
    rows = [f"  {p.a:<{width_a}}  {p.b:<{width_b}}  {p.matches:>7}  {p.inliers:>8}" for p in shown]
    head = f"  {'photo':<{width_a}}  {'photo':<{width_b}}  matches  verified"
    more = f"\n  and {len(mine) - len(shown)} pairs with fewer" if len(mine) > len(shown) else ""
    table = "\n".join([head, *rows]) + more
    return (
        f"Structure from motion {trouble}, so there are no cameras to train with: a pair needs about 30 verified "
        "matches. Take more photos that overlap, in steps of 20 to 30 degrees around the subject, or give camera poses "
        f"(for example a transforms.json or a COLMAP model).\nMatches of the pairs of training photos:\n{table}"
    )


def _camera(photo: Photo, entry: dict[str, Any]) -> Camera:
    """The camera for the photo's own pixels."""
    k1 = entry["k1"][0] if entry["k1"] else 0.0
    camera = Camera(
        entry["width"],
        entry["height"],
        entry["f"],
        entry["f"],
        entry["cx"],
        entry["cy"],
        np.array(entry["cam_from_world"], np.float64),
        distortion=(k1, 0.0, 0.0, 0.0) if k1 != 0.0 else (),
        name=photo.name,
    )
    return camera.resized(*photo_info(photo.path).size(photo.upright is not False))


def _key(photos: Sequence[Photo], train: Sequence[int], cfg: SfmConfig, matches: Matches | None) -> str:
    """A digest of the photos (name, size, time of the file), which of them train, and the settings."""
    files = []
    for photo in photos:
        stat = photo.path.stat()
        files.append([photo.name, stat.st_size, stat.st_mtime_ns, str(photo.mask_path), photo.upright is not False])
    settings = {k: v for k, v in asdict(cfg).items() if k not in ("threads", "timeout_s")}
    return hashlib.sha256(
        json.dumps([_VERSION, files, sorted(train), settings, matches.digest if matches else None]).encode()
    ).hexdigest()


def _stored(store: Path, key: str) -> dict[str, Any] | None:
    """The kept result for this key, or None; a damaged file counts as none, since it can be made again."""
    try:
        found = json.loads((store / "result.json").read_text(encoding="utf-8"))
        if found.get("key") != key:
            return None
        if found["points"]:
            load_file(store / "points.safetensors")
    except (OSError, ValueError, KeyError, AttributeError, SafetensorError):
        return None
    return found


def _store(store: Path, scratch: Path, found: dict[str, Any]) -> None:
    store.mkdir(parents=True, exist_ok=True)
    if found["points"]:
        shutil.copyfile(scratch / "worker_points.safetensors", store / "points.tmp")
        (store / "points.tmp").replace(store / "points.safetensors")
    (store / "result.tmp").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (store / "result.tmp").replace(store / "result.json")

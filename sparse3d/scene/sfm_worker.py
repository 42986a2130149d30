# SPDX-License-Identifier: Apache-2.0
"""Structure from motion in a process of its own: `python -m sparse3d.scene.sfm_worker job.json`.

A process of its own because the mapper is native code that may abort, run long or be killed, and none of that may take
the caller with it. It ends by itself when the caller's end of its standard input closes, so it never outlives the
caller. It speaks in JSON lines on standard output (`{"stage": .., "fraction": ..}`); the result is a file.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import threading
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from safetensors.numpy import save_file

from sparse3d.camera import Camera
from sparse3d.scene.tracks import CameraArrays, Observations, refine, widest_angle_deg

_EXHAUSTIVE_MAX = 60
_FEW_PHOTOS = 12
# Neighbours in the order of the names that each photo of a large set is matched with, and the spacing of the subset
# that is matched exhaustively to close loops.
_NEIGHBOURS = 10
_PAIRS_AT_ONCE = 40
_PHOTOS_AT_ONCE = 8
# Focal lengths tried for fewer than 6 photos without EXIF, over the longer side: phones' wide lens to a short tele.
_FOCAL_TRIALS = (1.2, 0.8, 1.0, 1.5, 2.0)


def main(job_path: Path) -> None:
    job = json.loads(job_path.read_text(encoding="utf-8"))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pycolmap.set_random_seed(job["seed"])
    result = run(job, Path(job["folder"]))
    temporary = job_path.with_name("result.tmp")
    temporary.write_text(json.dumps(result), encoding="utf-8")
    temporary.replace(job_path.with_name("worker_result.json"))


def _end_with_parent() -> None:
    # os.read, not sys.stdin: the interpreter aborts when it ends while a thread holds the lock of that.
    while os.read(0, 1):
        pass
    os._exit(9)


def _say(stage: str, fraction: float) -> None:
    sys.stdout.write(json.dumps({"stage": stage, "fraction": round(fraction, 4)}) + "\n")
    sys.stdout.flush()


def run(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One pass with plain features; where that does not place every photo of a small set, a second one with
    affine-adapted ones, and the better of the two counts."""
    names = [photo["file"] for photo in job["photos"]]
    mapped = [p["file"] for p in job["photos"] if p["train"] or job["cameras"] == "all"]
    best: dict[str, Any] | None = None
    passes = ("plain", "affine") if len(names) <= _FEW_PHOTOS else ("plain",)
    for kind in passes:
        database = folder / f"{kind}.db"
        database.unlink(missing_ok=True)
        _extract(job, folder, database, kind)
        _match(job, names, database, kind)
        pairs = _pair_table(database)
        model = _map_best_focal(job, folder, database, mapped, kind)
        found = _describe(job, folder, database, model, pairs)
        found["features"] = kind
        if best is None or _rank(found) > _rank(best):
            best = found
            if found["points"]:
                shutil.copyfile(folder / "described.safetensors", folder / "worker_points.safetensors")
        if best["registered_mapped"] == len(mapped):
            break
    assert best is not None
    return best


def _rank(found: dict[str, Any]) -> tuple[int, int, int]:
    return found["registered_train"], found["points"], sum(p[3] for p in found["pairs"])


def _extract(job: dict[str, Any], folder: Path, database: Path, kind: str) -> None:
    options = pycolmap.FeatureExtractionOptions()
    options.num_threads = job["threads"]
    options.use_gpu = False
    if kind == "affine":
        options.sift.estimate_affine_shape = True
        options.sift.domain_size_pooling = True
        options.sift.max_num_features = 16384
        # Two to ten times slower a pixel than plain ones (measured).
        options.max_image_size = 1024
    few_train = sum(p["train"] for p in job["photos"]) < job["fixed_below"]
    done = 0
    for group, lens in enumerate(job["lenses"]):
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model = "SIMPLE_PINHOLE" if few_train else "SIMPLE_RADIAL"
        reader.default_focal_length_factor = 1.2
        if lens["focal_px"]:
            params = [lens["focal_px"], lens["width"] / 2, lens["height"] / 2] + ([] if few_train else [0.0])
            reader.camera_params = ",".join(f"{v:.6f}" for v in params)
        if job["masks"]:
            reader.mask_path = folder / "masks"
        members = [p["file"] for p in job["photos"] if p["lens"] == group]
        for start in range(0, len(members), _PHOTOS_AT_ONCE):
            part = members[start : start + _PHOTOS_AT_ONCE]
            pycolmap.extract_features(
                database, folder / "photos", part, pycolmap.CameraMode.SINGLE, reader, options, pycolmap.Device.cpu
            )
            if reader.existing_camera_id < 0:
                with pycolmap.Database.open(database) as db:
                    reader.existing_camera_id = max(c.camera_id for c in db.read_all_cameras())
            done += len(part)
            _say("features" if kind == "plain" else "affine features", done / len(job["photos"]))


def _match(job: dict[str, Any], names: list[str], database: Path, kind: str) -> None:
    options = pycolmap.FeatureMatchingOptions()
    options.num_threads = job["threads"]
    options.use_gpu = False
    options.guided_matching = kind == "affine"
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = job["seed"]
    pairs = pairs_to_match(names)
    listing = database.with_suffix(".pairs.txt")
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = listing
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = pairs[start : start + _PAIRS_AT_ONCE]
        listing.write_text("".join(f"{a} {b}\n" for a, b in part), encoding="utf-8")
        pycolmap.match_image_pairs(database, options, pairing, verification, pycolmap.Device.cpu)
        _say("matching" if kind == "plain" else "affine matching", (start + len(part)) / len(pairs))


def pairs_to_match(names: list[str]) -> list[tuple[str, str]]:
    """All pairs of up to 60 photos. Of more: each with the 10 next ones in the order of the names and with those 16,
    32, 64, .. further, and all pairs of an even subset of 60, so that a path that comes back is closed."""
    count = len(names)
    if count <= _EXHAUSTIVE_MAX:
        return list(combinations(names, 2))
    steps = list(range(1, _NEIGHBOURS + 1)) + [2**k for k in range(4, int(math.log2(count)) + 1)]
    chosen = {(i, i + step) for i in range(count) for step in steps if i + step < count}
    subset = sorted({round(i * (count - 1) / (_EXHAUSTIVE_MAX - 1)) for i in range(_EXHAUSTIVE_MAX)})
    chosen.update(combinations(subset, 2))
    return [(names[i], names[j]) for i, j in sorted(chosen)]


def _pair_table(database: Path) -> list[list[Any]]:
    """[name, name, matches, those that one rigid scene explains] of every pair with any."""
    table = []
    with pycolmap.Database.open(database) as db:
        by_id = {image.image_id: image.name for image in db.read_all_images()}
        for a, b in combinations(sorted(by_id), 2):
            raw = len(db.read_matches(a, b)) if db.exists_matches(a, b) else 0
            inliers = db.read_two_view_geometry(a, b).inlier_matches if raw else ()
            # The guided search adds matches to those that were found blindly.
            table.append([*sorted((by_id[a], by_id[b])), max(raw, len(inliers)), len(inliers)])
    return sorted(table)


def mapper_options(job: dict[str, Any], names: list[str]) -> pycolmap.IncrementalPipelineOptions:
    """COLMAP's thresholds, relaxed for few photos: with its defaults two or three forward-facing photos with hundreds
    of good matches are refused (the start wants 100 matches and rays that cross at 16 degrees)."""
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = job["threads"]
    options.random_seed = job["seed"]
    options.image_names = names
    options.min_model_size = 2
    options.max_num_models = 5
    options.ba_refine_principal_point = False
    few = len(names) <= _FEW_PHOTOS
    options.init_num_trials = 200
    options.mapper.init_min_num_inliers = 30 if few else 60
    options.mapper.init_min_tri_angle = 3.0 if few else 6.0
    options.mapper.abs_pose_min_num_inliers = 12 if few else 20
    options.mapper.abs_pose_min_inlier_ratio = 0.15 if few else 0.2
    options.mapper.ba_local_min_tri_angle = 3.0
    options.mapper.filter_min_tri_angle = 1.0
    options.triangulation.min_angle = 1.0
    options.triangulation.ignore_two_view_tracks = False
    if len(names) < job["fixed_below"]:
        options.ba_refine_focal_length = False
        options.ba_refine_extra_params = False
        options.mapper.abs_pose_refine_focal_length = False
        options.mapper.abs_pose_refine_extra_params = False
        # The fallback refines the focal length whatever these say (4.2.1: 1.2 became 0.31 on 4 photos of an object).
        options.structure_less_registration_fallback = False
    return options


def _map_best_focal(
    job: dict[str, Any], folder: Path, database: Path, names: list[str], kind: str
) -> pycolmap.Reconstruction | None:
    """The largest model. A focal length that is neither known nor refined (few photos) is chosen from a short list:
    most photos, then most sightings within a pixel or so."""
    unknown = len(names) < job["fixed_below"] and not any(lens["focal_px"] for lens in job["lenses"])
    best: pycolmap.Reconstruction | None = None
    best_score = (0, 0.0)
    for trial in _FOCAL_TRIALS if unknown else (None,):
        if trial is not None:
            with pycolmap.Database.open(database) as db:
                for camera in db.read_all_cameras():
                    params = np.array(camera.params)
                    params[0] = trial * max(camera.width, camera.height)
                    camera.params = params  # pyright: ignore[reportAttributeAccessIssue]
                    db.update_camera(camera)
        model = _map(job, folder, database, names, kind)
        if model is None:
            continue
        # A wrong focal length keeps fewer sightings and leaves larger residuals.
        score = (
            model.num_reg_images(),
            model.compute_num_observations() / (0.3 + model.compute_mean_reprojection_error()),
        )
        if score > best_score:
            best, best_score = model, score
    return best


def _map(
    job: dict[str, Any], folder: Path, database: Path, names: list[str], kind: str
) -> pycolmap.Reconstruction | None:
    out = folder / f"{kind}_models"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    count = 2

    def placed() -> None:
        nonlocal count
        count += 1
        _say("placing cameras", min(1.0, count / len(names)))

    _say("placing cameras", 0.0)
    models = pycolmap.incremental_mapping(
        database, folder / "photos", out, mapper_options(job, names), next_image_callback=placed
    )
    if not models:
        return None
    found: list[pycolmap.Reconstruction] = list(models.values())
    return max(found, key=lambda m: (m.num_reg_images(), m.num_points3D()))


def _describe(
    job: dict[str, Any], folder: Path, database: Path, model: pycolmap.Reconstruction | None, pairs: list[list[Any]]
) -> dict[str, Any]:
    """The model as plain data: cameras by file name, points from the training photos' sightings only (in
    `described.safetensors`), and the counts that decide whether it is good enough."""
    photos = {photo["file"]: photo for photo in job["photos"]}
    found: dict[str, Any] = {
        "pairs": pairs,
        "cameras": {},
        "points": 0,
        "median_angle_deg": 0.0,
        "median_error_px": 0.0,
    }
    if model is not None:
        placed = {image.name: image for image in model.images.values() if image.has_pose}
        found["cameras"] = {
            name: _camera_dict(model.cameras[image.camera_id], image.cam_from_world().matrix())
            for name, image in placed.items()
        }
        train = {name: image for name, image in placed.items() if photos[name]["train"]}
        xyz, rgb, error, angle = _train_points(model, train)
        found["points"] = len(xyz)
        if len(xyz):
            found["median_angle_deg"] = float(np.median(angle))
            found["median_error_px"] = float(np.median(error))
            save_file({"xyz": xyz, "rgb": rgb, "error_px": error}, folder / "described.safetensors")
    found["registered_mapped"] = len(found["cameras"])
    if model is not None and job["cameras"] == "train":
        found["cameras"] |= _register_others(job, database, model, [n for n in photos if not photos[n]["train"]])
    found["registered_train"] = sum(photos[name]["train"] for name in found["cameras"])
    found["registered_test"] = len(found["cameras"]) - found["registered_train"]
    return found


def _camera_dict(camera: pycolmap.Camera, pose: np.ndarray) -> dict[str, Any]:
    focal, cx, cy = (float(v) for v in camera.params[:3])
    radial = [float(camera.params[3])] if len(camera.params) > 3 else []
    return {
        "width": camera.width,
        "height": camera.height,
        "f": focal,
        "cx": cx,
        "cy": cy,
        "k1": radial,
        "cam_from_world": np.vstack([pose, [0.0, 0.0, 0.0, 1.0]]).tolist(),
    }


def _train_points(
    model: pycolmap.Reconstruction, train: dict[str, pycolmap.Image]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """xyz [N,3], rgb [N,3], error_px [N] float32 and angle in degrees [N]: every point placed anew from the sightings
    in the training photos alone, so that nothing of a held-out photo is left in it."""
    images = list(train.values())
    number = {image.image_id: k for k, image in enumerate(images)}
    cameras = CameraArrays.of([_ideal_camera(model.cameras[i.camera_id], i.cam_from_world().matrix()) for i in images])
    point, view, pixel, xyz, rgb = [], [], [], [], []
    for p in model.points3D.values():
        seen = [(number[e.image_id], e.point2D_idx) for e in p.track.elements if e.image_id in number]
        if len({v for v, _ in seen}) < 2:
            continue
        for v, index in seen:
            point.append(len(xyz))
            view.append(v)
            pixel.append(images[v].points2D[index].xy)
        xyz.append(p.xyz)
        rgb.append(p.color)
    if not xyz:
        none = np.zeros((0, 3), np.float32)
        return none, none, np.zeros(0, np.float32), np.zeros(0, np.float32)
    views, at = np.array(view), np.array(pixel)
    ideal = np.empty_like(at)
    for v, image in enumerate(images):
        camera = model.cameras[image.camera_id]
        ideal[views == v] = camera.cam_from_img(at[views == v]) * camera.params[0]
    sightings = Observations(np.array(point), views, np.zeros(len(views), np.int64), ideal)
    placed = refine(np.array(xyz, np.float64), sightings, cameras)
    error = cameras.error(placed[sightings.point], sightings.view, sightings.xy)
    worst = np.zeros(len(placed))
    np.maximum.at(worst, sightings.point, error)
    angle = widest_angle_deg(placed, sightings, cameras)
    mean = np.bincount(sightings.point, error, minlength=len(placed)) / np.bincount(
        sightings.point, minlength=len(placed)
    )
    good = (worst <= 4.0) & (angle >= 0.75) & np.isfinite(placed).all(axis=1)
    colours = np.array(rgb, np.float32) / 255.0
    return placed[good].astype(np.float32), colours[good], mean[good].astype(np.float32), angle[good]


def _ideal_camera(camera: pycolmap.Camera, pose: np.ndarray) -> Camera:
    """Without distortion and with its principal point at 0: for sightings that were freed of both."""
    f = float(camera.params[0])
    return Camera(camera.width, camera.height, f, f, 0.0, 0.0, np.vstack([pose, [0.0, 0.0, 0.0, 1.0]]))


def _register_others(
    job: dict[str, Any], database: Path, model: pycolmap.Reconstruction, others: list[str]
) -> dict[str, Any]:
    """Poses of held-out photos against the frozen model: their matches with the training photos give 2D-3D pairs."""
    out: dict[str, Any] = {}
    if not others:
        return out
    estimation = pycolmap.AbsolutePoseEstimationOptions()
    estimation.ransac.max_error = 8.0
    estimation.ransac.random_seed = job["seed"]
    refinement = pycolmap.AbsolutePoseRefinementOptions()
    refinement.refine_focal_length = False
    refinement.refine_extra_params = False
    with pycolmap.Database.open(database) as db:
        known = {image.camera_id: model.cameras[image.camera_id] for image in model.images.values()}
        for name in others:
            image = db.read_image_with_name(name)
            assert image is not None
            camera = known.get(image.camera_id) or db.read_camera(image.camera_id)
            keypoints = np.asarray(db.read_keypoints(image.image_id))[:, :2]
            pairs: set[tuple[int, int]] = set()
            for other in model.images.values():
                if not other.has_pose or not db.exists_matches(image.image_id, other.image_id):
                    continue
                matches = db.read_two_view_geometry(image.image_id, other.image_id).inlier_matches
                for own, theirs in matches:
                    sighting = other.points2D[int(theirs)]
                    if sighting.has_point3D():
                        pairs.add((int(own), sighting.point3D_id))
            if len(pairs) < 12:
                continue
            ordered = sorted(pairs)
            xy = np.array([keypoints[own] for own, _ in ordered], np.float64)
            xyz = np.array([model.points3D[p].xyz for _, p in ordered])
            pose = pycolmap.estimate_and_refine_absolute_pose(xy, xyz, camera, estimation, refinement)
            if pose is not None and pose["num_inliers"] >= 12:
                out[name] = _camera_dict(camera, pose["cam_from_world"].matrix())
    return out


if __name__ == "__main__":
    main(Path(sys.argv[1]))

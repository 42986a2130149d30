# SPDX-License-Identifier: Apache-2.0
"""Structure from motion in a process of its own: `python -m sparse3d.sfm.worker job.json`.

It has a process of its own because the mapper is native code that may abort, run for long or be killed, and none of
that may take the caller with it. It ends when the caller's end of its standard input closes, so it never outlives the
caller. Its progress is JSON lines on standard output (`{"stage": .., "fraction": ..}`); the result is a file.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from safetensors.numpy import load_file

from sparse3d.sfm.database import add_matches, extract, match, pair_table, pairs_to_match
from sparse3d.sfm.describe import describe
from sparse3d.sfm.weak import WEAK, affine_matches, tilted_matches, weak_pairs

_FEW_PHOTOS = 12
# Focal lengths tried for fewer than 6 photos without EXIF, over the longer side: from a phone's wide lens to a short
# telephoto.
_FOCAL_TRIALS = (1.2, 0.8, 1.0, 1.5, 2.0)
# How much better fewer than 6 photos must fit for the focal length that they chose themselves to be taken.
_REFINED_GAIN = 1.15


def main(job_path: Path) -> None:
    job = json.loads(job_path.read_text(encoding="utf-8"))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pycolmap.set_random_seed(job["seed"])
    result = run(job, Path(job["folder"]))
    temporary = job_path.with_name("result.tmp")
    temporary.write_text(json.dumps(result), encoding="utf-8")
    temporary.replace(job_path.with_name("worker_result.json"))


def _end_with_parent() -> None:
    # os.read, not sys.stdin: the interpreter aborts if it exits while a thread holds the lock of sys.stdin.
    while os.read(0, 1):
        pass
    os._exit(9)


def _say(stage: str, fraction: float) -> None:
    sys.stdout.write(json.dumps({"stage": stage, "fraction": round(fraction, 4)}) + "\n")
    sys.stdout.flush()


def run(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One pass with plain features and the user's own matches. If that does not place every photo of a small set,
    further passes look for more matches of the pairs that have few, and the best pass counts."""
    names = [photo["file"] for photo in job["photos"]]
    mapped = [p["file"] for p in job["photos"] if p["train"] or job["cameras"] == "all"]
    database = folder / "photos.db"
    database.unlink(missing_ok=True)
    extract(job, folder, database, names, _say, affine=False)
    match(job, pairs_to_match(names), database, _say, affine=False)
    if job["matches"]:
        arrays = load_file(folder / "matches.safetensors")
        given = {(a, b): arrays[f"xy_{k}"] for k, (a, b) in enumerate(job["matches"])}
        add_matches(job, database, {pair: (xy[:, :2], xy[:, 2:]) for pair, xy in given.items()})
    best = _solve(job, folder, database, mapped, "plain", None)
    if len(names) > _FEW_PHOTOS:
        return best
    for kind, search in (("affine", affine_matches), ("tilted", tilted_matches)):
        if best["registered_mapped"] == len(mapped):
            break
        weak = weak_pairs(pair_table(database), mapped, WEAK[kind])
        found = search(job, folder, weak, _say) if weak else {}
        if found:
            add_matches(job, database, found)
            best = _solve(job, folder, database, mapped, kind, best)
    return best


def _solve(
    job: dict[str, Any], folder: Path, database: Path, mapped: list[str], kind: str, before: dict[str, Any] | None
) -> dict[str, Any]:
    """What the mapper makes of the database, or `before` if that was better; the pairs are always the newest."""
    pairs = pair_table(database)
    found = describe(job, folder, database, _map_best_focal(job, folder, database, mapped, kind), pairs)
    found["features"] = kind
    if before is not None and _rank(found) <= _rank(before):
        return before | {"pairs": pairs}
    if found["points"]:
        shutil.copyfile(folder / "described.safetensors", folder / "worker_points.safetensors")
    return found


def _rank(found: dict[str, Any]) -> tuple[int, int]:
    return found["registered_train"], found["points"]


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
    # All cameras and points are adjusted together when the model has grown by this; 1.1 was after nearly every photo of
    # a small set, and the poses of 12 photos are the same to a hundredth of a degree.
    options.ba_global_frames_ratio = options.ba_global_points_ratio = 1.4 if few else 1.1
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
    most photos, then most sightings within a pixel or so. It is refined only where that explains the photos much
    better: three photos side by side fit a wrong one as well as the right one."""
    if len(names) >= job["fixed_below"] or any(lens["focal_px"] for lens in job["lenses"]):
        return _map(job, folder, database, names, kind)
    best: tuple[tuple[int, float], float, pycolmap.Reconstruction] | None = None
    for trial in _FOCAL_TRIALS:
        _set_focal(database, trial)
        model = _map(job, folder, database, names, kind)
        if model is not None and (best is None or _fit(model) > best[0]):
            best = _fit(model), trial, model
    if best is None:
        return None
    (placed, fit), trial, model = best
    _set_focal(database, trial)
    refined = _map(job, folder, database, names, kind, refine_focal=True)
    if refined is not None and _fit(refined) > (placed, _REFINED_GAIN * fit):
        return refined
    return model


def _fit(model: pycolmap.Reconstruction) -> tuple[int, float]:
    # A wrong focal length keeps fewer sightings and leaves larger residuals.
    fit = model.compute_num_observations() / (0.3 + model.compute_mean_reprojection_error())
    return model.num_reg_images(), fit


def _set_focal(database: Path, of_longer_side: float) -> None:
    with pycolmap.Database.open(database) as db:
        for camera in db.read_all_cameras():
            params = np.array(camera.params)
            params[0] = of_longer_side * max(camera.width, camera.height)
            camera.params = params  # pyright: ignore[reportAttributeAccessIssue]
            # Else the mapper starts with what the first pair's fundamental matrix says (4.2.1: 3.5 instead of 1.2).
            camera.has_prior_focal_length = True
            db.update_camera(camera)


def _map(
    job: dict[str, Any], folder: Path, database: Path, names: list[str], kind: str, refine_focal: bool = False
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
    options = mapper_options(job, names)
    options.ba_refine_focal_length |= refine_focal
    models = pycolmap.incremental_mapping(database, folder / "photos", out, options, next_image_callback=placed)
    if not models:
        return None
    found: list[pycolmap.Reconstruction] = list(models.values())
    return max(found, key=lambda m: (m.num_reg_images(), m.num_points3D()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

# SPDX-License-Identifier: Apache-2.0
"""What structure from motion found, as plain data: cameras, points from the training photos alone, held-out photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from safetensors.numpy import save_file

from sparse3d.camera import Camera
from sparse3d.sfm.tracks import CameraArrays, Observations, refine, widest_angle_deg


def describe(
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
    """The camera without distortion and with its principal point at 0: for sightings that were freed of both."""
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

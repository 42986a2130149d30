# SPDX-License-Identifier: Apache-2.0
"""What every kind of scene provides, and what several of them need: the registry, poses, lists of files."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.load.config import SceneConfig
from sparse3d.load.parsers.parsed_scene import ParsedScene
from sparse3d.photos.files import photo_info
from sparse3d.photos.photo import Photo
from sparse3d.registry import Registry


@dataclass(frozen=True)
class Work:
    """Where a parser may keep files (frames of a video; None: a temporary folder), and whom it tells how far it is."""

    workdir: Path | None = None
    progress: Callable[[str, float], None] | None = None


@dataclass(frozen=True)
class SceneParser:
    """One kind of scene. sniff: why this folder or file is of the kind, or None; cheap, never raises for foreign
    content. parse: photos and cameras in the source's world frame, sorted by name; raises DataError for what it
    cannot use."""

    kind: str
    what: str
    sniff: Callable[[Path], str | None]
    parse: Callable[[Path, SceneConfig, Work], ParsedScene]


# In order of precedence where several kinds fit the same folder.
PARSERS: Registry[SceneParser] = Registry("kind of scene")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file whose top is an object. Raises DataError with the path and the line."""
    try:
        raw = path.read_bytes()
        # Windows' editors put a mark of byte order first, and PowerShell writes UTF-16.
        wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        data = json.loads(raw.decode("utf-16" if wide else "utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check that you may read it") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}; correct it "
            "there, or write the file anew"
        ) from error
    if not isinstance(data, dict):
        raise DataError(
            f"{path}: expected a JSON object at the top, found {type(data).__name__}; give a transforms.json, or the "
            "photos' folder"
        )
    return data


def rigid(rotation: NDArray[np.float64], translation: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """[3,3] and [3] -> [4,4]. The nearest rotation is taken (files store few digits); a common scale of the axes is
    dropped, as programs that scale a camera do not move it. Raises DataError if it is far from a rotation."""
    if not (np.isfinite(rotation).all() and np.isfinite(translation).all()):
        raise DataError(f"{where}: the camera pose holds NaN or infinite values; leave this photo out of the file")
    determinant = float(np.linalg.det(rotation))
    if determinant < 1e-12:
        what = "mirrored (determinant below 0)" if determinant < -1e-12 else "flat (determinant 0)"
        raise DataError(f"{where}: the camera's rotation is {what}; check the axes of the source")
    u, s, vt = np.linalg.svd(rotation)
    if s[2] < 0.95 * s[0]:
        raise DataError(
            f"{where}: the camera's axes are not perpendicular (singular values {s[0]:.3g} to {s[2]:.3g}); write "
            "its pose as a rotation and a place"
        )
    out = np.eye(4)
    out[:3, :3] = u @ vt
    out[:3, 3] = translation
    return out


def invert(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of a rigid [4,4]."""
    out = np.eye(4)
    out[:3, :3] = pose[:3, :3].T
    out[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return out


def cam_from_world_opengl(world_from_cam: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """OpenGL camera-to-world (x right, y up, z backwards) [3 or 4,4] -> `cam_from_world` [4,4] with OpenCV axes."""
    return invert(rigid(world_from_cam[:3, :3] * np.array([1.0, -1.0, -1.0]), world_from_cam[:3, 3], where))


def camera_from_projection(
    projection: NDArray[np.float64], width: int, height: int, name: str, where: str
) -> tuple[Camera, float]:
    """P [3,4] = K [R | t] up to scale, pixel centres at integers -> camera (centres at +0.5) and its skew in pixels.

    RQ decomposition with a positive diagonal of K; the sign of P is chosen so that R is a rotation. The principal
    point is shifted by half a pixel. The skew, which no camera here can have, is handed back and dropped.
    """
    m = projection[:, :3]
    if not np.isfinite(projection).all() or abs(np.linalg.det(m)) < 1e-20:
        raise DataError(f"{where}: the projection matrix cannot be taken apart into K [R | t]; correct it")
    if np.linalg.det(m) < 0:
        projection, m = -projection, -m
    q, r = np.linalg.qr(np.flipud(m).T)
    k, rotation = np.flipud(np.fliplr(r.T)), np.flipud(q.T)
    sign = np.diag(np.sign(np.diag(k)))
    k, rotation = k @ sign, sign @ rotation
    translation = np.linalg.solve(k, projection[:, 3])
    k = k / k[2, 2]
    pose = rigid(rotation, translation, where)
    return Camera(width, height, k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5, pose, name=name), float(k[0, 1])


def plausible(camera: Camera, where: str) -> Camera:
    """The camera itself. Raises DataError for optics that no camera has, on which arithmetic would only overflow."""
    side = max(camera.width, camera.height)
    values = {"focal length": (camera.fx, camera.fy), "principal point": (camera.cx, camera.cy)}
    limits = {"focal length": (1e-3 * side, 1e6 * side), "principal point": (-1e3 * side, 1e3 * side)}
    for what, pair in values.items():
        low, high = limits[what]
        if not all(low <= value <= high for value in pair):
            raise DataError(
                f"{where}: a {what} of {pair[0]:g}, {pair[1]:g} pixels is impossible in a photo of "
                f"{camera.width}x{camera.height}; correct the file or write it anew"
            )
    if not all(abs(k) <= 1e6 for k in camera.distortion):
        raise DataError(f"{where}: a lens with the coefficients {camera.distortion} is impossible; correct the file")
    return camera


def stored_size(path: Path) -> tuple[int, int]:
    """(width, height) of a photo as stored, which is what given cameras refer to."""
    return photo_info(path).size(upright=False)


def dropped_note(missing: Sequence[str], listed: int, where: str) -> tuple[str, ...]:
    """A sentence that counts the listed photos that do not exist, if there are any."""
    if not missing:
        return ()
    verb = "does" if len(missing) == 1 else "do"
    return (
        f"{len(missing)} of {listed} photos listed in {where} {verb} not exist and are left out, first {missing[0]}",
    )


def others_note(others: list[Path], folder: Path) -> tuple[str, ...]:
    """A sentence that counts the files in a photo folder that are not photos, if there are any."""
    if not others:
        return ()
    kinds = sorted({path.suffix.lower() or "no suffix" for path in others})
    where = folder.name or str(folder)
    return (f"files in {where} that are no photos, passed over: {len(others)} ({', '.join(kinds)})",)


def by_name(photos: Sequence[Photo], where: str) -> tuple[Photo, ...]:
    """The photos sorted by name. Raises DataError if two have the same name."""
    out = tuple(sorted(photos, key=lambda photo: photo.name))
    for a, b in pairwise(out):
        if a.name == b.name:
            raise DataError(f"{where}: photo {a.name} is listed twice; remove one of its entries")
    return out

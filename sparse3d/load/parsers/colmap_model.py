# SPDX-License-Identifier: Apache-2.0
"""A COLMAP model from its files: cameras, images and points3D as .bin or .txt.

COLMAP's axes, pixel centres (+0.5) and poses (`cam_from_world` as quaternion wxyz and translation) are this project's
own. Counts in a file are checked against its bytes before they are used to read anything.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.geometry.quaternions import rotation_from_unit_quats
from sparse3d.load.parsers.colmap_lenses import make_camera, model_of
from sparse3d.load.parsers.parser import rigid

_ANEW = "correct the line, or write the model anew with COLMAP's model_converter"
# Smallest size of a record in bytes, with an empty name and an empty track.
_CAMERA_MIN, _IMAGE_MIN, _POINT_MIN = 24 + 8 * 2, 4 + 56 + 4 + 1 + 8, 8 + 24 + 3 + 8 + 8


@dataclass(frozen=True)
class ColmapModel:
    """images: one Camera each, `name` = the image's name, sorted by it, with image_ids beside. Points with M track
    entries: xyz [N,3], rgb [N,3] uint8, error_px [N], track_lengths [N]; empty where there is no points3D file."""

    images: tuple[Camera, ...]
    image_ids: tuple[int, ...]
    xyz: NDArray[np.float64]
    rgb: NDArray[np.uint8]
    error_px: NDArray[np.float64]
    track_lengths: NDArray[np.int64]


def has_model(folder: Path) -> bool:
    return any(all((folder / f"{n}.{end}").is_file() for n in ("cameras", "images")) for end in ("bin", "txt"))


def count_images(folder: Path) -> int:
    """How many photos the model in `folder` places. Raises DataError as `read_model`."""
    if all((folder / f"{n}.bin").is_file() for n in ("cameras", "images")):
        return _Bytes(folder / "images.bin").count(_IMAGE_MIN, "images")
    return len(read_model(folder).images)


def read_model(folder: Path) -> ColmapModel:
    """The model in `folder`, from .bin files if there are both kinds. Raises DataError naming file and place."""
    end = "bin" if all((folder / f"{n}.bin").is_file() for n in ("cameras", "images")) else "txt"
    readers = {"bin": (_cameras_bin, _images_bin, _points_bin), "txt": (_cameras_txt, _images_txt, _points_txt)}[end]
    cameras = readers[0](folder / f"cameras.{end}")
    images = readers[1](folder / f"images.{end}", cameras)
    if not images:
        raise DataError(
            f"{folder / f'images.{end}'}: holds no images; give a model that COLMAP finished, or the photos alone"
        )
    order = sorted(images, key=lambda item: item[1].name)
    path = folder / f"points3D.{end}"
    points = readers[2](path) if path.is_file() else []
    lengths = np.array([p[3] for p in points], np.int64)
    return ColmapModel(
        tuple(camera for _, camera in order),
        tuple(number for number, _ in order),
        np.array([p[0] for p in points], np.float64).reshape(-1, 3),
        np.array([p[1] for p in points], np.uint8).reshape(-1, 3),
        np.array([p[2] for p in points], np.float64),
        lengths,
    )


def _posed(
    camera: Camera, quat_wxyz: tuple[float, ...], translation: tuple[float, ...], name: str, where: str
) -> Camera:
    if not any(quat_wxyz):
        raise DataError(f"{where}: image {name} has a quaternion of length 0; write the model anew")
    unit = np.asarray(quat_wxyz, np.float64) / max(float(np.linalg.norm(quat_wxyz)), 1e-300)
    pose = rigid(rotation_from_unit_quats(unit), np.asarray(translation, np.float64), f"{where}: image {name}")
    return Camera(
        camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, pose,
        distortion=camera.distortion, lens=camera.lens, name=name,
    )  # fmt: skip


class _Bytes:
    """A cursor over a file's bytes that refuses to read past the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}; check that you may read it") from error
        self.at = 0

    def take(self, form: str, what: str) -> tuple:
        size = struct.calcsize(form)
        self.need(size, what)
        values = struct.unpack_from(form, self.data, self.at)
        self.at += size
        return values

    def need(self, size: int, what: str) -> None:
        left = len(self.data) - self.at
        if size > left:
            raise DataError(
                f"{self.path}: is truncated: {what} at byte {self.at} needs {size} bytes, {left} are left; "
                "copy it again"
            )

    def count(self, smallest: int, what: str) -> int:
        (count,) = self.take("<Q", f"the number of {what}")
        if count * smallest > len(self.data) - self.at:
            raise DataError(
                f"{self.path}: says it holds {count} {what}, but only {len(self.data) - self.at} bytes follow; "
                "the file is truncated or not from COLMAP: copy it again, or write the model anew"
            )
        return count

    def text(self, what: str) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise DataError(f"{self.path}: is truncated: {what} at byte {self.at} does not end; copy it again")
        raw, self.at = self.data[self.at : end], end + 1
        return raw.decode("utf-8", errors="surrogateescape").replace("\\", "/")


def _cameras_bin(path: Path) -> dict[int, Camera]:
    file = _Bytes(path)
    cameras = {}
    for _ in range(file.count(_CAMERA_MIN, "cameras")):
        number, kind, width, height = file.take("<iiQQ", "a camera")
        where = f"{path}: camera {number}"
        model = model_of(kind, where)
        params = file.take(f"<{model.num_params}d", f"camera {number}")
        cameras[number] = make_camera(model, _side(where, width), _side(where, height), params, where)
    return cameras


def _images_bin(path: Path, cameras: dict[int, Camera]) -> list[tuple[int, Camera]]:
    file = _Bytes(path)
    images = []
    for _ in range(file.count(_IMAGE_MIN, "images")):
        number, *pose, camera = file.take("<I7dI", "an image")
        name = file.text("an image's name")
        (seen,) = file.take("<Q", f"image {name}")
        file.need(24 * seen, f"the {seen} keypoints of image {name}")
        file.at += 24 * seen
        images.append(
            (number, _posed(_camera_of(path, cameras, camera, name), tuple(pose[:4]), tuple(pose[4:]), name, str(path)))
        )
    return images


def _points_bin(path: Path) -> list[tuple]:
    file = _Bytes(path)
    points = []
    for _ in range(file.count(_POINT_MIN, "points")):
        _, x, y, z, r, g, b, error, length = file.take("<Q3d3BdQ", "a point")
        file.need(8 * length, f"a track of {length} photos")
        file.at += 8 * length
        points.append(((x, y, z), (r, g, b), error, length))
    return points


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check that you may read it") from error
    # Windows' editors put a mark of byte order first, and PowerShell writes UTF-16.
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if wide else "utf-8-sig", errors="replace" if wide else "surrogateescape")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("#"):
            yield number, line.strip()


def _cameras_txt(path: Path) -> dict[int, Camera]:
    cameras = {}
    for line_number, line in _lines(path):
        if not line:
            continue
        where = f"{path}: line {line_number}"
        words = line.split()
        if len(words) < 5:
            raise DataError(f"{where}: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS..., found {line[:60]!r}; {_ANEW}")
        model = model_of(words[1], where)
        if len(words) != 4 + model.num_params:
            raise DataError(f"{where}: {model.name} has {model.num_params} parameters, found {len(words) - 4}; {_ANEW}")
        values = _floats(where, words[:1] + words[2:])
        size = _side(where, values[1]), _side(where, values[2])
        cameras[int(values[0])] = make_camera(model, *size, values[3:], where)
    return cameras


def _images_txt(path: Path, cameras: dict[int, Camera]) -> list[tuple[int, Camera]]:
    images = []
    after_image = False
    for line_number, line in _lines(path):
        # The line after an image lists its keypoints and is empty where there are none; some writers leave it out.
        if not line or (after_image and _is_keypoints(line)):
            after_image = False
            continue
        where = f"{path}: line {line_number}"
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise DataError(
                f"{where}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, found {line[:60]!r}; {_ANEW}"
            )
        values = _floats(where, words[:9])
        name = words[9].replace("\\", "/")
        camera = _camera_of(path, cameras, int(values[8]), name)
        images.append((int(values[0]), _posed(camera, values[1:5], values[5:8], name, where)))
        after_image = True
    return images


def _is_keypoints(line: str) -> bool:
    """Whether a line may consist of triples X Y POINT3D_ID. An image's line has ten words, the last of them a name."""
    words = line.split()
    try:
        [float(word) for word in words[-3:]]
    except ValueError:
        return False
    return len(words) % 3 == 0


def _points_txt(path: Path) -> list[tuple]:
    points = []
    for line_number, line in _lines(path):
        if not line:
            continue
        words = line.split()
        where = f"{path}: line {line_number}"
        if len(words) < 8 or len(words) % 2:
            raise DataError(
                f"{where}: expected POINT3D_ID X Y Z R G B ERROR and pairs of a track, found {line[:60]!r}; {_ANEW}"
            )
        values = _floats(where, words[:8])
        rgb = tuple(int(v) for v in values[4:7])
        if not all(0 <= v <= 255 for v in rgb):
            raise DataError(f"{where}: colour {rgb} is outside of 0 to 255; {_ANEW}")
        points.append((values[1:4], rgb, values[7], (len(words) - 8) // 2))
    return points


def _floats(where: str, words: list[str]) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in words)
    except ValueError as error:
        raise DataError(f"{where}: {error}; {_ANEW}") from error


def _side(where: str, value: float) -> int:
    if not 1 <= value <= 1_000_000:
        raise DataError(f"{where}: an image side of {value:g} pixels is impossible; {_ANEW}")
    return int(value)


def _camera_of(path: Path, cameras: dict[int, Camera], number: int, name: str) -> Camera:
    if number not in cameras:
        raise DataError(
            f"{path}: image {name} uses camera {number}, which the cameras file does not have; copy both files again"
        )
    return cameras[number]

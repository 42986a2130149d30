# SPDX-License-Identifier: Apache-2.0
"""Small scenes written by hand, in every layout, around one set of known cameras and points."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from sparse3d.camera import Camera

POINTS = np.array([[0.1, -0.2, 0.0], [-0.4, 0.3, 0.2], [0.5, 0.1, -0.3], [0.0, 0.0, 0.4]])


def look_at(position: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """`cam_from_world` of a camera at `position` that looks at the origin, turned by `roll` radians about its axis."""
    forward = -position / np.linalg.norm(position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    rotation = np.array([c * right + s * down, -s * right + c * down, forward])
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation, -rotation @ position
    return out


def cameras(count: int, width: int = 64, height: int = 48) -> list[Camera]:
    """Cameras on an arc; no two intrinsics or axes alike, so that a swapped one is noticed."""
    out = []
    for k in range(count):
        position = np.array([2.5 * np.cos(0.4 * k), 2.5 * np.sin(0.4 * k), 0.6 + 0.1 * k])
        pose = look_at(position, 0.2)
        out.append(Camera(width, height, 70.0, 74.0, width / 2 + 1.25, height / 2 - 0.75, pose, name=f"{k:03d}.png"))
    return out


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A smooth picture [H,W,3] uint8 with its own gradient in each channel."""
    y, x = np.mgrid[0:height, 0:width]
    phase = 0.7 * seed
    channels = (np.sin(x / 7 + phase), np.cos(y / 5 + phase), np.sin((x + 2 * y) / 11 + phase))
    return np.stack([(127.5 + 120 * channel) for channel in channels], axis=2).astype(np.uint8)


def write_photos(folder: Path, cams: list[Camera]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k, camera in enumerate(cams):
        Image.fromarray(picture(camera.width, camera.height, k)).save(folder / camera.name)


def opengl(camera: Camera) -> list[list[float]]:
    """Camera-to-world with OpenGL axes, as transforms.json has it."""
    return (camera.world_from_cam @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist()


def write_transforms(root: Path, cams: list[Camera], **extra: object) -> Path:
    write_photos(root / "images", cams)
    first = cams[0]
    data: dict[str, object] = {
        "w": first.width,
        "h": first.height,
        "fl_x": first.fx,
        "fl_y": first.fy,
        "cx": first.cx,
        "cy": first.cy,
        "frames": [{"file_path": f"images/{c.name}", "transform_matrix": opengl(c)} for c in cams],
    }
    data.update(extra)
    path = root / "transforms.json"
    path.write_text(json.dumps(data))
    return path


def quat_wxyz(rotation: np.ndarray) -> np.ndarray:
    """The quaternion of a rotation matrix, by the eigenvector of Bar-Itzhack (2000): no branches to get wrong."""
    m = rotation
    k = np.array([
        [m[0, 0] - m[1, 1] - m[2, 2], m[1, 0] + m[0, 1], m[2, 0] + m[0, 2], m[2, 1] - m[1, 2]],
        [m[1, 0] + m[0, 1], m[1, 1] - m[0, 0] - m[2, 2], m[2, 1] + m[1, 2], m[0, 2] - m[2, 0]],
        [m[2, 0] + m[0, 2], m[2, 1] + m[1, 2], m[2, 2] - m[0, 0] - m[1, 1], m[1, 0] - m[0, 1]],
        [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
    ]) / 3  # fmt: skip
    x, y, z, w = np.linalg.eigh(k)[1][:, -1]
    return np.array([w, x, y, z])


def write_colmap_bin(folder: Path, cams: list[Camera], model: int = 1, params: list[float] | None = None) -> None:
    """cameras.bin, images.bin (with two keypoints each) and points3D.bin; the last point's track has one photo."""
    folder.mkdir(parents=True, exist_ok=True)
    c = cams[0]
    values = params or [c.fx, c.fy, c.cx, c.cy]
    camera = struct.pack("<QiiQQ", 1, 7, model, c.width, c.height) + struct.pack(f"<{len(values)}d", *values)
    (folder / "cameras.bin").write_bytes(camera)
    images = struct.pack("<Q", len(cams))
    for k, camera_k in enumerate(cams):
        pose = (*quat_wxyz(camera_k.cam_from_world[:3, :3]), *camera_k.cam_from_world[:3, 3])
        images += struct.pack("<I7dI", k + 1, *pose, 7) + camera_k.name.encode() + b"\0"
        images += struct.pack("<Q", 2) + struct.pack("<ddqddq", 1.0, 2.0, 0, 3.0, 4.0, -1)
    (folder / "images.bin").write_bytes(images)
    points = struct.pack("<Q", len(POINTS))
    for k, xyz in enumerate(POINTS):
        track = [(1, 0)] if k == len(POINTS) - 1 else [(1, 0), (2, 1)]
        points += struct.pack("<Q3d3BdQ", k, *xyz, 10 * k, 20, 255, 0.5, len(track))
        points += b"".join(struct.pack("<II", *entry) for entry in track)
    (folder / "points3D.bin").write_bytes(points)


def write_colmap_txt(folder: Path, cams: list[Camera]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    c = cams[0]
    (folder / "cameras.txt").write_text(f"# cameras\n7 PINHOLE {c.width} {c.height} {c.fx} {c.fy} {c.cx} {c.cy}\n")
    lines = ["# images"]
    for k, camera in enumerate(cams):
        pose = (*quat_wxyz(camera.cam_from_world[:3, :3]), *camera.cam_from_world[:3, 3])
        # The second image has no keypoints: its second line is empty.
        lines += [
            f"{k + 1} {' '.join(repr(float(v)) for v in pose)} 7 {camera.name}",
            "" if k == 1 else "1.0 2.0 0 3.0 4.0 -1",
        ]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    points = ["# points"]
    for k, (x, y, z) in enumerate(POINTS):
        points.append(f"{k} {x} {y} {z} {10 * k} 20 255 0.5 1 0" + ("" if k == len(POINTS) - 1 else " 2 1"))
    (folder / "points3D.txt").write_text("\n".join(points) + "\n")


def write_blender(root: Path, train: list[Camera], test: list[Camera]) -> None:
    """RGBA pictures, the upper half transparent; focal lengths equal, principal point in the middle."""
    for split, cams in (("train", train), ("test", test)):
        (root / split).mkdir(parents=True, exist_ok=True)
        frames = []
        for k, camera in enumerate(cams):
            rgba = np.dstack(
                [picture(camera.width, camera.height, k), np.full((camera.height, camera.width), 255, np.uint8)]
            )
            rgba[: camera.height // 2, :, 3] = 0
            Image.fromarray(rgba).save(root / split / f"r_{k}.png")
            frames.append({"file_path": f"./{split}/r_{k}", "transform_matrix": opengl(camera)})
        angle = 2 * np.arctan(cams[0].width / 2 / cams[0].fx)
        (root / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}))


def write_llff(root: Path, cams: list[Camera], factor: int = 1) -> None:
    """poses_bounds.npy for pictures `factor` times larger than the photos in images_<factor>/."""
    write_photos(root / ("images" if factor == 1 else f"images_{factor}"), cams)
    rows = []
    for camera in cams:
        pose = camera.world_from_cam
        right, down, forward = pose[:3, 0], pose[:3, 1], pose[:3, 2]
        hwf = [camera.height * factor, camera.width * factor, camera.fx * factor]
        rows.append(np.concatenate([np.stack([down, right, -forward, pose[:3, 3], hwf], axis=1).ravel(), [1.0, 9.0]]))
    np.save(root / "poses_bounds.npy", np.array(rows))


def integer_centred(camera: Camera, factor: float = 1.0) -> np.ndarray:
    """K of a picture `factor` times larger, with pixel centres at integers."""
    k = np.diag([factor, factor, 1.0]) @ camera.K
    k[:2, 2] -= 0.5
    return k


def write_neus(root: Path, cams: list[Camera], factor: int = 1) -> None:
    write_photos(root / ("image" if factor == 1 else f"images_{factor}"), cams)
    arrays = {}
    for k, camera in enumerate(cams):
        world = np.eye(4)
        # Any multiple of P is the same camera, a negative one too.
        world[:3] = -2.0 * integer_centred(camera, factor) @ camera.cam_from_world[:3]
        arrays[f"world_mat_{k}"] = world
        arrays[f"scale_mat_{k}"] = np.diag([2.0, 2.0, 2.0, 1.0])
    np.savez(root / "cameras_sphere.npz", **arrays)


def write_middlebury(root: Path, cams: list[Camera]) -> None:
    write_photos(root, cams)
    lines = [str(len(cams))]
    for camera in cams:
        values = np.concatenate(
            [integer_centred(camera).ravel(), camera.cam_from_world[:3, :3].ravel(), camera.cam_from_world[:3, 3]]
        )
        lines.append(camera.name + " " + " ".join(f"{v:.15f}" for v in values))
    (root / "tiny_par.txt").write_text("\n".join(lines) + "\n")


def write_pose_files(root: Path, cams: list[Camera]) -> None:
    write_photos(root / "image", cams)
    for folder in ("pose", "intrinsic"):
        (root / folder).mkdir()
    for camera in cams:
        stem = Path(camera.name).stem
        np.savetxt(root / "pose" / f"{stem}.txt", camera.world_from_cam, fmt="%.12f")
        np.savetxt(root / "intrinsic" / f"{stem}.txt", integer_centred(camera), fmt="%.12f")

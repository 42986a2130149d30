# SPDX-License-Identifier: Apache-2.0
"""Makes scenes/sample: 24 photo-like views of a table with things on it, with exact cameras, depths and object masks.

    python scripts/make_sample_scene.py [--out scenes/sample] [--grid 5] [--views 0,8] [--jobs 2]

Needs numpy and Pillow only. Everything is drawn by the ray tracer beside this file from seeded procedural textures, so
the pictures are the project's own (Apache-2.0). At the default 25 rays a pixel it takes about 15 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sample_scene import world
from sample_scene.render import View, depth_and_objects, render

WIDTH, HEIGHT, FOCAL = 480, 270, 415.0  # 60 degrees across.
VIEWS = 24
SEED = 20261121
JPEG_QUALITY = 83  # 24 photos in less than a megabyte; progressive saves another twentieth.
# Photo 0 stands this many places into the arc: every 8th is held out, and a held-out end would be extrapolation.
FIRST_PLACE = 4
DEPTH_EVERY = 8  # The held-out photos (index % 8 == 0) carry a depth picture.
LOOK_AT = np.array([0.0, 0.03, 0.05])


def camera(i: int) -> View:
    """View i: along an arc of 150 degrees in front of the table, at two heights in turn, with a hand's irregularity."""
    place = (i + FIRST_PLACE) % VIEWS
    rng = np.random.default_rng((SEED, place))
    azimuth = np.deg2rad(-75 + 150 * place / (VIEWS - 1) + rng.uniform(-1.5, 1.5))
    height = (0.50 if place % 2 == 0 else 0.86) + rng.uniform(-0.03, 0.03)
    radius = 1.18 + rng.uniform(-0.06, 0.06)
    position = np.array([radius * np.sin(azimuth), -radius * np.cos(azimuth), height])
    forward = LOOK_AT + rng.uniform(-0.03, 0.03, 3) - position
    forward /= np.linalg.norm(forward)
    roll = np.deg2rad(rng.uniform(-1.5, 1.5))
    right = np.cross(forward, (0, 0, 1.0))
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = np.stack([right, down, forward])
    cam_from_world[:3, 3] = -cam_from_world[:3, :3] @ position
    return View(WIDTH, HEIGHT, FOCAL, cam_from_world)


def opengl_world_from_cam(view: View) -> NDArray[np.floating]:
    """nerfstudio's `transform_matrix`: camera-to-world with y up and z backwards."""
    return np.linalg.inv(view.cam_from_world) @ np.diag([1.0, -1.0, -1.0, 1.0])


def make_view(out: Path, i: int, grid: int) -> str:
    shapes, view, name = world.build(), camera(i), f"view_{i:02d}"
    picture = render(shapes, view, grid, SEED + (i + FIRST_PLACE) % VIEWS)
    pixels = np.rint(picture * 255).astype(np.uint8)
    Image.fromarray(pixels).save(out / "images" / f"{name}.jpg", quality=JPEG_QUALITY, progressive=True, optimize=True)
    depth, objects = depth_and_objects(shapes, view)
    Image.fromarray(objects).convert("1").save(out / "objects" / f"{name}.png", optimize=True)
    if i % DEPTH_EVERY == 0:
        Image.fromarray(np.rint(depth * 1000).astype(np.uint16)).save(out / "depth" / f"{name}.png", optimize=True)
    return name


def write_transforms(out: Path) -> None:
    frames = []
    for i in range(VIEWS):
        frame: dict[str, object] = {"file_path": f"images/view_{i:02d}.jpg"}
        if i % DEPTH_EVERY == 0:
            frame["depth_file_path"] = f"depth/view_{i:02d}.png"
        frame["transform_matrix"] = [[round(float(v), 12) for v in row] for row in opengl_world_from_cam(camera(i))]
        frames.append(frame)
    scene = {
        "camera_model": "OPENCV",
        "w": WIDTH,
        "h": HEIGHT,
        "fl_x": FOCAL,
        "fl_y": FOCAL,
        "cx": WIDTH / 2,
        "cy": HEIGHT / 2,
        "k1": 0.0,
        "k2": 0.0,
        "p1": 0.0,
        "p2": 0.0,
        "depth_unit_scale_factor": 0.001,
        "frames": frames,
    }
    (out / "transforms.json").write_text(json.dumps(scene, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "scenes" / "sample")
    parser.add_argument("--grid", type=int, default=5, help="rays a pixel along each side")
    parser.add_argument("--views", default="", help="only these, e.g. 0,8 (default: all)")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    for folder in ("images", "objects", "depth"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    chosen = [int(v) for v in args.views.split(",")] if args.views else list(range(VIEWS))
    write_transforms(args.out)
    with ProcessPoolExecutor(args.jobs) as pool:
        for name in pool.map(make_view, [args.out] * len(chosen), chosen, [args.grid] * len(chosen)):
            print(name, flush=True)


if __name__ == "__main__":
    main()

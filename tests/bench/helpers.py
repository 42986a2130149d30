# SPDX-License-Identifier: Apache-2.0
"""A scene on disk that trains in a second, and settings from words as the command line reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparse3d.cli.run_args import parse_run
from sparse3d.cli.train import Args
from sparse3d.runs.config import RunConfig
from tests.train import tiny


def write_scene(folder: Path, **extra: object) -> Path:
    """The ten tiny photos as a transforms.json scene without points."""
    tiny.write_photos(folder)
    frames = []
    for camera in tiny.cameras():
        # transforms.json has camera-to-world matrices with OpenGL axes.
        world_from_cam = camera.world_from_cam @ np.diag([1.0, -1.0, -1.0, 1.0])
        frames.append({"file_path": camera.name, "transform_matrix": world_from_cam.tolist()})
    size = {"w": tiny.SIZE_PX, "h": tiny.SIZE_PX, "cx": tiny.SIZE_PX / 2, "cy": tiny.SIZE_PX / 2}
    (folder / "transforms.json").write_text(json.dumps({"fl_x": 72.0, "fl_y": 72.0, **size, **extra, "frames": frames}))
    return folder


def resolve(words: Sequence[str]) -> RunConfig:
    """The settings that words of `sparse3d train` mean."""
    return parse_run(Args, words, prog="train")[1]

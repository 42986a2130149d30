# SPDX-License-Identifier: Apache-2.0
"""Running the command line in this process, and scenes small enough to fail on quickly."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from sparse3d.cli.main import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Result:
    """`sparse3d WORDS`."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return Result(code, captured.out, captured.err)


def make_scene(root: Path, *, count: int = 3, size: tuple[int, int] = (32, 24), seed: int = 1) -> Path:
    """A transforms.json with photos of noise on an arc; nothing that could be reconstructed, all that can be loaded."""
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    frames = []
    for i in range(count):
        name = f"images/{i:03d}.png"
        Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(root / name)
        angle = math.radians(10.0 * i)
        c, s = math.cos(angle), math.sin(angle)
        pose = [[c, 0, s, 3 * s], [0, 1, 0, 0], [-s, 0, c, 3 * c], [0, 0, 0, 1]]
        frames.append({"file_path": name, "transform_matrix": pose})
    values = {"w": size[0], "h": size[1], "fl_x": 30.0, "fl_y": 30.0, "cx": size[0] / 2, "cy": size[1] / 2}
    (root / "transforms.json").write_text(json.dumps({**values, "frames": frames}))
    return root

# SPDX-License-Identifier: Apache-2.0
"""Splats to edit: scattered before a camera, each with values of its own."""

from __future__ import annotations

import numpy as np
import torch

from sparse3d.camera import Camera
from sparse3d.splats import Splats, num_sh_rest


def cloud(count: int = 200, *, degree: int = 2, seed: int = 0) -> Splats:
    """Centres in a cube of side 2 about the origin."""
    rng = np.random.default_rng(seed)

    def made(*shape: int, low: float = -1.0, high: float = 1.0) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))

    return Splats(
        made(count, 3), made(count, 4), made(count, 3, low=-4, high=-2), made(count, low=-3, high=3),
        made(count, 1, 3), made(count, num_sh_rest(degree), 3, low=-0.2, high=0.2),
    )  # fmt: skip


def before_it(width: int = 64, height: int = 48) -> Camera:
    """A camera that looks along z at the origin from 4 units away."""
    pose = np.eye(4)
    pose[2, 3] = 4.0
    return Camera(width, height, 60.0, 60.0, width / 2, height / 2, pose)


def same_bits(first: Splats, second: Splats) -> bool:
    return all(torch.equal(tensor, getattr(second, name)) for name, tensor in first.named())

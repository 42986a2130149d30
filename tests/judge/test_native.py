# SPDX-License-Identifier: Apache-2.0
"""Held-out photos compared with all their pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse3d.camera import Camera
from sparse3d.judge.native import psnr_native
from sparse3d.loss import psnr, rounded
from sparse3d.records.scene import Scene


def shrunk(scene: Scene, side: int) -> Scene:
    """The scene with its pictures at another size, the files as they are."""
    cameras = tuple(camera.resized(side, side) for camera in scene.cameras)
    return replace(scene, cameras=cameras, images=scene.images.resized(range(len(cameras)), cameras))


def noise(camera: Camera) -> torch.Tensor:
    rng = np.random.default_rng(camera.width)
    return torch.from_numpy(rng.uniform(-0.1, 1.1, (camera.height, camera.width, 3)).astype(np.float32))


def test_the_photo_on_disk_is_what_counts(tiny_scene: Scene) -> None:
    sizes, shares = [], []

    def render(camera: Camera) -> torch.Tensor:
        sizes.append((camera.width, camera.height, camera.fx))
        return noise(camera)

    found = psnr_native(shrunk(tiny_scene, 16), render, shares.append)
    index = tiny_scene.test[0]
    camera = tiny_scene.cameras[index]
    expected = psnr(rounded(noise(camera)), tiny_scene.images[index].double())
    assert found is not None
    assert found[0] == pytest.approx(expected, abs=1e-5)
    assert sizes[0] == (camera.width, camera.height, pytest.approx(camera.fx))
    assert shares[-1] == 1.0
    assert len(found) == len(tiny_scene.test)


def test_only_where_photos_were_shrunk(tiny_scene: Scene) -> None:
    assert psnr_native(tiny_scene, noise) is None

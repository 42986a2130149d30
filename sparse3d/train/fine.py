# SPDX-License-Identifier: Apache-2.0
"""Parts of the photos at a finer size than they are trained on, for the end of a run.

Splats that have only seen small photos look eroded on large pictures, where the viewers' low-pass filter widens them
less. A window of the size of the small photo costs no more time than that photo.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.judge.pictures import KnownAlpha, Pictures
from sparse3d.kernels.records import View, cut, view_of
from sparse3d.photos.store import Window
from sparse3d.records.scene import Scene

# How many times as large as it is trained on a photo is looked at, where it has the pixels,
_FINER = 2.0
# and how much larger it must be for that to be worth it.
_LEAST = 1.2
# Decoded photos that are kept, in million bytes.
_CACHE_MB = 1024


class FinePhotos:
    """Windows of the training photos; `position` counts within scene.train. Settings as in `Pictures`."""

    def __init__(self, scene: Scene, *, masks: str, background: str | None, generator: torch.Generator) -> None:
        cameras = [_finer(scene, index) for index in range(len(scene.cameras))]
        self._store = scene.images.resized(range(len(cameras)), cameras, cache_mb=_CACHE_MB)
        fine = replace(scene, images=self._store, cameras=tuple(cameras))
        self._pictures = Pictures(fine, masks=masks, background=background)
        self._sizes = [scene.images.size(index) for index in scene.train]
        self._generator = generator

    def window(self, position: int) -> Window:
        """Another one each time, of the size that the photo is trained at. Its middle is drawn evenly from the photo,
        then it is moved inside: so edges are seen as often as the rest."""
        camera = self._pictures.camera(position, 1)
        width, height = self._sizes[position]
        across, down = torch.rand(2, generator=self._generator, device=self._generator.device).tolist()
        x = min(max(round(across * camera.width - width / 2), 0), camera.width - width)
        y = min(max(round(down * camera.height - height / 2), 0), camera.height - height)
        return Window(x, y, width, height, of=(camera.width, camera.height))

    def view(self, position: int, window: Window) -> View:
        """Of the window, from the photo's camera as it was given."""
        return cut(view_of(self._pictures.camera(position, 1)), window.x, window.y, window.width, window.height)

    def target(self, position: int, window: Window, background: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `Pictures.target`."""
        return self._pictures.target(position, 1, background, window)

    def known_alpha(self, position: int, window: Window) -> KnownAlpha | None:
        """As `Pictures.known_alpha`."""
        return self._pictures.known_alpha(position, 1, window)

    def prefetch(self, position: int) -> None:
        """Have the photo decoded in the background, where it is not at hand."""
        self._pictures.prefetch(position, 1)


def has_finer(scene: Scene) -> bool:
    """Whether a training photo has clearly more pixels than it is trained with."""
    return any(_factor(scene, index) > 1.0 for index in scene.train)


def _factor(scene: Scene, index: int) -> float:
    factor = max(scene.images.source_size(index)) / max(scene.images.size(index))
    return min(factor, _FINER) if factor >= _LEAST else 1.0


def _finer(scene: Scene, index: int) -> Camera:
    factor, (width, height) = _factor(scene, index), scene.images.size(index)
    return scene.cameras[index].resized(round(width * factor), round(height * factor))

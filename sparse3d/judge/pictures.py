# SPDX-License-Identifier: Apache-2.0
"""The training photos as the step wants them: camera tensors made once, targets and masks at the scale asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse3d.judge.background import evaluation_background, known_background
from sparse3d.kernels.records import View, view_of
from sparse3d.records.scene import Scene
from sparse3d.train.config import TrainConfig
from sparse3d.train.schedule import background_color

# Photos as float32 that are kept to save the conversion in each step; beyond it they are converted every time.
_FLOAT_CACHE_BYTES = 128 << 20


class TrainViews:
    """Views and targets of the training photos. `position` counts within scene.train."""

    def __init__(self, scene: Scene, cfg: TrainConfig) -> None:
        self._scene = scene
        self._masks = cfg.masks
        as_known = cfg.background in ("auto", "mean")
        self.background = known_background(scene) if as_known else cfg.background
        self._known_background = evaluation_background(scene, cfg) if as_known else None
        # What the photos were composited over when they were read; another colour must be put under them.
        self._composited = 1.0 if known_background(scene) == "white" else 0.0
        self._views: dict[tuple[int, int], View] = {}
        self._targets: dict[tuple[int, int], tuple[Tensor, Tensor | None, Tensor | None]] = {}
        self._bytes = 0
        self._scale = 1

    def __len__(self) -> int:
        return len(self._scene.train)

    def step_background(self, generator: torch.Generator, out: Tensor) -> Tensor:
        """Fill `out` [3] with the background of one step."""
        if self._known_background is not None:
            return out.copy_(self._known_background)
        return background_color(self.background, generator, out)

    def view(self, position: int, scale: int) -> View:
        key = (position, scale)
        if key not in self._views:
            index = self._scene.train[position]
            size = self._scene.images.scaled_size(index, scale)
            self._views[key] = view_of(self._scene.cameras[index].resized(*size))
        return self._views[key]

    def target(self, position: int, scale: int, background: Tensor) -> tuple[Tensor, Tensor | None]:
        """Photo [H,W,3] over `background` [3] where it is transparent, and the loss mask [H,W] or None. Read only."""
        image, mask, alpha = self._load(position, scale)
        if self._masks == "background" and mask is not None:
            under = (1.0 - mask)[..., None]
            return image * mask[..., None] + under * background, None
        if alpha is not None:
            # The photo was read over a fixed colour: image = a c + (1 - a) fixed.
            image = image + (1.0 - alpha)[..., None] * (background - self._composited)
        return image, mask if self._masks == "loss" else None

    def prefetch(self, position: int, scale: int) -> None:
        """Have the photo decoded in the background, where it is not at hand."""
        if (position, scale) in self._targets:
            return
        self._scene.images.prefetch([self._scene.train[position]])

    def _load(self, position: int, scale: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if scale != self._scale:
            self._targets.clear()
            self._bytes, self._scale = 0, scale
        key = (position, scale)
        found = self._targets.get(key)
        if found is not None:
            return found
        images, index = self._scene.images, self._scene.train[position]
        image = images.at_scale(index, scale)
        mask = images.mask(index, scale)
        alpha = self._alpha(index, scale)
        size = sum(t.numel() * 4 for t in (image, mask, alpha) if t is not None)
        if self._bytes + size <= _FLOAT_CACHE_BYTES:
            self._targets[key] = (image, mask, alpha)
            self._bytes += size
        return image, mask, alpha

    def _alpha(self, index: int, scale: int) -> Tensor | None:
        """The photo's alpha at the scale, where the background in training is not the one it was read over."""
        fixed = {"white": 1.0, "black": 0.0}.get(self.background)
        if fixed == self._composited:
            return None
        alpha = self._scene.images.alpha(index)
        if alpha is None or scale == 1:
            return alpha
        height, width = alpha.shape
        new_width, new_height = self._scene.images.scaled_size(index, scale)
        return area_average(alpha, new_width, new_height) if (width, height) != (new_width, new_height) else alpha


def area_average(plane: Tensor, width: int, height: int) -> Tensor:
    """[H,W] averaged down to another size, each new pixel the mean of the area it covers."""
    import cv2

    return torch.from_numpy(cv2.resize(plane.numpy(), (width, height), interpolation=cv2.INTER_AREA))

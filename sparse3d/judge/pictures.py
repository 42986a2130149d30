# SPDX-License-Identifier: Apache-2.0
"""The training photos as renderings are compared with them: over a background, with a mask, at any scale."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.depth.hull import of_an_object
from sparse3d.judge.background import known_background
from sparse3d.photos.store import Window
from sparse3d.records.scene import Scene

# Photos as float32 that are kept to save the conversion in each step; beyond it they are converted every time.
_FLOAT_CACHE_BYTES = 128 << 20


class KnownAlpha(NamedTuple):
    """alpha [H,W]: what splats should have, 0 to 1; weight [H,W]: 0 where the photo does not say, else to 1. An alpha
    channel says it everywhere, a mask that cuts out an object says that nothing is outside of it. Read only."""

    alpha: Tensor
    weight: Tensor


class Pictures:
    """Cameras and pictures of the training photos; `position` counts within scene.train.

    masks: "loss" gives masks out, "background" paints over what they leave out, "off" ignores them. background: the
    colour that pictures will be asked over, where it is always the same ("black" or "white"), else None.
    """

    def __init__(self, scene: Scene, *, masks: str = "loss", background: str | None = None) -> None:
        self._scene, self._masks = scene, masks
        # What the photos were composited over when they were read; another colour must be put under them.
        self._composited = 1.0 if known_background(scene) == "white" else 0.0
        self._needs_alpha = background != known_background(scene)
        self._cameras: dict[tuple[int, int], Camera] = {}
        self._targets: dict[tuple[int, int], tuple[Tensor, Tensor | None, Tensor | None]] = {}
        self._bytes = 0
        self._scale = 1
        self._known_alpha: dict[tuple[int, int], KnownAlpha | None] = {}

    def __len__(self) -> int:
        return len(self._scene.train)

    @property
    def scene(self) -> Scene:
        return self._scene

    def camera(self, position: int, scale: int) -> Camera:
        """The photo's camera at its size divided by `scale` (1, 2 or 4)."""
        key = (position, scale)
        if key not in self._cameras:
            index = self._scene.train[position]
            size = self._scene.images.scaled_size(index, scale)
            self._cameras[key] = self._scene.cameras[index].resized(*size)
        return self._cameras[key]

    def target(
        self, position: int, scale: int, background: Tensor, window: Window | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Photo [H,W,3] over `background` [3] where it is transparent, and the mask [H,W] or None; of both only a
        window, where one is given (at scale 1). Read only."""
        image, mask, alpha = self._load(position, scale) if window is None else self._cut(position, window)
        if alpha is not None:
            # The photo was read over a fixed colour: image = a c + (1 - a) fixed.
            image = image + (1.0 - alpha)[..., None] * (background - self._composited)
        if self._masks == "background" and mask is not None:
            under = (1.0 - mask)[..., None]
            return image * mask[..., None] + under * background, None
        return image, mask if self._masks == "loss" else None

    def known_alpha(self, position: int, scale: int, window: Window | None = None) -> KnownAlpha | None:
        """What the photo says of alpha, at the size that `target` has; None where it says nothing."""
        key = (position, scale)
        if window is None and key in self._known_alpha:
            return self._known_alpha[key]
        found = self._known_alpha_at(self._scene.train[position], scale, window)
        if window is None:
            if any(known != scale for _, known in self._known_alpha):
                self._known_alpha.clear()
            self._known_alpha[key] = found
        return found

    def _known_alpha_at(self, index: int, scale: int, window: Window | None) -> KnownAlpha | None:
        images = self._scene.images
        whole = None if self._masks == "off" else images.mask(index)
        cuts_out = whole is not None and of_an_object(whole.numpy() >= 0.5)
        if window is None:
            mask, alpha = images.mask(index, scale), self._shrunk(images.alpha(index), index, scale)
        else:
            _, mask, alpha = images.cut(index, window)
        if mask is not None and cuts_out:
            return KnownAlpha(torch.zeros_like(mask), 1.0 - mask)
        if alpha is None:
            return None
        # What a mask hides says nothing.
        return KnownAlpha(alpha, torch.ones_like(alpha) if mask is None or self._masks == "off" else mask)

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

    def _cut(self, position: int, window: Window) -> tuple[Tensor, Tensor | None, Tensor | None]:
        image, mask, alpha = self._scene.images.cut(self._scene.train[position], window)
        return image, mask, alpha if self._needs_alpha else None

    def _alpha(self, index: int, scale: int) -> Tensor | None:
        """The photo's alpha at the scale, where pictures are asked over another colour than it was read over."""
        if not self._needs_alpha:
            return None
        return self._shrunk(self._scene.images.alpha(index), index, scale)

    def _shrunk(self, alpha: Tensor | None, index: int, scale: int) -> Tensor | None:
        if alpha is None or scale == 1:
            return alpha
        height, width = alpha.shape
        new_width, new_height = self._scene.images.scaled_size(index, scale)
        return area_average(alpha, new_width, new_height) if (width, height) != (new_width, new_height) else alpha


def area_average(plane: Tensor, width: int, height: int) -> Tensor:
    """[H,W] averaged down to another size, each new pixel the mean of the area it covers."""
    return torch.from_numpy(cv2.resize(plane.numpy(), (width, height), interpolation=cv2.INTER_AREA))

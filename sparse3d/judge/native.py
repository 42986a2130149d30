# SPDX-License-Identifier: Apache-2.0
"""Held-out photos compared at their own size, whatever size was trained."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sparse3d.judge.evaluate import RenderImage
from sparse3d.loss import psnr_of, rounded
from sparse3d.photos.store import ImageStore
from sparse3d.records.scene import Scene

# Rows that are compared at once: float64 copies of 12 megapixels would take a gigabyte.
_ROWS = 256


def psnr_native(
    scene: Scene, render_image: RenderImage, progress: Callable[[float], None] | None = None
) -> list[float | None] | None:
    """PSNR in dB of each held-out photo, rendered with all the pixels that the photo has on disk; within its mask,
    where it has one, and None where that keeps nothing. None at all where the scene's pictures have these sizes, so
    that the usual PSNR says the same. progress(share done)."""
    sizes = {index: scene.images.source_size(index) for index in scene.test}
    if all(scene.images.size(index) == size for index, size in sizes.items()):
        return None
    cameras = [scene.cameras[index].resized(*size) for index, size in sizes.items()]
    store = scene.images.resized(list(sizes), cameras)
    values = []
    try:
        for k, camera in enumerate(cameras):
            values.append(_psnr(render_image(camera), store, k))
            if progress is not None:
                progress((k + 1) / len(cameras))
    finally:
        store.close()
    return values


def _psnr(image: Tensor, store: ImageStore, k: int) -> float | None:
    photo, mask = torch.from_numpy(store.rgb8(k)), store.mask(k)
    sums, count = [], 0
    for top in range(0, len(photo), _ROWS):
        band = slice(top, top + _ROWS)
        error = (rounded(image[band]) - photo[band].double() / 255.0).square()
        if mask is not None:
            error = error[mask[band] > 0.5]
        sums.append(float(error.sum()))
        count += error.numel()
    return None if count == 0 else psnr_of(math.fsum(sums) / count)

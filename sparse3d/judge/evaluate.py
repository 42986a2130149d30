# SPDX-License-Identifier: Apache-2.0
"""Renders photos of a scene and compares them with what was photographed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.loss import Lpips, composite, psnr, rounded, ssim
from sparse3d.records.scene import Scene
from sparse3d.render import RenderOptions, render
from sparse3d.splats import Splats

# A camera to its image [H,W,3], over the background that the photos have; may be a buffer that the next call reuses.
RenderImage = Callable[[Camera], Tensor]


def image_renderer(splats: Splats, background: Tensor, backend: str = "auto") -> RenderImage:
    """Renders trained splats over `background` [3]: what the eval command and compare.png use."""
    options = RenderOptions(background=background.tolist(), backend=None if backend == "auto" else backend)
    return lambda camera: render(splats, camera, options).image


@dataclass(frozen=True)
class Scores:
    """Means over photos of the values of each. None where there was no photo, lpips also where there were no weights.

    Where a photo has a mask, psnr, ssim and lpips are of the masked protocol (PSNR over kept pixels, the others on
    composites over black) and psnr_full, ssim_full of the whole picture; without masks the latter are None. A photo of
    which the mask leaves nothing has None everywhere in its row, and counts in no mean.
    """

    psnr: float | None = None
    ssim: float | None = None
    lpips: float | None = None
    psnr_full: float | None = None
    ssim_full: float | None = None
    per_view: tuple[dict[str, Any], ...] = ()


def evaluate(scene: Scene, indices: Sequence[int], render_image: RenderImage, lpips: Lpips | None = None) -> Scores:
    """Compare the photos at `indices` (empty: all values None)."""
    rows = tuple(_evaluate_one(scene, index, render_image, lpips) for index in indices)
    return Scores(
        **{name: _mean(rows, name) for name in ("psnr", "ssim", "lpips", "psnr_full", "ssim_full")}, per_view=rows
    )


def _evaluate_one(scene: Scene, index: int, render_image: RenderImage, lpips: Lpips | None) -> dict[str, Any]:
    mask = scene.images.mask(index)
    if mask is not None and not bool((mask > 0.5).any()):
        # Two composites of nothing are equal, which would be a perfect score.
        names = ["psnr", "ssim", *(["lpips"] if lpips is not None else []), "psnr_full", "ssim_full"]
        return {"name": scene.names[index], **dict.fromkeys(names)}
    image = rounded(render_image(scene.cameras[index]))
    target = scene.images[index].double()
    row: dict[str, Any] = {
        "name": scene.names[index],
        "psnr": psnr(image, target, mask),
        "ssim": ssim(image, target, mask),
    }
    if lpips is not None:
        pair = (image, target) if mask is None else (composite(image, mask), composite(target, mask))
        row["lpips"] = lpips(*pair)
    if mask is not None:
        row |= {"psnr_full": psnr(image, target), "ssim_full": ssim(image, target)}
    return row


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float | None:
    values = [row[name] for row in rows if row.get(name) is not None]
    # math.fsum is exact, whatever the order.
    return math.fsum(values) / len(values) if values else None

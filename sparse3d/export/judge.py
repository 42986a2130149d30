# SPDX-License-Identifier: Apache-2.0
"""How good splats are: against photos, or against the pictures of the splats that they were made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.export.source import Source, spread
from sparse3d.loss import psnr, rounded, ssim
from sparse3d.render import RenderOptions, render
from sparse3d.splats import Splats

# Photos that a search looks at; the held-out ones are never among them.
_JUDGES = 12
# A scene's error against its photos where none are at hand: 30 dB, that of a good one.
_USUAL_MSE = 1e-3


@dataclass(frozen=True)
class Closeness:
    """PSNR (dB) and SSIM, means over views."""

    psnr: float
    ssim: float


class Judge:
    """Compares candidates in a search: with training photos where there are some, else with the source's pictures."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._options = RenderOptions(background=source.background.tolist(), backend=source.backend)
        photos = source.photos
        self._targets: list[tuple[Camera, Tensor, Tensor | None]] = []
        if photos is not None:
            for i in spread(photos.scene.train, _JUDGES):
                images = photos.scene.images
                self._targets.append((photos.scene.cameras[i], images[i].double(), images.mask(i)))
        else:
            for i in spread(range(len(source.cameras)), _JUDGES):
                camera = source.cameras[i]
                self._targets.append((camera, rounded(self._picture(source.splats, camera)), None))

    def psnr(self, splats: Splats) -> float:
        """Mean PSNR in dB over the views; higher is better."""
        values = [psnr(rounded(self._picture(splats, camera)), target, mask) for camera, target, mask in self._targets]
        known = [value for value in values if not math.isnan(value)]
        return math.fsum(known) / max(len(known), 1)

    def _picture(self, splats: Splats, camera: Camera) -> Tensor:
        return render(splats, camera, self._options).image


def held_out(source: Source, splats: Splats) -> Closeness | None:
    """Of `splats` on the held-out photos; None where there are none."""
    if source.photos is None or not source.photos.scene.test:
        return None
    scores = source.photos.scores(splats)
    return None if scores.psnr is None or scores.ssim is None else Closeness(scores.psnr, scores.ssim)


def to_source(source: Source, splats: Splats, most: int = 24) -> Closeness:
    """Of `splats` to the pictures of the source's own, in the views of the held-out photos, else in its cameras."""
    cameras: Sequence[Camera] = source.cameras
    if source.photos is not None and source.photos.scene.test:
        cameras = [source.photos.scene.cameras[i] for i in source.photos.scene.test]
    options = RenderOptions(background=source.background.tolist(), backend=source.backend)
    values = []
    for i in spread(range(len(cameras)), most):
        pair = [rounded(render(s, cameras[i], options).image) for s in (splats, source.splats)]
        values.append((psnr(*pair), ssim(*pair)))
    return Closeness(*(math.fsum(column) / len(values) for column in zip(*values, strict=True)))


def expected_drop(closeness: float) -> float:
    """dB that a scene at 30 dB to its photos loses where its pictures change by `closeness` dB, if that change has
    nothing to do with the error it had: then squared errors add. 43.3 dB cost 0.2 dB, 39.1 dB cost 0.5."""
    return 10.0 * math.log10(1.0 + 10.0 ** (-closeness / 10.0) / _USUAL_MSE)

# SPDX-License-Identifier: Apache-2.0
"""Floaters removed from finished splats: what `sparse3d clean` does."""

from __future__ import annotations

from dataclasses import dataclass

from sparse3d.depth.hull import scene_hull
from sparse3d.judge.background import evaluation_background
from sparse3d.judge.evaluate import evaluate, image_renderer
from sparse3d.judge.floater_config import FloaterConfig
from sparse3d.judge.floaters import check_share, find_floaters
from sparse3d.judge.photos import JudgingPhotos
from sparse3d.judge.pictures import Pictures
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats
from sparse3d.start.config import FEW_PHOTOS
from sparse3d.train.config import TrainConfig


@dataclass(frozen=True)
class Quality:
    """PSNR in dB on the training photos and on the held-out ones; None where there are none."""

    train: float | None = None
    test: float | None = None


@dataclass(frozen=True)
class CleanedSplats:
    """splats: those that stay. counts: how many each criterion removed. before, after: quality on the photos."""

    splats: Splats
    counts: dict[str, int]
    before: Quality
    after: Quality


def clean(
    splats: Splats, scene: Scene | None, cfg: TrainConfig, floaters: FloaterConfig, *, forced: bool = False
) -> CleanedSplats:
    """`splats` without floaters, judged by the scene's training photos, or by neighbours and opacity without a scene.

    cfg: how the photos were trained on. Raises UsageError where more would go than floaters.max_share, unless forced.
    """
    backend = None if cfg.backend == "auto" else cfg.backend
    before = _quality(scene, splats, cfg)
    photos, hull = (), None
    if scene is not None:
        pictures = Pictures(scene, masks=cfg.masks, background=cfg.background)
        photos = JudgingPhotos(pictures, evaluation_background(scene, cfg.background))
        # As while training: of many masks more than one is wrong somewhere, so only few may remove anything.
        hull = scene_hull(scene) if len(scene.train) <= FEW_PHOTOS else None
    found = find_floaters(splats, photos, floaters, hull=hull, backend=backend)
    check_share(found, floaters, forced=forced)
    cleaned = splats.select(~found.remove)
    return CleanedSplats(cleaned, found.counts, before, _quality(scene, cleaned, cfg))


def _quality(scene: Scene | None, splats: Splats, cfg: TrainConfig) -> Quality:
    if scene is None:
        return Quality()
    draw = image_renderer(splats, evaluation_background(scene, cfg.background), cfg.backend)
    return Quality(evaluate(scene, scene.train, draw).psnr, evaluate(scene, scene.test, draw).psnr)

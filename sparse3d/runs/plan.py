# SPDX-License-Identifier: Apache-2.0
"""How long a run will about take on this machine, stage by stage, and the effort that fits into given minutes.

Seconds are those of the machine named in docs/phone.md, by what a stage's time grows with, times this machine's speed
from a short calibration. Nothing here changes a bit of a result, but for the settings that `fit_minutes` chooses, once,
and that the run then keeps.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sparse3d import config as configs
from sparse3d.camera import Camera
from sparse3d.config import Layer
from sparse3d.load.training_size import side_for
from sparse3d.render import render
from sparse3d.runs.config import RunConfig
from sparse3d.runs.layers import nested, with_few_views, with_size
from sparse3d.splats import Splats
from sparse3d.start.config import FEW_PHOTOS
from sparse3d.train.schedule import image_scale

# Seconds that the calibration's picture takes on the reference machine.
_REFERENCE_S = 0.011
_PICTURE, _SPLATS, _TRIES = (320, 240), 20_000, 9
# A step: of each splat, and of each pixel under the usual number of splats.
_STEP_SPLAT_S, _STEP_PIXEL_S = 0.10e-6, 0.19e-6
# Cameras of photos: features and placing of one, matching of a pair.
_PHOTO_S, _PAIR_S = 3.0, 0.15
# Dense depth looks at photos of at most this side, each beside so many others.
_DEPTH_SIDE, _SOURCES, _DEPTH_PIXEL_S = 640, 6, 6e-6
# Of the pixels at the spacing of dense points, the share that becomes points: most see what another photo sees too.
_DENSE_SHARE = 0.14
_TRIANGULATED_S = 0.5
_DECODED_PIXEL_S = 0.06e-6
# Fitting the camera of a held-out photo to it takes as long as so many of the last steps.
_FITTING_STEPS = 55
# Python, files, pictures.
_FIXED_S = 5.0
# Least and most of the preset's work, in steps times pixels, that --minutes may choose.
_EFFORT = (0.02, 8.0)
_STEPS_MIN, _SIDE_MIN = 200, 320


@dataclass(frozen=True)
class Work:
    """What there is to do: sizes [(width, height)] of the training photos on disk, how many photos are held out,
    whether cameras are given."""

    sizes: Sequence[tuple[int, int]]
    held_out: int
    has_cameras: bool

    @property
    def longest_px(self) -> int:
        return max(max(size) for size in self.sizes)


def measure_speed() -> float:
    """How many times as fast as the reference machine this one is now, in a fraction of a second."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-1.0, 1.0, (_SPLATS, 3)).astype(np.float32)
    quats = np.tile(np.array([1.0, 0.0, 0.0, 0.0], np.float32), (_SPLATS, 1))
    scales, logits = np.full((_SPLATS, 3), -4.0, np.float32), np.full(_SPLATS, -1.0, np.float32)
    colours, none = rng.uniform(-1.0, 1.0, (_SPLATS, 1, 3)).astype(np.float32), np.zeros((_SPLATS, 0, 3), np.float32)
    means, quats_wxyz, log_scales, opacities, sh0, shN = (
        torch.from_numpy(a) for a in (xyz, quats, scales, logits, colours, none)
    )
    splats = Splats(means, quats_wxyz, log_scales, opacities, sh0, shN)
    width, height = _PICTURE
    pose = np.eye(4)
    pose[2, 3] = 3.0
    camera = Camera(width, height, width, width, width / 2, height / 2, pose)
    seconds = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        render(splats, camera)
        seconds.append(time.perf_counter() - began)
    return _REFERENCE_S / min(seconds)


def plan(cfg: RunConfig, work: Work, speed: float) -> dict[str, float]:
    """About how many seconds each stage takes at `speed` (`measure_speed`): "cameras", "start", "training",
    "evaluation". cfg.scene.max_side is a number, or "full"."""
    photos = len(work.sizes)
    cfg, _ = with_few_views(cfg, photos)
    few = photos <= FEW_PHOTOS and cfg.start.dense != "off"
    last, training = _steps_seconds(cfg, work)
    cameras = 0.0
    if not work.has_cameras:
        total = photos + work.held_out
        cameras = _PHOTO_S * total + _PAIR_S * min(total * (total - 1) / 2, 40 * total)
    start = _TRIANGULATED_S * photos + _DECODED_PIXEL_S * sum(w * h for w, h in work.sizes)
    if few or cfg.start.dense == "on":
        depth_px = sum(w * h for w, h in (shrunk(size, _DEPTH_SIDE) for size in work.sizes))
        start += _DEPTH_PIXEL_S * depth_px * min(_SOURCES, photos - 1)
    evaluation = _FIXED_S
    if work.held_out:
        evaluation += work.held_out * (1.0 + (0.0 if work.has_cameras else _FITTING_STEPS * last))
    stages = {"cameras": cameras, "start": start, "training": training, "evaluation": evaluation}
    return {name: seconds / speed for name, seconds in stages.items() if seconds > 0.0}


def _steps_seconds(cfg: RunConfig, work: Work) -> tuple[float, float]:
    """Seconds of the last step and of all steps."""
    train = cfg.train
    side = cfg.scene.max_side if isinstance(cfg.scene.max_side, int) else work.longest_px
    sizes = [shrunk(size, side) for size in work.sizes]
    smallest = min(sizes, key=min)
    pixels = float(np.mean([w * h for w, h in sizes]))
    splats = _splats(cfg, work) * _STEP_SPLAT_S
    shares = [image_scale(train.schedule, *smallest, (k + 0.5) / 100) for k in range(100)]
    mean = float(np.mean([pixels / scale**2 for scale in shares]))
    return splats + _STEP_PIXEL_S * pixels, train.steps * (splats + _STEP_PIXEL_S * mean)


def _splats(cfg: RunConfig, work: Work) -> float:
    """About how many there are in the mean over a run."""
    if len(work.sizes) > FEW_PHOTOS or cfg.start.dense == "off":
        return 0.75 * cfg.train.density.cap
    depth_px = sum(w * h for w, h in (shrunk(size, _DEPTH_SIDE) for size in work.sizes))
    return min(cfg.start.dense_points, _DENSE_SHARE * depth_px / cfg.start.dense_spacing**2)


def shrunk(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) of a photo whose longer side is at most `side`."""
    scale = min(1.0, side / max(size))
    return round(size[0] * scale), round(size[1] * scale)


def fit_minutes(cfg: RunConfig, work: Work, speed: float, minutes: float) -> tuple[RunConfig, str]:
    """`cfg` with the steps and, where the photos' size is "auto", the size that a run of about `minutes` has time for,
    and a sentence for the user. What was given by hand stays."""
    low, high = _EFFORT
    for _ in range(20):
        middle = (low * high) ** 0.5
        if sum(plan(_at_effort(cfg, work, middle), work, speed).values()) <= 60.0 * minutes:
            low = middle
        else:
            high = middle
    chosen = _at_effort(cfg, work, low)
    steps, total = chosen.train.steps, sum(plan(chosen, work, speed).values())
    text = f"--minutes {minutes:g}: {steps:,} steps on photos of up to {chosen.scene.max_side} pixels"
    if total > 66.0 * minutes:
        text += f", the least there is, and still it will take about {total / 60:.1f} minutes here"
    return replace(chosen, scene=replace(chosen.scene, max_side=cfg.scene.max_side)), text


def _at_effort(cfg: RunConfig, work: Work, effort: float) -> RunConfig:
    """Work in steps times pixels is shared between them: thrice the effort is 1.7 times the steps and pixels."""
    base, _ = with_few_views(cfg, len(work.sizes))
    values: dict[str, object] = {}
    if "train.steps" not in cfg.given:
        values["train.steps"] = max(_STEPS_MIN, 50 * round(base.train.steps * effort**0.5 / 50))
    if cfg.scene.max_side == "auto" and "scene.auto_side" not in cfg.given:
        values["scene.auto_side"] = max(_SIDE_MIN, 16 * round(cfg.scene.auto_side * effort**0.25 / 16))
    # From here on as if given by hand: no other layer chooses again.
    chosen = configs.resolve(replace(cfg, given=(*cfg.given, *values)), [Layer("--minutes", nested(values))])
    if chosen.scene.max_side != "auto":
        return chosen
    side = min(side_for(len(work.sizes), chosen.scene.auto_side), work.longest_px)
    return with_size(chosen, side, side, len(work.sizes))

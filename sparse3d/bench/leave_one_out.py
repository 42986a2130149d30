# SPDX-License-Identifier: Apache-2.0
"""How good a run is where every photo was needed: each training photo is left out once, and predicted by the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sparse3d.errors import UsageError
from sparse3d.judge.background import evaluation_background
from sparse3d.judge.evaluate import Scores, evaluate, image_renderer
from sparse3d.loss import Lpips
from sparse3d.records.scene import Scene
from sparse3d.runs.config import RunConfig
from sparse3d.runs.kept_start import search_of
from sparse3d.start.find import find_start
from sparse3d.train.events import Stepped
from sparse3d.train.loop import train
from sparse3d.train.splats.trainee import SplatsFrom

# (name of the photo left out, share of its training done, what to say)
Progress = Callable[[str, float, str], None]


def leave_one_out(scene: Scene, cfg: RunConfig, lpips: Lpips | None = None, progress: Progress | None = None) -> Scores:
    """Train cfg once for each of scene.train without that photo, and compare with it; photos held out stay out.

    The initial points are found again without the photo, unless the user gave them by hand. Raises UsageError for
    fewer than two training photos.
    """
    if len(scene.train) < 2:
        raise UsageError(f"--leave-one-out needs 2 training photos or more, the run has {len(scene.train)}")
    return combine([_without(scene, index, cfg, lpips, progress) for index in scene.train])


def _without(scene: Scene, index: int, cfg: RunConfig, lpips: Lpips | None, progress: Progress | None) -> Scores:
    name = scene.names[index]

    def tell(fraction: float, text: str) -> None:
        if progress is not None:
            progress(name, fraction, text)

    given = scene.points if cfg.scene.points is not None else None
    part = replace(scene, train=tuple(i for i in scene.train if i != index), test=(index,), points=given)
    start = find_start(part, replace(search_of(cfg), progress=lambda what, _: tell(0.0, what)))
    # Evaluations on the way would change nothing and cost time.
    training = replace(cfg.train, eval_every=0)
    loop = train(part, SplatsFrom.start(start, training), training)
    while True:
        try:
            event = next(loop)
        except StopIteration as end:
            splats = end.value
            break
        if isinstance(event, Stepped):
            tell(event.step / event.steps, f"loss {event.loss:.4f}")
    render_image = image_renderer(splats, evaluation_background(part, cfg.train.background), cfg.train.backend)
    scores = evaluate(part, part.test, render_image, lpips)
    tell(1.0, "" if scores.psnr is None else f"PSNR {scores.psnr:.2f} dB")
    return scores


def combine(parts: Sequence[Scores]) -> Scores:
    """One Scores of all photos; means over those that have the value."""
    rows = tuple(row for part in parts for row in part.per_view)
    return Scores(
        **{name: _mean(rows, name) for name in ("psnr", "ssim", "lpips", "psnr_full", "ssim_full")}, per_view=rows
    )


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float | None:
    values = [row[name] for row in rows if row.get(name) is not None]
    return math.fsum(values) / len(values) if values else None

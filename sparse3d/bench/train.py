# SPDX-License-Identifier: Apache-2.0
"""How fast a training run becomes good: held-out PSNR against the loop's seconds, evaluations not counted."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparse3d.errors import UsageError
from sparse3d.load.scene import load_scene
from sparse3d.memory import peak_rss_mb
from sparse3d.runs.config import RunConfig
from sparse3d.runs.kept_start import search_of
from sparse3d.runs.layers import with_few_views
from sparse3d.runs.report import package_version
from sparse3d.start.find import find_start
from sparse3d.train.events import Evaluated, Event, Finished, Started, Stepped
from sparse3d.train.loop import Around, train
from sparse3d.train.splats.terms.config import active_terms
from sparse3d.train.splats.trainee import SplatsFrom


@dataclass(frozen=True)
class TrainBenchConfig:
    """until_psnr: held-out PSNR in dB that ends the run (None: all steps). limit_s: seconds of the loop that end it."""

    until_psnr: float | None = None
    limit_s: float = 240.0


def run(
    cfg: RunConfig,
    bench: TrainBenchConfig,
    *,
    stop: threading.Event | None = None,
    handle: Callable[[Event], None] | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any]:
    """Train cfg.scene_path in memory, evaluating every cfg.train.eval_every steps, until one of the limits.

    Returns curve [{s, step, psnr, num_splats}] (s: of the loop, evaluations left out), s_to_psnr (the s of the first
    evaluation at or above until_psnr, None where none was), psnr (the last), seconds {init, train, eval}, and what the
    numbers depend on. Raises UsageError where the scene holds out no photo or no evaluation is asked for.
    """
    if cfg.train.eval_every < 1:
        raise UsageError("bench train measures by evaluating: --eval-every must be 1 or more")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    curve = _Curve(bench, stop or threading.Event())
    began = time.perf_counter()
    scene = load_scene(Path(cfg.scene_path), cfg.scene, progress=progress)
    try:
        if not scene.test:
            raise UsageError(
                f"{cfg.scene_path}: no photo is held out, so there is no PSNR to reach; give --test-every 4"
            )
        cfg, few_notes = with_few_views(cfg, len(scene.train))
        start = find_start(scene, replace(search_of(cfg), progress=progress))
        make = SplatsFrom.start(start, cfg.train)
        init_s = time.perf_counter() - began
        around = Around(stop=curve.stop, notes=(*scene.notes, *start.notes, *few_notes))
        for event in train(scene, make, cfg.train, around=around):
            curve.take(event)
            if handle is not None:
                handle(event)
    finally:
        scene.images.close()
    return {
        "scene": cfg.scene_path,
        "preset": cfg.preset,
        "until_psnr": bench.until_psnr,
        "limit_s": bench.limit_s,
        **curve.record(init_s, cfg.train.steps),
        "views": {"train": len(scene.train), "test": len(scene.test)},
        "load": load,
        "peak_rss_mb": peak_rss_mb(),
        "seed": cfg.train.seed,
        "terms": active_terms(cfg.train.terms),
        "version": package_version(),
    }


class _Curve:
    """Held-out PSNR against the loop's seconds; sets `stop` at the first limit."""

    def __init__(self, bench: TrainBenchConfig, stop: threading.Event) -> None:
        self._bench, self.stop = bench, stop
        self._points: list[dict[str, Any]] = []
        self._started: Started | None = None
        self._finished: Finished | None = None

    def take(self, event: Event) -> None:
        bench = self._bench
        if isinstance(event, Started):
            self._started = event
        elif isinstance(event, Finished):
            self._finished = event
        elif isinstance(event, Evaluated) and event.psnr is not None:
            point = {"s": event.seconds, "step": event.step, "psnr": event.psnr, "num_splats": event.count}
            # The last evaluation of a complete run may be at a step that was evaluated already.
            if not self._points or self._points[-1]["step"] != event.step:
                self._points.append(point)
            if bench.until_psnr is not None and event.psnr >= bench.until_psnr:
                self.stop.set()
        if isinstance(event, (Evaluated, Stepped)) and event.seconds >= bench.limit_s:
            self.stop.set()

    def record(self, init_s: float, steps_planned: int) -> dict[str, Any]:
        started, finished, until = self._started, self._finished, self._bench.until_psnr
        assert started is not None
        assert finished is not None
        reached = [p["s"] for p in self._points if until is not None and p["psnr"] >= until]
        return {
            "s_to_psnr": reached[0] if reached else None,
            "psnr": self._points[-1]["psnr"] if self._points else None,
            "curve": self._points,
            "seconds": {"init": init_s, "train": finished.seconds, "eval": finished.seconds_eval},
            "steps": finished.step,
            "steps_planned": steps_planned,
            "num_splats": finished.count,
            "width": started.width,
            "height": started.height,
            "device": started.backend,
            "threads": started.threads,
        }

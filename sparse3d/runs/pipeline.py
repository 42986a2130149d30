# SPDX-License-Identifier: Apache-2.0
"""From photos to a run folder: load, initial points, train, evaluate, write. A generator of events, like the
trainer."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparse3d import config as configs
from sparse3d import formats
from sparse3d.depth.priors.load import check_prior_paths
from sparse3d.errors import UsageError
from sparse3d.judge.background import evaluation_background
from sparse3d.judge.evaluate import image_renderer
from sparse3d.load.scene import Survey, load_scene, survey
from sparse3d.load.training_size import training_size
from sparse3d.memory import peak_rss_mb
from sparse3d.records.scene import Scene
from sparse3d.runs.config import RunConfig, read_run_config
from sparse3d.runs.finished import with_poses
from sparse3d.runs.kept_start import kept_start
from sparse3d.runs.layers import apply_few_views, with_few_views, with_size
from sparse3d.runs.masked import masked_notes
from sparse3d.runs.plan import Work, fit_minutes, measure_speed, plan
from sparse3d.runs.report import (
    aligned_record,
    alpha_record,
    cameras_record,
    metrics_record,
    native_record,
    write_compare,
    write_coverage,
)
from sparse3d.runs.stage_clock import StageClock
from sparse3d.splats import Splats
from sparse3d.train import checkpoint as checkpoints
from sparse3d.train.config import binding_values, check_resumable
from sparse3d.train.events import Evaluated, Event, Finished, Planned, Saved, Started
from sparse3d.train.loop import Around, train
from sparse3d.train.poses import refines_poses
from sparse3d.train.run_folder import RunFolder, open_run
from sparse3d.train.splats.trainee import SplatsFrom

Progress = Callable[[str, float], None]
# Of the scene's settings, those that change no pixel: a resumed run may have others.
_SCENE_FREE = ("cache_mb",)


def run_training(
    cfg: RunConfig,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    around: Around = Around(),  # noqa: B008 - frozen
    progress: Progress | None = None,
    started_at: float | None = None,
) -> Generator[Event, None, dict[str, Any] | None]:
    """Train cfg.scene_path into the folder `out`. Yields events; returns what stands in metrics.json (None when
    stopped). Where photos are few, cfg.few_views adds its settings (`with_few_views`).

    progress(what, fraction) is called during loading and the search for a start. started_at: time.perf_counter() at the
    start of the process, for seconds.total. Raises as `load_scene`, `find_start`, `train` and `open_run` do.
    """
    began = time.perf_counter() if started_at is None else started_at
    progress = StageClock(progress)
    with open_run(out, resume=resume, overwrite=overwrite) as folder:
        if resume:
            cfg = _same_run(folder, cfg)
        _write_config(folder, cfg)
        init_began = time.perf_counter()
        check_prior_paths(cfg.start)
        found = survey(Path(cfg.scene_path), cfg.scene, progress=progress, workdir=folder.path)
        cfg, planned = _planned(cfg, found)
        if not resume:
            folder.log(planned.to_json())
            yield planned
        scene = load_scene(Path(cfg.scene_path), cfg.scene, progress=progress, workdir=folder.path, surveyed=found)
        try:
            cfg, few_notes = with_few_views(replace(cfg, origin=scene.frame.origin), len(scene.train))
            _write_config(folder, cfg)
            start = kept_start(folder, scene, cfg, resume, progress)
            # As many as the budget holds: reading files is not training, and its time is not counted there.
            scene.images.preload(scene.train, progress)
            progress.stop()
            run = _Run(folder, scene, cfg, began, time.perf_counter() - init_began, progress)
            notes = (*scene.notes, *masked_notes(scene), *start.notes, *few_notes, *around.notes)
            loop = train(
                scene, SplatsFrom.start(start, cfg.train), cfg.train, folder, resume=resume,
                around=replace(around, notes=notes),
            )  # fmt: skip
            return (yield from run.follow(loop, around))
        finally:
            scene.images.close()


def _planned(cfg: RunConfig, found: Survey) -> tuple[RunConfig, Planned]:
    """`cfg` with the photos' size, and with the effort that cfg.minutes leaves time for; and what the user is told."""
    photos, sizes = [found.photos[i] for i in found.split.train], found.sizes(found.split.train)
    work = Work(sizes, len(found.split.test), found.has_cameras)
    speed = measure_speed()
    notes: tuple[str, ...] = ()
    if cfg.minutes is not None:
        cfg, note = fit_minutes(cfg, work, speed, cfg.minutes)
        notes += (note,)
    size = training_size(photos, cfg.scene)
    notes += (size.reason,) if size.reason else ()
    cfg = with_size(cfg, size.side, min(work.longest_px, size.side or work.longest_px), len(photos))
    # The effort is chosen once: a resumed run goes on with what stands in its folder.
    return replace(cfg, minutes=None), Planned(0, plan(cfg, work, speed), notes)


@dataclass
class _Run:
    """A run under way: logs what its loop tells, and writes the files at its end. began: time.perf_counter() at the
    start of the process; init_seconds: of loading and the start."""

    folder: RunFolder
    scene: Scene
    cfg: RunConfig
    began: float
    init_seconds: float
    progress: StageClock
    backend: str = ""
    evaluated: Evaluated | None = None
    finished: Finished | None = None

    def follow(
        self, loop: Generator[Event, None, Splats], around: Around
    ) -> Generator[Event, None, dict[str, Any] | None]:
        """Pass the loop's events on; then the files, each with its event, and last the loop's Finished."""
        while True:
            try:
                event = next(loop)
            except StopIteration as end:
                result: Splats = end.value
                break
            self.folder.log(event.to_json())
            if isinstance(event, Started):
                self.backend = event.backend
            if isinstance(event, Evaluated) and event.final:
                self.evaluated = event
            if isinstance(event, Finished):
                # Told last, when the files are there.
                self.finished = event
                continue
            yield event
        metrics = yield from self._write(result, around)
        assert self.finished is not None
        yield self.finished
        return metrics

    def _write(self, result: Splats, around: Around) -> Generator[Event, None, dict[str, Any] | None]:
        folder, scene, cfg, evaluated, finished = self.folder, self.scene, self.cfg, self.evaluated, self.finished
        assert finished is not None
        began = time.perf_counter()
        formats.write(folder.file("splat.ply"), scene.frame.splats_out(result))
        yield Saved(finished.step, "splats", folder.file("splat.ply"))
        refined = _refined(folder, scene, cfg)
        yield Saved(finished.step, "cameras", folder.write_json("cameras.json", cameras_record(refined)))
        if evaluated is None:
            return None
        render_image = image_renderer(result, evaluation_background(scene, cfg.train.background), cfg.train.backend)
        yield Saved(finished.step, "compare", write_compare(folder.file("compare.png"), scene, render_image, evaluated))
        metrics = metrics_record(scene, cfg, evaluated, self.backend)
        metrics |= native_record(scene, render_image, metrics["per_view"], self._share("comparing at full size"))
        metrics |= alpha_record(scene, result, cfg.train.backend)
        path, metrics["coverage"] = write_coverage(folder, refined, result, cfg)
        yield Saved(finished.step, "coverage", path)
        if scene.camera_source != "given" and scene.test:
            told = self._share("aligning held-out cameras")
            metrics |= aligned_record(scene, result, cfg, metrics["per_view"], around.lpips, told)
        if finished.commands:
            # A run that was steered by hand is not what its settings alone would give.
            metrics["commands"] = finished.commands
        metrics["peak_rss_mb"] = peak_rss_mb()
        self.progress.stop()
        metrics["seconds"] = {
            "total": round(time.perf_counter() - self.began, 3),
            "init": round(self.init_seconds, 3),
            "train": round(finished.seconds, 3),
            "eval": round(finished.seconds_eval + time.perf_counter() - began, 3),
            "stages": self.progress.rounded(),
        }
        yield Saved(finished.step, "metrics", folder.write_json("metrics.json", metrics))
        return metrics

    def _share(self, what: str) -> Callable[[float], None]:
        return lambda share: self.progress(what, share)


def _write_config(folder: RunFolder, cfg: RunConfig) -> None:
    folder.write_text("config.toml", configs.to_toml(cfg, f"Resolved settings of this run; preset {cfg.preset}."))


def _same_run(folder: RunFolder, cfg: RunConfig) -> RunConfig:
    """`cfg` to go on with in the folder. Raises UsageError where it is not what the run began with."""
    path = folder.file("config.toml")
    if not path.is_file():
        raise UsageError(f"{folder.path}: is not a run of this program (no config.toml); choose another --out")
    stored = read_run_config(folder.path)
    same_cache = replace(cfg.scene, **{name: getattr(stored.scene, name) for name in _SCENE_FREE})
    names = configs.differences(configs.to_dict(stored.scene), configs.to_dict(same_cache), "scene.")
    names += configs.differences(configs.to_dict(stored.start), configs.to_dict(cfg.start), "start.")
    if Path(stored.scene_path).resolve() != Path(cfg.scene_path).resolve():
        names.insert(0, "scene_path")
    if cfg.minutes != stored.minutes:
        names.append("minutes")
    if stored.few_views != cfg.few_views:
        names.append("few_views")
    if names:
        raise UsageError(
            f"{folder.path}: cannot resume with other settings than the run began with ({', '.join(names[:5])}); "
            "leave them as they were, or start again with --overwrite"
        )
    if stored.few_views_applied:
        cfg = apply_few_views(cfg)
    # Asked here too, before config.toml is written anew; the trainer asks the checkpoint.
    check_resumable(binding_values(stored.train), cfg.train, str(folder.path))
    return cfg


def _refined(folder: RunFolder, scene: Scene, cfg: RunConfig) -> Scene:
    """The scene with its training cameras as the run refined them, where that was asked for."""
    if not refines_poses(cfg.train.camera_opt, scene.camera_source):
        return scene
    return with_poses(scene, checkpoints.load(folder.path).extra["cameras.poses"].numpy())

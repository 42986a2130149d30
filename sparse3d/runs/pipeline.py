# SPDX-License-Identifier: Apache-2.0
"""From photos to a run folder: load, initial points, train, evaluate, write. A generator of events, like the
trainer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparse3d import config as configs
from sparse3d import formats
from sparse3d.errors import UsageError
from sparse3d.judge.background import evaluation_background
from sparse3d.judge.evaluate import image_renderer
from sparse3d.live import Slot
from sparse3d.load.scene import load_scene
from sparse3d.loss import Lpips
from sparse3d.records.scene import Scene
from sparse3d.runs.config import RunConfig, read_run_config
from sparse3d.runs.few_views import apply_few_views, with_few_views
from sparse3d.runs.kept_start import kept_start
from sparse3d.runs.report import aligned_record, cameras_record, metrics_record, write_compare, write_coverage
from sparse3d.splats import Splats
from sparse3d.start.find import Start
from sparse3d.train import checkpoint as checkpoints
from sparse3d.train.config import binding_values, check_resumable
from sparse3d.train.events import Evaluated, Event, Finished, Saved, Started
from sparse3d.train.loop import train
from sparse3d.train.poses import refines_poses
from sparse3d.train.run_folder import RunFolder, open_run

# Of the scene's settings, those that change no pixel: a resumed run may have others.
_SCENE_FREE = ("cache_mb",)


def run_training(
    cfg: RunConfig,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    slot: Slot[Splats] | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[str, float], None] | None = None,
    lpips_weights: Path | None = None,
    started_at: float | None = None,
) -> Generator[Event, None, dict[str, Any] | None]:
    """Train cfg.scene_path into the folder `out`. Yields events; returns what stands in metrics.json (None when
    stopped). Where photos are few, cfg.few_views adds its settings (`with_few_views`).

    progress(what, fraction) is called during loading and initial points. started_at: time.perf_counter() at the start
    of the process, for seconds.total. Raises as `load_scene`, `train` and `open_run` do.
    """
    began = time.perf_counter() if started_at is None else started_at
    lpips = None if lpips_weights is None else Lpips(lpips_weights)
    with open_run(out, resume=resume, overwrite=overwrite) as folder:
        if resume:
            cfg = _same_run(folder, cfg)
        _write_config(folder, cfg)
        init_began = time.perf_counter()
        scene = load_scene(Path(cfg.scene_path), cfg.scene, progress=progress, workdir=folder.path)
        try:
            cfg, few_notes = with_few_views(cfg, len(scene.train))
            _write_config(folder, cfg)
            start = kept_start(folder, scene, cfg, resume, progress)
            splats = start.splats(cfg.train)
            # As many as the budget holds: reading files is not training, and its time is not counted there.
            scene.images.preload(scene.train, progress)
            init_seconds = time.perf_counter() - init_began
            metrics = yield from _train_and_write(
                folder, scene, splats, start, cfg, resume=resume, slot=slot, stop=stop, lpips=lpips,
                notes=(*scene.notes, *start.notes, *few_notes), init_seconds=init_seconds, began=began,
            )  # fmt: skip
        finally:
            scene.images.close()
    return metrics


def _train_and_write(
    folder: RunFolder,
    scene: Scene,
    splats: Splats,
    start: Start,
    cfg: RunConfig,
    *,
    resume: bool,
    slot: Slot[Splats] | None,
    stop: threading.Event | None,
    lpips: Lpips | None,
    notes: tuple[str, ...],
    init_seconds: float,
    began: float,
) -> Generator[Event, None, dict[str, Any] | None]:
    backend, evaluated, finished = "", None, None
    loop = train(
        scene, splats, cfg.train, folder, resume=resume, slot=slot, stop=stop, lpips=lpips, notes=notes,
        depth_maps=start.depth_maps, hull=start.hull,
    )  # fmt: skip
    while True:
        try:
            event = next(loop)
        except StopIteration as end:
            result: Splats = end.value
            break
        folder.log(event.to_json())
        if isinstance(event, Started):
            backend = event.backend
        if isinstance(event, Evaluated) and event.final:
            evaluated = event
        if isinstance(event, Finished):
            # Told last, when the files are there.
            finished = event
            continue
        yield event
    assert finished is not None
    formats.write(folder.file("splat.ply"), result)
    yield Saved(finished.step, "splats", folder.file("splat.ply"))
    refined = _refined(folder, scene, cfg)
    yield Saved(finished.step, "cameras", folder.write_json("cameras.json", cameras_record(refined)))
    metrics = None
    if evaluated is not None:
        render_image = image_renderer(result, evaluation_background(scene, cfg.train), cfg.train.backend)
        yield Saved(finished.step, "compare", write_compare(folder.file("compare.png"), scene, render_image, evaluated))
        metrics = metrics_record(scene, cfg, evaluated, backend)
        path, metrics["coverage"] = write_coverage(folder, refined, result, cfg)
        yield Saved(finished.step, "coverage", path)
        if scene.camera_source != "given" and scene.test:
            metrics |= aligned_record(scene, result, cfg, evaluated, lpips)
        metrics["seconds"] = {
            "total": round(time.perf_counter() - began, 3),
            "init": round(init_seconds, 3),
            "train": round(finished.seconds, 3),
            "eval": round(finished.seconds_eval, 3),
        }
        yield Saved(finished.step, "metrics", folder.write_json("metrics.json", metrics))
    yield finished
    return metrics


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
    if Path(stored.scene_path).resolve() != Path(cfg.scene_path).resolve():
        names.insert(0, "scene_path")
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
    poses = checkpoints.load(folder.path).extra["cameras.poses"].numpy()
    cameras = list(scene.cameras)
    for index, pose in zip(scene.train, poses, strict=True):
        cameras[index] = replace(cameras[index], cam_from_world=pose)
    return replace(scene, cameras=tuple(cameras))

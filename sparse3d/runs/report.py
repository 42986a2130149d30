# SPDX-License-Identifier: Apache-2.0
"""What a run writes about itself: metrics.json, cameras.json, compare.png, coverage.png."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sparse3d.formats.atomic import atomic_file
from sparse3d.judge.align import Fitting, aligned_scores
from sparse3d.judge.alpha import alpha_error, alpha_warning
from sparse3d.judge.background import evaluation_background
from sparse3d.judge.evaluate import RenderImage
from sparse3d.judge.native import psnr_native
from sparse3d.judge.spread import spread
from sparse3d.judge.support import MOST_VIEWS, count_support
from sparse3d.loss import Lpips
from sparse3d.records.scene import Scene
from sparse3d.runs.compare import compare_picture
from sparse3d.runs.config import RunConfig
from sparse3d.runs.coverage_picture import coverage
from sparse3d.runs.support_file import write_support
from sparse3d.splats import Splats
from sparse3d.train.config import TrainConfig
from sparse3d.train.events import Evaluated
from sparse3d.train.run_folder import RunFolder
from sparse3d.train.splats.terms.config import active_terms

METRICS_SCHEMA = 1


def write_compare(path: Path, scene: Scene, render_image: RenderImage, evaluated: Evaluated | None = None) -> Path:
    """Write compare.png."""
    with atomic_file(path) as file:
        file.write(compare_picture(scene, render_image, () if evaluated is None else evaluated.per_view))
    return path


def write_coverage(folder: RunFolder, scene: Scene, splats: Splats, cfg: RunConfig) -> tuple[Path, dict[str, Any]]:
    """Write support.safetensors and coverage.png; the picture's path, and what metrics.json says of it."""
    backend = None if cfg.train.backend == "auto" else cfg.train.backend
    judges = [scene.cameras[i] for i in spread(scene.train, MOST_VIEWS)]
    support = count_support(splats, judges, backend=backend)
    write_support(folder.file("support.safetensors"), support, len(judges))
    picture, record = coverage(
        scene, splats, support, evaluation_background(scene, cfg.train.background), backend=backend
    )
    with atomic_file(folder.file("coverage.png")) as file:
        file.write(picture)
    return folder.file("coverage.png"), record


def cameras_record(scene: Scene) -> dict[str, Any]:
    """What cameras.json holds: every photo's pinhole camera (px, OpenCV axes) and what it was used for. Training
    cameras are as they were refined, where that was asked for; they are in the scene's own units, about `origin`."""
    splits = dict.fromkeys(scene.train, "train") | dict.fromkeys(scene.test, "test")
    return {
        "schema": 1,
        "source": scene.camera_source,
        **({"origin": list(scene.frame.origin)} if any(scene.frame.origin) else {}),
        "cameras": [
            {
                "name": name,
                "split": splits.get(index, "unused"),
                "width": camera.width,
                "height": camera.height,
                "fx": camera.fx,
                "fy": camera.fy,
                "cx": camera.cx,
                "cy": camera.cy,
                "cam_from_world": scene.frame.camera_out(camera).cam_from_world.tolist(),
            }
            for index, (name, camera) in enumerate(zip(scene.names, scene.cameras, strict=True))
        ],
    }


def metrics_record(scene: Scene, cfg: RunConfig, evaluated: Evaluated, backend: str) -> dict[str, Any]:
    """What metrics.json holds, without the seconds. psnr, ssim, lpips are null where nothing is held out."""
    record: dict[str, Any] = {
        "schema": METRICS_SCHEMA,
        "psnr": evaluated.psnr,
        "ssim": evaluated.ssim,
        "lpips": evaluated.lpips,
        "num_splats": evaluated.count,
        "seconds": {},
        "peak_rss_mb": None,
        "steps": evaluated.step,
        "views": {"train": len(scene.train), "test": len(scene.test), **_counted(evaluated.per_view)},
        "per_view": list(evaluated.per_view),
        "cameras": scene.camera_source,
        "device": backend,
        "seed": cfg.train.seed,
        "terms": active_terms(cfg.train.terms),
        "version": package_version(),
    }
    if evaluated.psnr_full is not None:
        record |= {"psnr_full": evaluated.psnr_full, "ssim_full": evaluated.ssim_full}
    return record


def _counted(per_view: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many held-out photos count in the means, where masks leave nothing of some."""
    counted = sum(row["psnr"] is not None for row in per_view)
    return {"test_counted": counted} if counted < len(per_view) else {}


def native_record(
    scene: Scene, render_image: RenderImage, per_view: list[dict[str, Any]], progress: Callable[[float], None]
) -> dict[str, Any]:
    """What metrics.json holds besides where photos were shrunk for training: `psnr_native`, of the held-out photos with
    all their pixels, and in each row of per_view. progress(share done)."""
    values = psnr_native(scene, render_image, progress)
    if values is None:
        return {}
    known = [value for value in values if value is not None]
    rows = [{**row, "psnr_native": value} for row, value in zip(per_view, values, strict=True)]
    return {"psnr_native": math.fsum(known) / len(known) if known else None, "per_view": rows}


def alpha_record(scene: Scene, splats: Splats, backend: str) -> dict[str, Any]:
    """What metrics.json and eval hold besides where photos have alpha: `alpha_error`, of the held-out photos, of the
    training photos where none is held out; and `warnings`, sentences, where it is large."""
    error = alpha_error(scene, splats, backend)
    if error is None:
        return {}
    warning = alpha_warning(error)
    return {"alpha_error": error, **({} if warning is None else {"warnings": [warning]})}


def aligned_record(
    scene: Scene,
    splats: Splats,
    cfg: RunConfig,
    per_view: list[dict[str, Any]],
    lpips: Lpips | None,
    progress: Callable[[float], None],
) -> dict[str, Any]:
    """What metrics.json holds besides where the cameras were estimated: the scores with each held-out camera moved to
    where the frozen splats fit its photo best, as `psnr_aligned` and so on, and in each row of per_view. progress(share
    done)."""
    scores, _ = aligned_scores(scene, splats, fitting_of(scene, cfg.train), lpips, progress)
    names = ("psnr", "ssim", "lpips")
    rows = [
        {**row, **{f"{name}_aligned": moved[name] for name in names if name in moved}}
        for row, moved in zip(per_view, scores.per_view, strict=True)
    ]
    values = {"psnr": scores.psnr, "ssim": scores.ssim, "lpips": scores.lpips}
    return {f"{name}_aligned": value for name, value in values.items()} | {"per_view": rows}


def package_version() -> str:
    try:
        return importlib.metadata.version("sparse3d")
    except importlib.metadata.PackageNotFoundError:
        return "0+source"


def fitting_of(scene: Scene, cfg: TrainConfig) -> Fitting:
    """How held-out cameras are aligned: in the loss that the run trained with."""
    return Fitting(evaluation_background(scene, cfg.background), cfg.ssim_weight, cfg.backend, cfg.threads)

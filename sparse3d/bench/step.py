# SPDX-License-Identifier: Apache-2.0
"""`bench step`: one training step on a stated scene, stage by stage, beside plain torch and the machine's own speed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sparse3d.bench.cloud import bench_splats
from sparse3d.errors import DataError
from sparse3d.kernels import RasterSettings, cpu
from sparse3d.kernels.cpu.arena import Arena
from sparse3d.kernels.cpu.photometric import CpuPhotometric
from sparse3d.kernels.cpu.stages import Rasterizer
from sparse3d.kernels.cpu.step import CpuSplatStep
from sparse3d.kernels.records import AdamHyper, AdamState, OutputGradients, view_of
from sparse3d.kernels.reference.photometric import ReferencePhotometric
from sparse3d.kernels.reference.step import ReferenceSplatStep
from sparse3d.records.scene import Scene
from sparse3d.splats import PARAMETER_NAMES, Splats

STAGES = ("project", "sort", "bin", "blend", "loss", "blend_backward", "finish")
# Above this load other programs share the cores, and a time says little.
LOAD_MAX = 1.5
# A cloud of the peer's density blends at least so many pixel-splat pairs; fewer would be an easier scene.
PAIRS_MIN = {20_000: 15_000_000, 100_000: 30_000_000}
_RATES = {
    "means": 1.6e-4,
    "quats_wxyz": 1e-3,
    "log_scales": 5e-3,
    "logit_opacities": 0.05,
    "sh0": 2.5e-3,
    "shN": 1.25e-4,
}


@dataclass(frozen=True)
class StepBenchConfig:
    """steps are timed after warmup; sh_degree 0 to 4; threads 0 is one for each processor."""

    splats: int = 20_000
    sh_degree: int = 3
    steps: int = 50
    warmup: int = 10
    threads: int = 0
    seed: int = 0
    reference: bool = True


class _Clock:
    """Adds up wall time stage by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = 0.0
        self.reset()

    def reset(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def start(self) -> None:
        self._last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] += now - self._last
        self._last = now


def run(
    scene: Scene, cfg: StepBenchConfig, *, splats: Splats | None = None, workdir: Path | None = None
) -> dict[str, Any]:
    """Times the step over the scene's training views in turn; `splats` replaces the generated cloud.

    Returns step_ms and every stage in ms (means over cfg.steps), visible, pairs (splat-tile), pixel_pairs (inside the
    ellipses) and pixel_pairs_blended (after the early stop), means a view; render_fps; reference_step_ms and ratio;
    gflops, copy_gbytes, load; record and why_not. Raises DataError where the scene gives no points.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if splats is None:
        splats = bench_splats(_points(scene, cfg.seed, workdir), cfg.splats, cfg.sh_degree, cfg.seed)
    clock = _Clock()
    step_on, loss_of = CpuSplatStep(cfg.threads, stage=clock), CpuPhotometric(stage=clock)
    gflops, copy = cpu.module().calibrate_gflops(), cpu.module().calibrate_copy_gbytes()
    views = [_view(scene, i, splats, cfg) for i in scene.train]
    counts = _count_pairs(splats, views)

    total = _timed_steps(step_on, loss_of, clock, splats, views, cfg)
    result: dict[str, Any] = {
        "splats": splats.num_splats,
        "width": views[0][2].width,
        "height": views[0][2].height,
        "sh_degree": views[0][2].sh_degree,
        "views": len(views),
        "simd": cpu.level(),
        "threads": cpu.module().num_threads(),
        "step_ms": 1e3 * total / cfg.steps,
        "stages_ms": {name: 1e3 * s / cfg.steps for name, s in clock.seconds.items()},
        **counts,
        "render_fps": _frames_per_second(step_on, splats, views, cfg.steps),
        "workspace_mb": (step_on.nbytes() + loss_of.nbytes()) / 1e6,
        "gflops": gflops,
        "copy_gbytes_s": copy,
        "load": load,
    }
    if cfg.reference:
        result["reference_step_ms"] = _reference_ms(splats, views[0])
        result["ratio"] = result["reference_step_ms"] / result["step_ms"]
    result["record"], result["why_not"] = _is_record(result)
    return result


def _points(scene: Scene, seed: int, workdir: Path | None):
    from sparse3d.start.points import initial_points

    points, _ = initial_points(scene, workdir=workdir, seed=seed)
    if len(points) < 4:
        raise DataError(f"bench step: {scene.root} gives {len(points)} points, too few to make a cloud of")
    return points


def _view(scene: Scene, index: int, splats: Splats, cfg: StepBenchConfig):
    camera = scene.cameras[index]
    settings = RasterSettings(
        camera.width, camera.height, min(cfg.sh_degree, splats.sh_degree), antialias=splats.antialias
    )
    return view_of(camera), scene.images[index], settings


def _count_pairs(splats: Splats, views: list) -> dict[str, float]:
    """Means a view of what a step has to do, counted in a slower pass of the same kernel."""
    params = [dict(splats.named())[name] for name in PARAMETER_NAMES]
    visible = pairs = inside = blended = 0
    for view, _, settings in views:
        tiles = -(-settings.width // 16) * -(-settings.height // 16)
        counts = torch.zeros(2 * tiles * 8, dtype=torch.uint8)
        rasterizer = Rasterizer(Arena())
        done = rasterizer.forward(params, view, torch.zeros(3), settings, count_pixels=counts)
        table = counts.view(torch.int64).view(-1, 2).numpy().sum(axis=0)
        visible, pairs = visible + done.visible, pairs + done.num_pairs
        inside, blended = inside + int(table[0]), blended + int(table[1])
    n = len(views)
    return {"visible": visible / n, "pairs": pairs / n, "pixel_pairs": inside / n, "pixel_pairs_blended": blended / n}


def _timed_steps(
    step_on: CpuSplatStep, loss_of: CpuPhotometric, clock: _Clock, splats: Splats, views: list, cfg: StepBenchConfig
) -> float:
    """Seconds of cfg.steps steps over the views in turn, after the warm-up; `clock` has the same steps by stage."""
    params = dict(splats.clone().named())
    adam = AdamState.zeros(params)
    hyper = AdamHyper(lr=_RATES)
    background = torch.zeros(3)
    clock.reset()
    total = 0.0
    for step in range(cfg.warmup + cfg.steps):
        view, target, settings = views[step % len(views)]
        if step == cfg.warmup:
            clock.reset()
        began = time.perf_counter()
        clock.start()
        rendering = step_on.render(params, view, background, settings)
        found = loss_of(rendering.image, target, None, 0.2)
        step_on.backward_adam(params, adam, hyper, OutputGradients(found.v_image))
        if step >= cfg.warmup:
            total += time.perf_counter() - began
    return total


def _frames_per_second(step_on: CpuSplatStep, splats: Splats, views: list, frames: int) -> float:
    params, background = dict(splats.named()), torch.zeros(3)
    began = time.perf_counter()
    for i in range(frames):
        view, _, settings = views[i % len(views)]
        step_on.render(params, view, background, settings)
    return frames / (time.perf_counter() - began)


def _reference_ms(splats: Splats, view: tuple) -> float:
    """One step of the plain-torch reference on the same view."""
    camera, target, settings = view
    params = dict(splats.clone().named())
    adam = AdamState.zeros(params)
    step, loss_of = ReferenceSplatStep(), ReferencePhotometric()
    began = time.perf_counter()
    rendering = step.render(params, camera, torch.zeros(3), settings)
    found = loss_of(rendering.image, target, None, 0.2)
    step.backward_adam(params, adam, AdamHyper(lr=_RATES), OutputGradients(found.v_image))
    return 1e3 * (time.perf_counter() - began)


def _is_record(result: dict[str, Any]) -> tuple[bool, str]:
    if result["load"] > LOAD_MAX:
        return False, f"the load average was {result['load']:.2f}, above {LOAD_MAX}: other programs shared the cores"
    least = PAIRS_MIN.get(result["splats"])
    if least is not None and result["pixel_pairs_blended"] < least:
        found = result["pixel_pairs_blended"] / 1e6
        return False, f"the scene blends {found:.1f} million pixel-splat pairs, below {least / 1e6:.0f} million"
    return True, ""

# SPDX-License-Identifier: Apache-2.0
"""A training in a process of its own that kills itself with SIGKILL at a stated moment.

python -m tests.train.kill_worker PHOTOS RUN WHAT never | step:N | before-rename:N | after-rename:N

WHAT: a density policy of splats, or points for the grid of tests.train.point_grid.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from sparse3d.train.checkpoint import exists
from sparse3d.train.config import CameraOptConfig, DensityConfig, ExposureConfig, ScheduleConfig, TrainConfig
from sparse3d.train.events import Stepped
from sparse3d.train.loop import train
from sparse3d.train.run_folder import open_run
from sparse3d.train.splats.trainee import SplatsFrom
from tests.train import tiny
from tests.train.point_grid import PointGrid

CONFIG = TrainConfig(
    steps=60,
    sh_degree=1,
    background="random",
    checkpoint_every=8,
    report_every=1,
    threads=1,
    schedule=ScheduleConfig(half_size_until=0.3, min_side_px=16),
    density=DensityConfig(cap=400, grad_threshold=2e-4, opacity_control="decay"),
    exposure=ExposureConfig(enabled=True),
    camera_opt=CameraOptConfig(enabled="on", start=0.2),
)


def config(policy: str) -> TrainConfig:
    return replace(CONFIG, density=replace(CONFIG.density, policy=policy))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_rename(number: int, *, after: bool) -> None:
    """Every file of a run becomes current by os.replace: die just before or after the N-th one."""
    replace_file, count = os.replace, 0

    def counted(source: str, target: str) -> None:
        nonlocal count
        count += 1
        if count == number and not after:
            die()
        replace_file(source, target)
        if count == number:
            die()

    os.replace = counted  # type: ignore[assignment]


def main(photos: Path, out: Path, what: str, moment: str) -> None:
    kind, _, number = moment.partition(":")
    if kind.endswith("rename"):
        die_at_rename(int(number), after=kind.startswith("after"))
    make, cfg = (PointGrid, CONFIG) if what == "points" else (SplatsFrom(tiny.initial()), config(what))
    resume = out.is_dir() and exists(out)
    with open_run(out, resume=resume, overwrite=not resume) as folder:
        for event in train(tiny.scene(photos), make, cfg, folder, resume=resume):
            if kind == "step" and isinstance(event, Stepped) and event.step == int(number):
                die()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])

# SPDX-License-Identifier: Apache-2.0
"""What a page shows: a file of splats, a finished run, or a run of another process by its checkpoints; read only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparse3d import formats
from sparse3d.camera import Camera
from sparse3d.compress.prune import finite_rows
from sparse3d.errors import DataError
from sparse3d.export.first_view import FirstView, first_view
from sparse3d.live import Slot
from sparse3d.render.camera_file import NamedCamera
from sparse3d.render.camera_path import cameras_around
from sparse3d.runs.finished import FinishedRun, cameras_beside, is_run, splat_file
from sparse3d.runs.support_file import read_support
from sparse3d.splats import PARAMETER_NAMES, Splats
from sparse3d.train import checkpoint as checkpoints

# The page draws the scene so large that depths as far as 16 times its size keep their place (viser's end at 167).
PAGE_SIZE = 10.0
_SUPPORT = "support.safetensors"


@dataclass(frozen=True)
class Shown:
    """splats as they are now; support [N] by how many training photos, where it is known; step of the training, None
    for what is finished."""

    splats: Splats
    support: Tensor | None = None
    step: int | None = None


@dataclass(frozen=True)
class Subject:
    """path: what the user named. run: the run it belongs to, or None. cameras: of its photos. home: the first view.
    size: of the scene, world units. notes: sentences for the user. follows: the run is not finished."""

    path: Path
    shown: Slot[Shown]
    run: FinishedRun | None
    cameras: tuple[NamedCamera, ...]
    home: FirstView
    size: float
    follows: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def scale(self) -> float:
        """Units of the page in one unit of the splats' world."""
        return PAGE_SIZE / self.size

    @property
    def now(self) -> Shown:
        value, _ = self.shown.get()
        assert value is not None, "a subject is opened with its splats"
        return value


def open_subject(path: Path, *, drop_invalid: bool = False) -> Subject:
    """Read a file, the folder of a run or of splats. Raises DataError where there is nothing to show (yet)."""
    run = FinishedRun.open(path) if is_run(path) else None
    follows = run is not None and not run.has_splats
    notes: list[str] = []
    if follows:
        if not checkpoints.exists(path):
            raise DataError(f"{path}: the run has no checkpoint yet; try again when the training has saved one")
        first = shown_of_checkpoint(path)
        notes.append("This run is not finished: the page follows its checkpoints and changes nothing.")
    else:
        splats, left_out = formats.read_with_notes(splat_file(path), drop_invalid=drop_invalid)
        notes += [f"Note: {note}." for note in left_out]
        first = Shown(splats, _support_of(run, splats))
    cameras = tuple(cameras_beside(path)) if path.is_dir() or run is not None else ()
    if first.splats.num_splats == 0 or not bool(finite_rows(first.splats).any()):
        raise DataError(f"{path}: holds no splat that can be shown")
    poses = [named.camera for named in cameras if named.split == "train"] or [named.camera for named in cameras]
    poses = poses or cameras_around(first.splats.means.double().numpy())
    slot: Slot[Shown] = Slot()
    slot.put(first)
    home = first_view(first.splats, poses)
    return Subject(path, slot, run, cameras, home, _size(first.splats, poses, home), follows, tuple(notes))


def shown_of_checkpoint(folder: Path) -> Shown:
    """The splats of a run's checkpoint. Raises DataError where it cannot be read."""
    found: Any = checkpoints.load(folder)
    try:
        params = {name: found.tensors[f"params.{name}"] for name in PARAMETER_NAMES}
    except KeyError:
        raise DataError(f"{folder}: its checkpoint holds no splats that the viewer knows") from None
    return Shown(Splats(**params, antialias=bool(found.state.get("antialias", False))), None, int(found.step))


def _support_of(run: FinishedRun | None, splats: Splats) -> Tensor | None:
    if run is None or not (run.path / _SUPPORT).is_file():
        return None
    support = read_support(run.path / _SUPPORT)
    return support if len(support) == splats.num_splats else None


def _size(splats: Splats, cameras: list[Camera], home: FirstView) -> float:
    """The distance from the first view's target within which half the splats lie, or its camera if that is farther."""
    target = torch.tensor(home.camera.target, dtype=torch.float64)
    away = (splats.means.double() - target).norm(dim=1).numpy()
    away = away[np.isfinite(away)]
    from_camera = float(np.linalg.norm(np.array(home.camera.position) - np.array(home.camera.target)))
    return max(float(np.median(away)), from_camera, 1e-6)

# SPDX-License-Identifier: Apache-2.0
"""A second representation, as small as one can be: a grid of coloured points in a box around the origin.

A pixel is the mean colour of the grid points nearest to samples along its ray; samples outside of the box show the
background. So a picture is linear in the colours, and which of them it shows depends on the camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.formats.tensor_file import write_tensors
from sparse3d.kernels.records import View, view_of
from sparse3d.train.events import Densified, Event
from sparse3d.train.shots import Shot
from sparse3d.train.trainee import Trainee, TraineeSetup

# Points along an axis at first; they are doubled after the middle of the run.
SIDE = 4
_SAMPLES, _REACH, _RATE = 16, 1.4, 0.05


class Seen(NamedTuple):
    image: Tensor
    alpha: Tensor
    depth: Tensor | None = None


class PointGrid(Trainee):
    """Colours [side^3,3] of the box from -1 to 1, grey at first, trained by Adam."""

    counted = "points"
    backend = "numpy"

    def __init__(self, setup: TraineeSetup) -> None:
        self._steps, self._noise = setup.cfg.steps, setup.generators["noise"]
        self.colours = torch.full((SIDE**3, 3), 0.5)
        self._m, self._v, self._updates = torch.zeros(SIDE**3, 3), torch.zeros(SIDE**3, 3), 0
        self._rows = np.zeros((0, 0, 0), np.int64)

    @property
    def count(self) -> int:
        return len(self.colours)

    @property
    def side(self) -> int:
        return round(self.count ** (1 / 3))

    def render(self, shot: Shot) -> Seen:
        # Samples at other places in each step.
        offset = float(torch.rand(1, generator=self._noise))
        self._rows = _nearest(shot.view, self.side, offset)
        return self._picture(self._rows, shot.background)

    def step(self, shot: Shot, v_image: Tensor) -> None:
        del shot
        rows, v = self._rows.ravel(), v_image.double().numpy().reshape(-1, 3) / _SAMPLES
        share = np.repeat(v, _SAMPLES, axis=0)
        # One thread, in the order of the samples; the last row is the background's.
        sums = [np.bincount(rows, share[:, c], minlength=self.count + 1)[:-1] for c in range(3)]
        gradient = torch.from_numpy(np.stack(sums, axis=1).astype(np.float32))
        self._updates += 1
        self._m = 0.9 * self._m + 0.1 * gradient
        self._v = 0.99 * self._v + 0.01 * gradient * gradient
        mean, square = self._m / (1 - 0.9**self._updates), self._v / (1 - 0.99**self._updates)
        self.colours = self.colours - _RATE * mean / (square.sqrt() + 1e-12)

    def refine(self, shot: Shot) -> list[Event]:
        if shot.number != self._steps // 2 + 1:
            return []
        before, side = self.count, self.side
        self.colours, self._m, self._v = (_doubled(table, side) for table in (self.colours, self._m, self._v))
        return [Densified(shot.number, self.count, self.counted, self.count - before, 0, 0)]

    def check(self) -> str | None:
        bad = torch.nonzero(~torch.isfinite(self.colours).all(dim=1))[:, 0]
        return f"the colour of point {int(bad[0])} is not finite" if len(bad) else None

    def dump(self, path: Path, shot: Shot, reason: str) -> None:
        write_tensors(path, {"colours": self.colours}, {"kind": "points", "step": shot.number, "reason": reason})

    def picture(self, camera: Camera, background: Tensor) -> Tensor:
        return self._picture(_nearest(view_of(camera), self.side, 0.5), background).image

    def snapshot(self) -> Tensor:
        return self.colours.clone()

    def tensors(self) -> dict[str, Tensor]:
        return {"colours": self.colours, "m": self._m, "v": self._v}

    def state(self) -> dict[str, Any]:
        return {"updates": self._updates}

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        self.colours, self._m, self._v = (tensors[name] for name in ("colours", "m", "v"))
        self._updates = int(state["updates"])

    def details(self) -> dict[str, float]:
        return {"side": self.side}

    def _picture(self, rows: NDArray[np.int64], background: Tensor) -> Seen:
        table = np.concatenate([self.colours.numpy(), background.numpy()[None]])
        image = table[rows].mean(axis=2)
        inside = (rows < self.count).mean(axis=2, dtype=np.float32)
        return Seen(torch.from_numpy(image), torch.from_numpy(inside))


def _nearest(view: View, side: int, offset: float) -> NDArray[np.int64]:
    """[H,W,samples] row of the grid point nearest to each sample of each pixel's ray; side^3 outside of the box."""
    pose, (fx, fy, cx, cy) = view.cam_from_world.double().numpy(), view.intrinsics.double().tolist()
    x, y = (np.arange(view.width) + 0.5 - cx) / fx, (np.arange(view.height) + 0.5 - cy) / fy
    ray = np.stack([*np.meshgrid(x, y), np.ones((view.height, view.width))], axis=2)
    ray = (ray / np.linalg.norm(ray, axis=2, keepdims=True)) @ pose[:3, :3]
    centre = -pose[:3, :3].T @ pose[:3, 3]
    distance = np.linalg.norm(centre) + _REACH * (2 * (np.arange(_SAMPLES) + offset) / _SAMPLES - 1)
    places = centre + ray[:, :, None] * distance[:, None]
    cell = np.floor((places + 1) / 2 * side).astype(np.int64)
    rows = (cell[..., 0] * side + cell[..., 1]) * side + cell[..., 2]
    return np.where(((cell >= 0) & (cell < side)).all(axis=3), rows, side**3)


def _doubled(table: Tensor, side: int) -> Tensor:
    """[(2 side)^3,3]: eight points in the place of each."""
    grid = table.view(side, side, side, 3)
    for axis in range(3):
        grid = grid.repeat_interleave(2, dim=axis)
    return grid.reshape(-1, 3)

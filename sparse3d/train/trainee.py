# SPDX-License-Identifier: Apache-2.0
"""The border between the loop and what it trains.

The loop knows photos and time; a trainee knows parameters. The loop asks for a picture, compares it with a photo, and
gives the gradients of the comparison back.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.errors import UsageError
from sparse3d.kernels.step import StepRendering
from sparse3d.records.scene import Scene
from sparse3d.train.commands import Command
from sparse3d.train.config import TrainConfig
from sparse3d.train.events import Event
from sparse3d.train.shots import Shot, TrainingPhotos


@dataclass(frozen=True)
class TraineeSetup:
    """What a trainee is made with. photos: the loop's own, with cameras and exposures as they are learned. generators:
    the loop's too ("noise" for density control, "terms" for training terms), kept in its checkpoint."""

    scene: Scene
    cfg: TrainConfig
    photos: TrainingPhotos
    generators: Mapping[str, torch.Generator]


class Trainee(abc.ABC):
    """What one run trains. The calls of a step come in the order render, step, refine; then check, where it is due.

    counted: what `count` counts, in the plural ("splats"). backend: the name that its kernels run under.
    """

    counted: str
    backend: str

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """Size of the representation."""

    @abc.abstractmethod
    def render(self, shot: Shot) -> StepRendering:
        """The shot's view over its background; the result is valid until the next rendering."""

    @abc.abstractmethod
    def step(self, shot: Shot, v_image: Tensor) -> Tensor | None:
        """Update the parameters from the gradient [H,W,3] of the loss to the rendered image; the gradient [3,4] to the
        [R | t] of cam_from_world where `shot.wants_pose`."""

    @abc.abstractmethod
    def refine(self, shot: Shot) -> Sequence[Event]:
        """What is due after the step: adding, moving, removing. An event for each change."""

    @abc.abstractmethod
    def check(self) -> str | None:
        """What is wrong with the first bad parameter ("log_scales of splat 12 is nan"), None where all are sound."""

    @abc.abstractmethod
    def dump(self, path: Path, shot: Shot, reason: str) -> None:
        """Write the inputs of the last step to a file for `sparse3d replay`. Raises DiskFullError."""

    @abc.abstractmethod
    def picture(self, camera: Camera, background: Tensor) -> Tensor:
        """The image [H,W,3] of a camera over `background` [3], in a buffer that the next rendering reuses. Changes
        nothing that training reads."""

    @abc.abstractmethod
    def snapshot(self) -> Any:
        """A copy of the representation for readers."""

    @abc.abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Everything for the checkpoint that is a tensor."""

    @abc.abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything else for the checkpoint: what JSON holds."""

    @abc.abstractmethod
    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Take back what `tensors` and `state` gave. Raises KeyError for what is missing."""

    @property
    def changes(self) -> int:
        """How often parts were added, removed or moved since this trainee was made: what a selection names, so that
        `obey` finds its parts again. 0 where selections never age."""
        return 0

    def remember(self) -> None:
        """Called before the first step of a run that takes commands: selections will be made."""
        return

    def obey(self, command: Command) -> str:
        """Do what was asked between two steps; a sentence that says what was done. What it changes belongs to `tensors`
        and `state`. Raises UsageError that says why not, and nothing has changed."""
        raise UsageError(f"a run on {self.counted} does not know the command {command.name!r}; it goes on as it was")

    def details(self) -> dict[str, float]:
        """Numbers for a report of progress beside loss and count."""
        return {}


MakeTrainee = Callable[[TraineeSetup], Trainee]

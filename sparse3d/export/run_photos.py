# SPDX-License-Identifier: Apache-2.0
"""The photos, cameras and settings of a finished run, opened again to measure and to train on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.compress.importance import Importance, Measuring, importance
from sparse3d.judge.background import evaluation_background
from sparse3d.judge.evaluate import Scores, evaluate, image_renderer
from sparse3d.records.scene import Scene
from sparse3d.runs.finished import FinishedRun
from sparse3d.splats import Splats
from sparse3d.train.config import TrainConfig


@dataclass(frozen=True)
class RunPhotos:
    """A run's scene, with its training cameras as the run refined them; its training settings; and what it learned
    beside the splats (exposures), by name."""

    scene: Scene
    train: TrainConfig
    parts: Mapping[str, Tensor]

    @property
    def cameras(self) -> list[Camera]:
        """Of the training photos."""
        return [self.scene.cameras[i] for i in self.scene.train]

    @property
    def background(self) -> Tensor:
        """[3] the colour that the run's pictures are compared over."""
        return evaluation_background(self.scene, self.train.background)

    def scores(self, splats: Splats, indices: Sequence[int] | None = None) -> Scores:
        """`splats` compared with the photos at `indices` (default: those held out), as the trainer does."""
        render_image = image_renderer(splats, self.background, self.train.backend)
        return evaluate(self.scene, self.scene.test if indices is None else indices, render_image)

    def importance(
        self, splats: Splats, *, fisher: bool = False, seed: int = 0, progress: Callable[[float], None] | None = None
    ) -> Importance:
        """Of `splats` in the training photos' views; masked pixels do not count where the run left them out."""
        masks = None
        if self.scene.has_masks and self.train.masks == "loss":
            masks = [self.scene.images.mask(i) for i in self.scene.train]
        how = Measuring(
            self.background, _probes(len(self.scene.train)), fisher, seed,
            None if self.train.backend == "auto" else self.train.backend, progress,
        )  # fmt: skip
        return importance(splats, self.cameras, how, masks=masks)


def _probes(views: int) -> int:
    """Random probes a view: about 80 in all for few photos, 2 for many."""
    return max(2, min(16, 80 // max(views, 1)))


@contextlib.contextmanager
def open_run_photos(run: FinishedRun, scene: Path | None = None) -> Iterator[RunPhotos]:
    """The photos of a run; `scene`: where they are now, if not where they were. No photo is decoded yet. Raises as
    `FinishedRun.scene`."""
    with run.scene(scene) as loaded:
        yield RunPhotos(loaded, run.config.train, run.learned)

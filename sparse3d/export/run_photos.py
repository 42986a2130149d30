# SPDX-License-Identifier: Apache-2.0
"""The photos, cameras and settings of a finished run, opened again to measure and to train on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.compress.importance import Importance, importance
from sparse3d.errors import DataError
from sparse3d.judge.background import evaluation_background
from sparse3d.judge.evaluate import Scores, evaluate, image_renderer
from sparse3d.load.scene import load_scene
from sparse3d.records.scene import Scene
from sparse3d.runs.config import RunConfig, read_run_config
from sparse3d.splats import Splats
from sparse3d.train import checkpoint as checkpoints
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
        return evaluation_background(self.scene, self.train)

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
        return importance(
            splats, self.cameras, masks=masks, background=self.background, probes=_probes(len(self.scene.train)),
            fisher=fisher, seed=seed, backend=None if self.train.backend == "auto" else self.train.backend,
            progress=progress,
        )  # fmt: skip


def _probes(views: int) -> int:
    """Random probes a view: about 80 in all for few photos, 2 for many."""
    return max(2, min(16, 80 // max(views, 1)))


@contextlib.contextmanager
def open_run_photos(run: Path, scene: Path | None = None) -> Iterator[RunPhotos]:
    """The photos of the run folder `run`; `scene`: where they are now, if not where they were. No photo is decoded yet.

    Raises DataError where the folder is no run or the scene is not there, and as `load_scene` does.
    """
    if not (run / "config.toml").is_file():
        raise DataError(f"{run}: is not the folder of a run (no config.toml)")
    cfg: RunConfig = read_run_config(run)
    path = Path(cfg.scene_path) if scene is None else scene
    if not path.exists():
        raise DataError(f"{path}: the run's scene is not there any more; say with --scene where it is")
    loaded = load_scene(path, cfg.scene, workdir=run)
    try:
        parts = checkpoints.load(run).extra if checkpoints.exists(run) else {}
        yield RunPhotos(_refined(loaded, parts), cfg.train, parts)
    finally:
        loaded.images.close()


def _refined(scene: Scene, parts: Mapping[str, Tensor]) -> Scene:
    """The scene with the training cameras' poses that the run has learned, where it has."""
    if "cameras.poses" not in parts:
        return scene
    poses = parts["cameras.poses"].numpy()
    if len(poses) != len(scene.train):
        raise DataError(
            f"{scene.root}: the run refined {len(poses)} cameras, the scene now has {len(scene.train)} training "
            "photos; restore the photos"
        )
    cameras = list(scene.cameras)
    for index, pose in zip(scene.train, poses, strict=True):
        cameras[index] = replace(cameras[index], cam_from_world=pose)
    return replace(scene, cameras=tuple(cameras))

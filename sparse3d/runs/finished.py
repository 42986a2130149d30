# SPDX-License-Identifier: Apache-2.0
"""A finished run, opened again: the one door to its settings, splats, cameras, scene, metrics and what it learned."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparse3d import formats
from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.formats.folder import find_folder_format
from sparse3d.load.config import SceneConfig
from sparse3d.load.scene import load_scene
from sparse3d.records.scene import Scene
from sparse3d.render.camera_file import NamedCamera, read_camera_file
from sparse3d.runs.config import RunConfig, read_run_config
from sparse3d.splats import Splats
from sparse3d.train import checkpoint as checkpoints

Progress = Callable[[str, float], None]
_CONFIG, _SPLATS, _CAMERAS, _METRICS = "config.toml", "splat.ply", "cameras.json", "metrics.json"


@dataclass(frozen=True)
class FinishedRun:
    """What a run folder holds; each part is read when it is first asked for, and DataError says what is missing."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> FinishedRun:
        """Raises DataError where `path` is not the folder of a run."""
        if not is_run(path):
            raise DataError(f"{path}: is not the folder of a run (no {_CONFIG})")
        return cls(path)

    @cached_property
    def config(self) -> RunConfig:
        """Raises UsageError for settings of another version."""
        return read_run_config(self.path)

    def with_loading(self, scene: SceneConfig) -> FinishedRun:
        """The same run, its photos loaded with other settings."""
        other = FinishedRun(self.path)
        other.__dict__["config"] = replace(self.config, scene=scene)
        return other

    @property
    def has_splats(self) -> bool:
        return (self.path / _SPLATS).is_file()

    @property
    def splat_file(self) -> Path:
        file = self.path / _SPLATS
        if not file.is_file():
            raise DataError(
                f"{self.path}: this run has no {_SPLATS} yet; finish it first (train --out {self.path} --resume)"
            )
        return file

    @cached_property
    def splats(self) -> Splats:
        """As in the file: in the scene's own units, about the run's origin. `frame` of `scene()` leads to its
        cameras."""
        return formats.read(self.splat_file)

    @cached_property
    def metrics(self) -> dict[str, Any] | None:
        """None where the run has not come to its end."""
        return read_json(self.path / _METRICS)

    @cached_property
    def named_cameras(self) -> list[NamedCamera]:
        """Every photo's camera as the run left it, with its split; empty where the run has not written them yet."""
        file = self.path / _CAMERAS
        return read_camera_file(file) if file.is_file() else []

    @property
    def cameras(self) -> list[Camera]:
        """Of the training photos, else of all; in the frame of `splats`."""
        named = self.named_cameras
        return [item.camera for item in named if item.split == "train"] or [item.camera for item in named]

    @cached_property
    def learned(self) -> Mapping[str, Tensor]:
        """What the run learned beside what it trained, by name: "exposure.values", "cameras.poses"."""
        return checkpoints.load(self.path).extra if checkpoints.exists(self.path) else {}

    @contextlib.contextmanager
    def scene(
        self, moved: Path | None = None, progress: Progress | None = None, *, refined: bool = True
    ) -> Iterator[Scene]:
        """The photos with the training cameras as the run refined them (refined), or as it got them; no photo is
        decoded yet, and all are let go at the end. moved: where they are now, if not where they were. Raises DataError
        where they are not there or others than the run had, and as `load_scene` does."""
        path = Path(self.config.scene_path) if moved is None else moved
        if not path.exists():
            raise DataError(f"{path}: the run's scene is not there any more; say with --scene where it is")
        loaded = load_scene(path, self.config.scene, progress=progress, workdir=self.path)
        try:
            poses = self.learned.get("cameras.poses") if refined else None
            yield loaded if poses is None else with_poses(loaded, poses.numpy())
        finally:
            loaded.images.close()


def is_run(path: Path) -> bool:
    return (path / _CONFIG).is_file()


def splat_file(path: Path) -> Path:
    """The file of splats that `path` means: a run's, a file, or the folder of one (SOG). Raises DataError for a folder
    that is neither."""
    if is_run(path):
        return FinishedRun(path).splat_file
    if path.is_dir() and (path / _SPLATS).is_file():
        return path / _SPLATS
    if path.is_dir() and find_folder_format(path) is None:
        raise DataError(
            f"{path}: is neither the folder of a run (no {_CONFIG}) nor of splats (no meta.json); give one of these "
            "or a file of splats"
        )
    return path


def cameras_beside(path: Path) -> list[NamedCamera]:
    """The cameras that a run, or a folder beside a file of splats, keeps; empty where there are none."""
    return FinishedRun(path if path.is_dir() else path.parent).named_cameras


def with_poses(scene: Scene, poses: NDArray[np.float64]) -> Scene:
    """The scene with its training cameras at `poses` [V,4,4]. Raises DataError where these are of other photos."""
    if len(poses) != len(scene.train):
        raise DataError(
            f"{scene.root}: the run refined {len(poses)} cameras, the scene now has {len(scene.train)} training "
            "photos; restore the photos"
        )
    cameras = list(scene.cameras)
    for index, pose in zip(scene.train, poses, strict=True):
        cameras[index] = replace(cameras[index], cam_from_world=pose)
    return replace(scene, cameras=tuple(cameras))


def read_json(path: Path) -> dict[str, Any] | None:
    """None where there is no such file. Raises DataError where it cannot be read."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None

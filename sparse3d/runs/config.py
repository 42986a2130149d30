# SPDX-License-Identifier: Apache-2.0
"""Everything a run depends on, and where it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sparse3d import config as configs
from sparse3d.load.config import SceneConfig
from sparse3d.train.config import TrainConfig


@dataclass(frozen=True)
class RunConfig:
    """Everything a run depends on, as it stands in the run folder's config.toml."""

    scene_path: str = ""
    """Folder, transforms.json or video of the scene."""
    preset: str = "default"
    """Name of the preset whose values lie under those given by hand."""
    scene: SceneConfig = field(default_factory=SceneConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    few_views: Literal["auto", "on", "off"] = "auto"
    """Whether configs/few_views.toml comes over the preset: auto where 12 photos or fewer train."""
    given: tuple[str, ...] = ()
    """Dotted names of settings that were given by hand although they are the preset's; few_views leaves them alone."""
    few_views_applied: bool = False
    """The values of configs/few_views.toml are in this record already; set by the run once it has counted photos."""


def read_run_config(run: Path) -> RunConfig:
    """The settings of a run folder. Raises UsageError where they are missing or of another version."""
    return configs.resolve(RunConfig(), [configs.read_layer(run / "config.toml")])

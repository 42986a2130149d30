# SPDX-License-Identifier: Apache-2.0
"""Everything a run depends on, and where it is stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sparse3d import config as configs
from sparse3d.config import Layer
from sparse3d.errors import UsageError
from sparse3d.load.config import SceneConfig
from sparse3d.start.config import StartConfig
from sparse3d.train.config import TrainConfig
from sparse3d.train.splats.terms.config import split_gone_terms


@dataclass(frozen=True)
class RunConfig:
    """Everything a run depends on, as it stands in the run folder's config.toml."""

    scene_path: str = ""
    """Folder, transforms.json or video of the scene."""
    preset: str = "default"
    """Name of the preset whose values lie under those given by hand."""
    scene: SceneConfig = field(default_factory=SceneConfig)
    start: StartConfig = field(default_factory=StartConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    few_views: Literal["auto", "on", "off"] = "auto"
    """Whether configs/few_views.toml comes over the preset: auto where 12 photos or fewer train."""
    given: tuple[str, ...] = ()
    """Dotted names of settings that were given by hand although they are the preset's; few_views leaves them alone."""
    few_views_applied: bool = False
    """The values of configs/few_views.toml are in this record already; set by the run once it has counted photos."""
    minutes: float | None = None
    """Choose steps and size of the photos so that the run takes about this long here; once, at its start."""
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """The place in the scene's world that cameras and splats of the run's files are counted from; set by the run."""


def read_run_config(run: Path) -> RunConfig:
    """The settings of a run folder. Raises UsageError where they are missing, or of a version with settings that this
    one lacks."""
    layer = configs.read_layer(run / "config.toml")
    return configs.resolve(RunConfig(), [Layer(layer.source, _of_today(layer.values, layer.source))])


def _of_today(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Stored values as this version names them. Raises UsageError for a training term that it no longer has."""
    out: dict[str, Any] = {key: dict(v) if isinstance(v, Mapping) else v for key, v in values.items()}
    scene = out.get("scene", {})
    moved = {f.name: scene.pop(f.name) for f in dataclasses.fields(StartConfig) if f.name in scene}
    if moved:
        out["start"] = {**moved, **out.get("start", {})}
    train = out.get("train", {})
    terms, used = split_gone_terms(train.get("terms", {}))
    if used:
        raise UsageError(
            f"{source}: the run was trained with {', '.join(used)}, which this version no longer has; use the version "
            "that made it, or train again"
        )
    if "terms" in train:
        train["terms"] = terms
    return out

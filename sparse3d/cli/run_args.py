# SPDX-License-Identifier: Apache-2.0
"""The options that every training command has: all fields of the scene's and the training's settings.

tyro builds options from dataclass fields. Both settings have a `seed` and a `background`; the subclasses here give the
second of each another name or none, so that the lower layers need not know of a command line.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from sparse3d import config as configs
from sparse3d.cli.parse import parse
from sparse3d.config import Layer
from sparse3d.errors import UsageError
from sparse3d.load.config import SceneConfig
from sparse3d.runs.config import RunConfig
from sparse3d.train.config import TrainConfig


@dataclass(frozen=True)
class SceneArgs(SceneConfig):
    """Scene loading; --seed is that of training."""

    seed: tyro.conf.Suppress[int] = 0


@dataclass(frozen=True)
class TrainArgs(TrainConfig):
    """Training."""

    background: Annotated[
        Literal["auto", "black", "white", "random", "mean"], tyro.conf.arg(name="train-background")
    ] = TrainConfig.background  # fmt: skip
    """Colour behind the splats in training. auto: black. random: another each step, where masks make it known. mean:
    the photos' mean colour, where nothing in them is transparent or masked."""


@dataclass(frozen=True)
class RunArgs:
    """What a run is made of."""

    scene: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SCENE")]
    """Folder of photos or of a scene, transforms.json, or a video."""
    preset: str = "default"
    """fast, default or quality: how much effort. Values given by hand win over it."""
    few_views: Literal["auto", "on", "off"] = "auto"
    """Add the settings for few photos over the preset: auto does so for 12 training photos or fewer."""
    given: tyro.conf.Suppress[tuple[str, ...]] = ()
    few_views_applied: tyro.conf.Suppress[bool] = False
    load: Annotated[SceneArgs, tyro.conf.arg(name="")] = field(default_factory=SceneArgs)
    """Scene loading."""
    train: Annotated[TrainArgs, tyro.conf.arg(name="")] = field(default_factory=TrainArgs)
    """Training."""


R = TypeVar("R", bound=RunArgs)


def with_layers(kind: type[R], words: Sequence[str]) -> R:
    """The values that lie under those given by hand: defaults, then the preset that the words name, or, with --resume,
    what is stored in the run folder (then the scene need not be given again)."""
    out = _value_of("--out", words)
    if "--resume" in words and out is not None and (Path(out) / "config.toml").is_file():
        base = configs.resolve(RunConfig(), [configs.read_layer(Path(out) / "config.toml")])
        asked = _value_of("--preset", words)
        if asked is not None and asked != base.preset:
            raise UsageError(
                f"--preset {asked}: the run in {out} began with {base.preset}; leave the option out to go on"
            )
    else:
        preset = _value_of("--preset", words) or "default"
        base = configs.resolve(RunConfig(), [configs.preset(preset), Layer("preset", {"preset": preset})])
    return kind(
        scene=Path(base.scene_path) if base.scene_path else tyro.MISSING,
        preset=base.preset,
        few_views=base.few_views,
        given=base.given,
        few_views_applied=base.few_views_applied,
        load=SceneArgs(**_fields(base.scene)),
        train=TrainArgs(**_fields(base.train)),
    )


def parse_run(kind: type[R], words: Sequence[str], *, prog: str, base: R | None = None) -> R:
    """`words` over `base` (default: `with_layers`), with `given` naming what was given by hand of the settings that
    --few-views changes: seen by parsing twice, over the preset and over the preset with those settings."""
    base = with_layers(kind, words) if base is None else base
    args = parse(kind, words, prog=prog, default=base)
    layer = configs.few_views().values["train"]
    few = configs.resolve(base.train, [Layer("few_views", layer)])
    again = parse(kind, words, prog=prog, default=dataclasses.replace(base, train=few))
    below, above = configs.to_dict(base.train), configs.to_dict(few)
    one, other = configs.to_dict(args.train), configs.to_dict(again.train)
    by_hand = [
        f"train.{name}"
        for name in configs.leaves(layer)
        if configs.at(below, name) != configs.at(above, name) and configs.at(one, name) == configs.at(other, name)
    ]
    return dataclasses.replace(args, given=(*base.given, *(name for name in by_hand if name not in base.given)))


def run_config(args: RunArgs) -> RunConfig:
    """The settings as the trainer takes them."""
    # Absolute, so that `eval` finds scene and priors from any folder; links stay as they were given.
    given = {name: v.absolute() if isinstance(v, Path) else v for name, v in _fields(args.load).items()}
    scene = SceneConfig(**{**given, "seed": args.train.seed})
    train = TrainConfig(**_fields(args.train))
    return RunConfig(
        scene_path=str(args.scene.absolute()), preset=args.preset, scene=scene, train=train, few_views=args.few_views,
        given=args.given, few_views_applied=args.few_views_applied,
    )  # fmt: skip


def changed_settings(cfg: RunConfig) -> list[str]:
    """`train.steps=2000`, ... for every setting that is not the built-in default."""
    default = RunConfig(cfg.scene_path, cfg.preset, given=cfg.given, few_views_applied=cfg.few_views_applied)
    values = configs.to_dict(cfg)
    return [f"{name}={configs.at(values, name)}" for name in configs.differences(configs.to_dict(default), values)]


def _fields(config: Any) -> dict[str, Any]:
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}


def _value_of(option: str, words: Sequence[str]) -> str | None:
    """The last value of an option among words that are not parsed yet."""
    found = None
    for i, word in enumerate(words):
        if word == option and i + 1 < len(words):
            found = words[i + 1]
        elif match := re.fullmatch(re.escape(option) + "=(.*)", word, re.DOTALL):
            found = match[1]
    return found

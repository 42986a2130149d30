# SPDX-License-Identifier: Apache-2.0
"""The options that every training command has: all fields of the settings of a run, and the layers that they make.

tyro builds options from dataclass fields. Scene and training both have a `seed` and a `background`; the subclasses here
give the second of each another name or none, so that the lower layers need not know of a command line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from sparse3d import config as configs
from sparse3d.cli.parse import parse
from sparse3d.config import Layer
from sparse3d.errors import UsageError
from sparse3d.load.config import SceneConfig
from sparse3d.runs.config import RunConfig, read_run_config
from sparse3d.runs.layers import nested
from sparse3d.start.config import StartConfig
from sparse3d.train.config import TrainConfig


@dataclass(frozen=True)
class SceneArgs(SceneConfig):
    """Scene loading; --seed is that of training."""

    max_side: int | Literal["auto", "full"] = "auto"
    """Shrink photos so that the longer side is at most this many pixels; smaller ones stay as they are. full: all keep
    their size. auto: what the number of photos, their sharpness and --auto-side carry."""

    seed: tyro.conf.Suppress[int] = 0


@dataclass(frozen=True)
class TrainArgs(TrainConfig):
    """Training."""

    background: Annotated[
        Literal["auto", "black", "white", "random", "mean"], tyro.conf.arg(name="train-background")
    ] = TrainConfig.background  # fmt: skip
    """Colour behind the splats in training. auto: the one behind transparent photos, else black. random: another one in
    each step. mean: behind photos without transparency and masks their mean colour, else as auto."""


@dataclass(frozen=True)
class RunArgs:
    """What a run is made of."""

    scene: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="SCENE")] = None
    """Folder of photos or of a scene, transforms.json, or a video."""
    preset: str = "default"
    """fast, default or quality: how much effort. Values given by hand win over it."""
    minutes: float | None = None
    """Choose steps and the photos' size so that the run takes about this many minutes on this machine; what is given by
    hand stays."""
    few_views: Literal["auto", "on", "off"] = "auto"
    """Add the settings for few photos over the preset: auto does so for 12 training photos or fewer."""
    load: Annotated[SceneArgs, tyro.conf.arg(name="")] = field(default_factory=SceneArgs)
    """Scene loading."""
    start: Annotated[StartConfig, tyro.conf.arg(name="")] = field(default_factory=StartConfig)
    """What training starts from."""
    train: Annotated[TrainArgs, tyro.conf.arg(name="")] = field(default_factory=TrainArgs)
    """Training."""


R = TypeVar("R", bound=RunArgs)
# Options whose name is not the setting's, and the settings that one option stands for.
_OTHER_NAMES = {"train_background": ("train.background",), "seed": ("train.seed", "scene.seed")}


def parse_run(kind: type[R], words: Sequence[str], *, prog: str) -> tuple[R, RunConfig]:
    """The words as `kind`, parsed once, and the settings that they mean: those given by hand over the preset or, of a
    run that goes on, over its stored ones. The layer for few photos comes when the photos are counted."""
    args = parse(kind, words, prog=prog)
    given = _given_settings(args, words)
    out, resume = getattr(args, "out", None), getattr(args, "resume", False)
    if resume and out is not None and (out / "config.toml").is_file():
        base = read_run_config(out)
        if "preset" in given_options(words) and args.preset != base.preset:
            raise UsageError(
                f"--preset {args.preset}: the run in {out} began with {base.preset}; leave the option out to go on"
            )
    elif args.scene is None:
        raise UsageError(f"SCENE is missing (`sparse3d {prog} --help` shows the options)")
    else:
        base = configs.resolve(RunConfig(preset=args.preset), [configs.preset(args.preset)])
    by_hand = {name: value for name, (value, _) in given.items()}
    if args.scene is not None:
        by_hand["scene_path"] = str(args.scene.absolute())
    cfg = configs.resolve(base, [Layer("command line", nested(by_hand))])
    names = tuple(name for name, (_, is_setting) in given.items() if is_setting and name not in cfg.given)
    return args, dataclasses.replace(cfg, given=(*cfg.given, *names))


def given_options(words: Sequence[str]) -> list[str]:
    """Options among the words, as settings are spelled: `--terms.opacity-decay=3` is terms.opacity_decay."""
    return [word[2:].split("=")[0].replace("-", "_") for word in words if word.startswith("--")]


def _given_settings(args: RunArgs, words: Sequence[str]) -> dict[str, tuple[Any, bool]]:
    """By dotted name in `RunConfig`: the value given by hand, and whether it lies in one of the groups of settings."""
    found: dict[str, tuple[Any, bool]] = {}
    known = {option: (name, value) for option, name, value in _options(args)}
    for option in given_options(words):
        if option in ("few_views", "minutes"):
            found[option] = (getattr(args, option), False)
        elif option in known:
            name, value = known[option]
            for setting in _OTHER_NAMES.get(option, (name,)):
                found[setting] = (value, True)
    return found


def _options(args: RunArgs) -> Iterator[tuple[str, str, Any]]:
    """(option, dotted name in RunConfig, value) of every setting."""

    def inside(record: Any, option: str, name: str) -> Iterator[tuple[str, str, Any]]:
        for entry in dataclasses.fields(record):
            value = getattr(record, entry.name)
            if dataclasses.is_dataclass(value):
                yield from inside(value, f"{option}{entry.name}.", f"{name}{entry.name}.")
            else:
                # Absolute, so that `eval` finds scene and priors from any folder; links stay as they were given.
                yield option + entry.name, name + entry.name, value.absolute() if isinstance(value, Path) else value

    yield from inside(args.load, "", "scene.")
    yield from inside(args.start, "", "start.")
    for option, name, value in inside(args.train, "", "train."):
        yield ("train_background" if name == "train.background" else option), name, value


def changed_settings(cfg: RunConfig) -> list[str]:
    """`train.steps=2000`, ... for every setting that is not the built-in default."""
    default = RunConfig(cfg.scene_path, cfg.preset, given=cfg.given, few_views_applied=cfg.few_views_applied)
    values = configs.to_dict(cfg)
    return [f"{name}={configs.at(values, name)}" for name in configs.differences(configs.to_dict(default), values)]

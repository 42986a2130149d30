# SPDX-License-Identifier: Apache-2.0
"""A run's settings in layers, from below: built-in defaults, preset, large photos, few photos, what was given by hand.

They are resolved once, when the photos are counted and their size is known: only then is clear which layers belong
there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sparse3d import config as configs
from sparse3d.config import Layer
from sparse3d.runs.config import RunConfig
from sparse3d.start.config import FEW_PHOTOS
from sparse3d.train.splats.terms.config import describe_terms

# Photos with a longer side above this are large: the scene's shape is found on smaller ones, and from 0.4 of the run on
# windows of them at twice the size show what splats look like close up.
_LARGE_PX = 640
_LARGE = {
    "train.schedule.quarter_size_until": 0.1,
    "train.schedule.half_size_until": 0.3,
    "train.schedule.fine_from": 0.4,
}
# Dense points of few photos carry what windows show, one for about 1.4 pixels across at which photos this large are
# trained; smaller ones are given fewer. They stand where splats belong, so that fewer steps do.
_LARGE_DENSE_POINTS, _POINT_A_PIXEL_FROM_PX = 400_000, 900
_LARGE_FEW_STEPS = 2200


def with_few_views(cfg: RunConfig, photos: int) -> tuple[RunConfig, tuple[str, ...]]:
    """`cfg` as it trains on `photos` photos: with the settings for few where cfg.few_views says so; and notes for the
    user, none where nothing was added."""
    if not cfg.few_views_applied:
        if cfg.few_views == "off" or (cfg.few_views == "auto" and photos > FEW_PHOTOS):
            return cfg, ()
        cfg = apply_few_views(cfg)
    return cfg, (_note(cfg, photos),)


def with_size(cfg: RunConfig, side: int | None, longest_px: int, photos: int) -> RunConfig:
    """`cfg` with what --max-side auto came to, so that the run keeps it: `photos` training photos of at most `side`
    pixels (None: all keep their size), the longest side then being `longest_px`. Large photos have settings of their
    own, but for those given by hand."""
    if cfg.scene.max_side != "auto":
        return cfg
    cfg = replace(cfg, scene=replace(cfg.scene, max_side="full" if side is None else side))
    if longest_px <= _LARGE_PX:
        return cfg
    values: dict[str, Any] = dict(_LARGE)
    if photos <= FEW_PHOTOS:
        values["start.dense_points"] = _LARGE_DENSE_POINTS
        values["start.dense_spacing"] = max(1.0, round(_POINT_A_PIXEL_FROM_PX / longest_px, 2))
        if cfg.few_views != "off" and cfg.preset != "quality":
            values["train.steps"] = min(cfg.train.steps, _LARGE_FEW_STEPS)
    large = {name: value for name, value in values.items() if name not in cfg.given}
    return configs.resolve(cfg, [Layer("large photos", nested(large))])


def apply_few_views(cfg: RunConfig) -> RunConfig:
    """`cfg` with the layer of configs/few_views.toml between its preset and what was given by hand. The result has
    few_views_applied; given again, it comes back as it is."""
    if cfg.few_views_applied:
        return cfg
    layers = [configs.preset(cfg.preset), _few_views_layer(cfg.preset), by_hand(cfg)]
    return replace(configs.resolve(RunConfig(), layers), few_views_applied=True)


def by_hand(cfg: RunConfig) -> Layer:
    """The layer of what was given by hand: what is not the preset's value, and what cfg.given names."""
    mine, preset = configs.to_dict(cfg), configs.to_dict(_of_preset(cfg.preset))
    names = [n for n in configs.leaves(mine) if n in cfg.given or configs.at(mine, n) != configs.at(preset, n)]
    return Layer("given by hand", nested({name: configs.at(mine, name) for name in names}))


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """{"train.density.cap": 5} as {"train": {"density": {"cap": 5}}}."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split(".")
        place = out
        for key in path:
            place = place.setdefault(key, {})
        place[last] = value
    return out


def _few_views_layer(preset: str) -> Layer:
    layer = configs.few_views()
    steps = configs.at(layer.values, "train.steps")
    if steps is not None and _of_preset(preset).train.steps < steps:
        # Few photos need fewer steps, never more than the preset has.
        return Layer(layer.source, nested(_without(layer.values, ["train.steps"])))
    return layer


def _without(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: configs.at(values, name) for name in configs.leaves(values) if name not in names}


def _of_preset(name: str) -> RunConfig:
    return configs.resolve(RunConfig(), [configs.preset(name)])


def _note(cfg: RunConfig, photos: int) -> str:
    """`few photos (3): opacity dropout 0.2, opacity decay 5, density.cap 60000`."""
    values, before = configs.to_dict(cfg), configs.to_dict(_of_preset(cfg.preset))
    changed = [
        f"{name.removeprefix('train.')} {configs.at(values, name)}"
        for name in configs.leaves(configs.few_views().values)
        if not name.startswith("train.terms.") and configs.at(values, name) != configs.at(before, name)
    ]
    what = ", ".join([text for text in (describe_terms(cfg.train.terms),) if text] + changed)
    return f"few photos ({photos}): {what or 'nothing is added to the preset'} (--few-views off leaves it out)"

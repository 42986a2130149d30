# SPDX-License-Identifier: Apache-2.0
"""The settings for few photos: over the preset, under what was given by hand, once the photos are counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sparse3d import config as configs
from sparse3d.config import Layer
from sparse3d.runs.config import RunConfig
from sparse3d.train.splats.terms.config import describe_terms

# With at most this many training photos a scene is underdetermined (`few_views = "auto"`).
FEW_PHOTOS = 12


def with_few_views(cfg: RunConfig, photos: int) -> tuple[RunConfig, tuple[str, ...]]:
    """`cfg` as it trains on `photos` photos: with the settings for few where cfg.few_views says so; and notes for the
    user, none where nothing was added."""
    if not cfg.few_views_applied:
        if cfg.few_views == "off" or (cfg.few_views == "auto" and photos > FEW_PHOTOS):
            return cfg, ()
        cfg = apply_few_views(cfg)
    return cfg, (_note(cfg, photos),)


def apply_few_views(cfg: RunConfig) -> RunConfig:
    """The values of configs/few_views.toml in place of those that are still the preset's and that cfg.given does not
    name. The result has few_views_applied; given again, it comes back as it is."""
    if cfg.few_views_applied:
        return cfg
    layer = configs.few_views()
    mine, preset = configs.to_dict(cfg), configs.to_dict(_preset(cfg))
    kept = {name for name in configs.leaves(layer.values) if configs.at(mine, name) != configs.at(preset, name)}
    if configs.at(layer.values, "train.steps") is not None and cfg.train.steps < layer.values["train"]["steps"]:
        # Few photos need fewer steps, never more than the preset has.
        kept.add("train.steps")
    values = _without(layer.values, kept | set(cfg.given), "")
    return replace(configs.resolve(cfg, [Layer(layer.source, values)]), few_views_applied=True)


def _preset(cfg: RunConfig) -> RunConfig:
    return configs.resolve(RunConfig(), [configs.preset(cfg.preset)])


def _without(values: Mapping[str, Any], names: set[str], prefix: str) -> dict[str, Any]:
    """A layer without the settings of these dotted names."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            out[key] = _without(value, names, f"{prefix}{key}.")
        elif prefix + key not in names:
            out[key] = value
    return out


def _note(cfg: RunConfig, photos: int) -> str:
    """`few photos (3): opacity dropout 0.2, opacity decay 5, density.cap 60000`."""
    values, before = configs.to_dict(cfg), configs.to_dict(_preset(cfg))
    changed = [
        f"{name.removeprefix('train.')} {configs.at(values, name)}"
        for name in configs.leaves(configs.few_views().values)
        if not name.startswith("train.terms.") and configs.at(values, name) != configs.at(before, name)
    ]
    what = ", ".join([text for text in (describe_terms(cfg.train.terms),) if text] + changed)
    return f"few photos ({photos}): {what or 'nothing is added to the preset'} (--few-views off leaves it out)"

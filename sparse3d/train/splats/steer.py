# SPDX-License-Identifier: Apache-2.0
"""What a run on splats takes from commands: other settings, and regions where nothing grows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sparse3d.config import Layer, resolve, to_dict
from sparse3d.errors import UsageError
from sparse3d.geometry.regions import Box, Sphere, region_of
from sparse3d.train.config import DensityConfig, RatesConfig, TrainConfig
from sparse3d.train.splats.density import POLICIES

# Splats may move into a region that is kept out: it is looked at after every change of the splats, and so often. What
# is asked for may not depend on `check_every` and the like, which change no bit.
KEEP_OUT_EVERY = 50

# Density settings that are shares, and those that are at least 1; every other number is 0 or more.
_SHARES = ("start", "stop")
_FROM_ONE = ("cap", "every")


class Steering:
    """What was changed by hand, for the checkpoint: settings as nested plain values, and regions in order."""

    def __init__(self) -> None:
        self.settings: dict[str, dict[str, Any]] = {}
        self.regions: list[Sphere | Box] = []

    def change(self, cfg: TrainConfig, table: str, values: Any) -> TrainConfig:
        """`cfg` with other values in its table "rates" or "density". Raises UsageError, and nothing has changed."""
        changed = changed_settings(cfg, table, values)
        self.settings[table] = to_dict(getattr(changed, table))
        return changed

    def keep_out(self, region: Any) -> None:
        """Raises UsageError for what is no region."""
        if check_region(region) not in self.regions:
            self.regions.append(region)

    def allow(self, region: Any) -> None:
        """Raises UsageError for a region that is not kept out."""
        if check_region(region) not in self.regions:
            raise UsageError(f"this {region.to_json()['kind']} is not kept out; name one that is")
        self.regions.remove(region)

    def inside(self, means: Tensor) -> Tensor:
        """Mask [N] of the centres [N,3] that lie in any region that is kept out."""
        mask = torch.zeros(len(means), dtype=torch.bool, device=means.device)
        for region in self.regions:
            mask |= within(region, means)
        return mask

    def state(self) -> dict[str, Any]:
        """What JSON holds; empty where nothing was changed."""
        regions = [region.to_json() for region in self.regions]
        return {"settings": self.settings, "keep_out": regions} if self.settings or regions else {}

    def restore(self, cfg: TrainConfig, state: Mapping[str, Any]) -> TrainConfig:
        """`cfg` as it was steered. Raises KeyError for what is missing."""
        if not state:
            return cfg
        self.settings = {table: dict(values) for table, values in state["settings"].items()}
        self.regions = [region_of(values) for values in state["keep_out"]]
        for table, values in self.settings.items():
            cfg = changed_settings(cfg, table, values)
        return cfg


def changed_settings(cfg: TrainConfig, table: str, values: Any) -> TrainConfig:
    """`cfg` with other values in its table "rates" or "density". Raises UsageError for names and values that cannot be
    meant."""
    if not isinstance(values, Mapping) or not values or not all(isinstance(name, str) for name in values):
        raise UsageError(f"{table}: no settings were given; give names with values")
    made = resolve(getattr(cfg, table), [Layer(table, values)])
    for name, value in to_dict(made).items():
        if not isinstance(value, (bool, str)) and not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{table}.{name} is {value:g}; give a finite number, 0 or more")
    if isinstance(made, RatesConfig):
        _check_rates(made)
    else:
        _check_density(made)
    return replace(cfg, **{table: made})


def check_region(region: Any) -> Sphere | Box:
    """Raises UsageError for what is neither a sphere nor a box."""
    if not isinstance(region, (Sphere, Box)):
        raise UsageError(f"{type(region).__name__} is no region; give a sphere or a box")
    return region


def within(region: Sphere | Box, means: Tensor) -> Tensor:
    """Mask [N] of the centres [N,3] in the region."""
    return torch.from_numpy(region.contains(means.cpu().numpy())).to(means.device)


def _check_rates(rates: RatesConfig) -> None:
    if (rates.means == 0) != (rates.means_final == 0):
        raise UsageError(
            f"rates.means is {rates.means:g} and means_final {rates.means_final:g}; give 0 for both, or for none"
        )
    if rates.others_final == 0:
        raise UsageError("rates.others_final is 0; it is a factor at the end of the run, give more than 0")


def _check_density(density: DensityConfig) -> None:
    POLICIES[density.policy]
    for name in _FROM_ONE:
        if getattr(density, name) < 1:
            raise UsageError(f"density.{name} is {getattr(density, name)}; give 1 or more")
    for name in _SHARES:
        if getattr(density, name) > 1:
            raise UsageError(f"density.{name} is {getattr(density, name):g}; it is a fraction of the run, give 0 to 1")
    if not 0 < density.prune_opacity < 1:
        raise UsageError(f"density.prune_opacity is {density.prune_opacity:g}; give a value between 0 and 1")
    if not 0 < density.opacity_decay <= 1:
        raise UsageError(f"density.opacity_decay is {density.opacity_decay:g}; give more than 0, and 1 at most")

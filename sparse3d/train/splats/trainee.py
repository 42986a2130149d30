# SPDX-License-Identifier: Apache-2.0
"""Gaussian splats as what a run trains."""

from __future__ import annotations

from sparse3d.kernels.records import RasterSettings, View
from sparse3d.train.config import TrainConfig


def raster_settings(
    view: View, cfg: TrainConfig, sh_degree: int, *, stats: bool = False, depth: bool = False
) -> RasterSettings:
    return RasterSettings(
        view.width, view.height, sh_degree=sh_degree, antialias=cfg.antialias, stats=stats, depth=depth
    )

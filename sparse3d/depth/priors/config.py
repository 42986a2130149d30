# SPDX-License-Identifier: Apache-2.0
"""Depth and normals of the user's own. The text under each field is its help on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sparse3d.errors import UsageError


@dataclass(frozen=True)
class PriorConfig:
    """Where they are and what they mean. Raises UsageError for values that cannot be meant."""

    prior_depth: Path | None = None
    """Depth of your own: a folder of maps named like the photos (npy, npz, 16-bit png, tif, exr), or an ONNX model that
    gives relative inverse depth (Depth-Anything style; needs onnxruntime)."""
    prior_depth_kind: Literal["auto", "metric", "disparity", "relative"] = "auto"
    """What the values mean: metric (z in the scene's units), disparity (1/z up to scale and shift), relative (z up to
    scale and shift); auto takes what fits the triangulated points best."""
    prior_depth_scale: float = 0.001
    """World units of one step in png depth maps; 0.001: millimetres in a scene of metres."""
    prior_normals: Path | None = None
    """Folder of normal maps named like the photos, in the camera's frame: npy or npz (-1..1), or png (0..255)."""
    prior_normals_axes: Literal["opencv", "opengl"] = "opencv"
    """Axes of those normals: opencv (x right, y down, z forward) or opengl (x right, y up, z backwards)."""

    def __post_init__(self) -> None:
        if not self.prior_depth_scale > 0.0:
            raise UsageError(f"--prior-depth-scale {self.prior_depth_scale:g}: must be above 0")

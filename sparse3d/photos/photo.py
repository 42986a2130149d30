# SPDX-License-Identifier: Apache-2.0
"""The record of one photo as its source describes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sparse3d.camera import Camera


@dataclass(frozen=True)
class Photo:
    """One photo as its source describes it. `camera` is for the file's own pixels (None until structure from motion).

    name: unique in the scene, relative path with '/' as separator; photos are sorted by it.
    split: "train" or "test" where the scene itself says so, "unused" for its other sets (validation), else None.
    mask_path: separate mask file (white = keep); alpha_is_mask: the photo's own alpha channel is the mask.
    upright: whether `camera` is for the photo with its EXIF orientation applied; None: not decided yet (`load` decides
    by the size that the camera is for).
    """

    name: str
    path: Path
    camera: Camera | None
    split: str | None = None
    mask_path: Path | None = None
    alpha_is_mask: bool = False
    upright: bool | None = None

# SPDX-License-Identifier: Apache-2.0
"""The record of a scene: photos with cameras, points, and what was decided while loading."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sparse3d.camera import Camera
from sparse3d.photos.store import ImageStore
from sparse3d.records.frame import Frame
from sparse3d.records.matches import Matches
from sparse3d.records.points import Points


@dataclass(frozen=True)
class Scene:
    """Photos ready to train on. Index i is the same photo in `cameras`, `images`, `names`; sorted by name.

    cameras: pinhole (undistorted), at the size trained on. images: lazy store; `images[i]` float32 [H,W,3] in 0..1,
    `images.mask(i)` float32 [H,W] or None (1 = counts). train, test: indices, disjoint. camera_source: "given",
    "sfm_train" or "sfm_all". points: given ones or those of structure from motion, from training photos only, or None.
    matches: the user's own. frame: the way from the world of the user's files to the one that cameras and points are
    in.
    """

    kind: str
    root: Path
    names: tuple[str, ...]
    cameras: tuple[Camera, ...]
    images: ImageStore
    train: tuple[int, ...]
    test: tuple[int, ...]
    points: Points | None = None
    camera_source: str = "given"
    has_masks: bool = False
    notes: tuple[str, ...] = field(default=())
    matches: Matches | None = None
    frame: Frame = Frame()  # noqa: RUF009 - frozen

    @property
    def extent(self) -> float:
        """Radius of the training cameras around their mean position, times 1.1 (3DGS); 1.0 for a single camera."""
        centres = np.stack([self.cameras[i].position for i in self.train])
        radius = float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max()) * 1.1
        return radius if radius > 1e-9 else 1.0

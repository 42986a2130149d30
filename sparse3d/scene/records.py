# SPDX-License-Identifier: Apache-2.0
"""The records of a scene: photos with cameras, points, and what was decided while loading."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.errors import DataError

if TYPE_CHECKING:
    from sparse3d.scene.images import ImageStore
    from sparse3d.scene.priors.matches import Matches


@dataclass(frozen=True)
class Points:
    """Coloured points in the world: xyz [N,3] float32, rgb [N,3] float32 in 0..1 (sRGB), error_px [N] or None.

    Where they come from depth maps, also normal [N,3] (unit, turned to the camera), radius [N] (half the distance to
    the neighbours, world units) and confidence [N] in 0..1; else None.
    """

    xyz: NDArray[np.float32]
    rgb: NDArray[np.float32]
    error_px: NDArray[np.float32] | None = None
    normal: NDArray[np.float32] | None = None
    radius: NDArray[np.float32] | None = None
    confidence: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.xyz.ndim != 2 or self.xyz.shape[1] != 3 or self.rgb.shape != self.xyz.shape:
            raise DataError(f"Points: xyz {self.xyz.shape} and rgb {self.rgb.shape} must both be [N,3]")
        oriented = (self.normal, self.radius, self.confidence)
        if any(part is None for part in oriented) != all(part is None for part in oriented):
            raise DataError("Points: normal, radius and confidence are given together or not at all")

    @property
    def oriented(self) -> bool:
        """Whether normal, radius and confidence are there."""
        return self.normal is not None

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Points:
        """The points where the mask [N] holds, or of these rows."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: values[rows] for name, values in columns.items() if values is not None})

    def __len__(self) -> int:
        return len(self.xyz)


@dataclass(frozen=True)
class Photo:
    """One photo as its source describes it. `camera` is for the file's own pixels (None until structure from motion).

    name: unique in the scene, relative path with '/' as separator; photos are sorted by it.
    split: "train" or "test" where the scene itself says so, "unused" for its further sets (validation), else None.
    mask_path: separate mask file (white = keep); alpha_is_mask: the photo's own alpha channel is the mask.
    upright: whether the EXIF orientation is applied before `camera` holds; None: not decided yet (`load` decides by
    the size that the camera is for).
    """

    name: str
    path: Path
    camera: Camera | None
    split: str | None = None
    mask_path: Path | None = None
    alpha_is_mask: bool = False
    upright: bool | None = None


@dataclass(frozen=True)
class ParsedScene:
    """What a parser returns: photos sorted by name, all with cameras or all without, world frame as in the source.

    points: only those whose use cannot leak test photos is decided later (`points_from_all_photos`).
    notes: sentences for the user (counts of dropped files and the like), each said once.
    """

    kind: str
    root: Path
    photos: tuple[Photo, ...]
    points: Points | None = None
    points_from_all_photos: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """Photos ready to train on. Index i is the same photo in `cameras`, `images`, `names`; sorted by name.

    cameras: pinhole (undistorted), at the size trained on. images: lazy store; `images[i]` float32 [H,W,3] in 0..1,
    `images.mask(i)` float32 [H,W] or None (1 = counts). train, test: indices, disjoint. camera_source: "given",
    "sfm_train" or "sfm_all". points: initial points, from training photos only, or None. matches: the user's own.
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

    @property
    def extent(self) -> float:
        """Radius of the training cameras around their mean position, times 1.1 (3DGS); 1.0 for a single camera."""
        centres = np.stack([self.cameras[i].position for i in self.train])
        radius = float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max()) * 1.1
        return radius if radius > 1e-9 else 1.0

# SPDX-License-Identifier: Apache-2.0
"""The visual hull: the space that an object's masks leave to it. It tells what cannot be part of the object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.photos.masks import MASK_LEVEL
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats

# Masks are widened by this share of the photo's longer side (at least a pixel): their edges are not exact.
_WIDEN = 0.003
# From this many masks on, one may be wrong: a point counts as inside if all of them but one hold it.
_FORGIVE_FROM = 3
# A mask of an object leaves out most of the photo's border; one that leaves out the photographer's car does not.
_BORDER_MAX = 0.5


@dataclass(frozen=True)
class Silhouette:
    """One photo's mask [H,W] at `camera`'s size, true where the object is or may be; seen: the mask as given; index: of
    the photo in the scene."""

    camera: Camera
    mask: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    index: int = 0

    def holds(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """[N] whether each world point [N,3] lies in the mask, or may: beyond the edge of a picture that cuts off the
        object, everything in front of the camera may be part of it."""
        xy, z = self.camera.project(points)
        column, row = np.floor(xy).T
        inside = (column >= 0) & (column < self.camera.width) & (row >= 0) & (row < self.camera.height)
        out = np.full(len(points), _border(self.seen).any())
        out[inside] = self.mask[row[inside].astype(np.int64), column[inside].astype(np.int64)]
        return (z > 0) & out


@dataclass(frozen=True)
class Hull:
    """The points in space that all silhouettes hold, except for at most `forgiven` of them: one of 3 or more (any n-1
    of n, GaussianObject, Yang et al. 2024), none of 2."""

    silhouettes: tuple[Silhouette, ...]
    forgiven: int

    def contains(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """[N] bool for world points [N,3], from the masks themselves, not from a grid. Points that are not finite are
        outside."""
        finite = np.asarray(np.isfinite(points).all(axis=1))
        points = np.where(finite[:, None], points, 0.0)
        missing = np.zeros(len(points), np.int64)
        for silhouette in self.silhouettes:
            missing += ~silhouette.holds(points)
        return finite & (missing <= self.forgiven)


def visual_hull(
    cameras: Sequence[Camera], masks: Sequence[NDArray[np.bool_] | None], *, indices: Sequence[int] | None = None
) -> Hull | None:
    """The hull of masks [H,W] (true: the object), each at its camera's size or another one of the same shape.

    A mask of None stands for a photo without one. Returns None if fewer than 2 masks are of an object; one that is
    empty or covers half of the photo's border or more is not. indices: the photos' numbers in the scene.
    """
    found = []
    for position, (camera, mask) in enumerate(zip(cameras, masks, strict=True)):
        if mask is None or not of_an_object(mask):
            continue
        height, width = mask.shape
        reach = max(1, round(_WIDEN * max(height, width)))
        ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        wide = cv2.dilate(mask.astype(np.uint8), ball) > 0
        number = position if indices is None else indices[position]
        found.append(Silhouette(camera.resized(width, height), wide, mask, number))
    if len(found) < 2:
        return None
    return Hull(tuple(found), 1 if len(found) >= _FORGIVE_FROM else 0)


def scene_hull(scene: Scene) -> Hull | None:
    """The hull of the training photos' masks, else of their alpha channels; None if neither shows an object."""
    masks = [photo_mask(scene, index) for index in scene.train]
    return visual_hull([scene.cameras[i] for i in scene.train], masks, indices=scene.train)


def photo_mask(scene: Scene, index: int) -> NDArray[np.bool_] | None:
    """[H,W], true where the photo's mask, else its alpha channel, shows something; None if it has neither."""
    mask = scene.images.mask(index)
    if mask is None:
        mask = scene.images.alpha(index)
    return None if mask is None else mask.numpy() >= MASK_LEVEL / 255.0


def outside_hull(splats: Splats, hull: Hull) -> Tensor:
    """[N] bool: the splats whose centre lies outside."""
    return torch.from_numpy(~hull.contains(splats.means.detach().cpu().numpy()))


def outside_share(splats: Splats, hull: Hull) -> float:
    """Share of all opacity that belongs to splats outside, 0 to 1."""
    opacity = splats.opacities.detach().double()
    total = float(opacity.sum())
    return float(opacity[outside_hull(splats, hull)].sum()) / total if total > 0 else 0.0


def of_an_object(mask: NDArray[np.bool_]) -> bool:
    """Whether the mask [H,W] cuts an object out: it holds something, and less than half of the photo's border."""
    if not mask.any():
        return False
    return float(_border(mask).mean()) < _BORDER_MAX


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask's outermost pixels."""
    return np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])

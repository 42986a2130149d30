# SPDX-License-Identifier: Apache-2.0
"""What the splats to be made smaller show between the photos, as pictures to train on.

A few photos leave much of a scene open, and splats trained on them alone to stand in for others forget what those knew
of the places in between: the pictures of the source are the teacher there (distillation, Hinton et al. 2015,
arXiv 1503.02531; for pruned splats, LightGaussian, Fan et al. 2024, with pseudo views around the cameras).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.compress.observe import picture
from sparse3d.render.camera_path import matrix_from_quat_wxyz, quat_wxyz_from_matrix, slerp
from sparse3d.scene.extra_view import ExtraView
from sparse3d.splats import Splats

# Sideways from the line between two cameras, in shares of its length.
_ASIDE = 0.35
# Neighbours that each camera is paired with.
_NEAREST = 2


def source_views(
    splats: Splats,
    cameras: Sequence[Camera],
    count: int,
    *,
    background: Tensor | None = None,
    backend: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[ExtraView, ...]:
    """Pictures of `splats` from `count` places between and beside the cameras, over background [3] (black); none where
    no two cameras stand apart."""
    views = []
    for number, camera in enumerate(cameras_between(cameras, count)):
        with torch.no_grad():
            seen = picture(splats, camera, background=background, backend=backend)
        image = seen.image[0].detach().clamp(0.0, 1.0).numpy().astype(np.float32)
        views.append(ExtraView(camera, image, np.ones(image.shape[:2], np.float32)))
        if progress is not None:
            progress((number + 1) / count)
    return tuple(views)


def cameras_between(cameras: Sequence[Camera], count: int) -> list[Camera]:
    """`count` cameras on the ways between each camera and its nearest others, moved sideways by up to a third of the
    way; the same for the same cameras. Directions by slerp; size and lens of the nearer one. Empty where no two cameras
    stand apart."""
    pairs = _pairs(cameras)
    out = []
    for k in range(count if pairs else 0):
        first, second = (cameras[i] for i in pairs[k % len(pairs)])
        share, across, along = (_radical_inverse(k + 1, base) for base in (2, 3, 5))
        lens = first if share < 0.5 else second
        quats = [quat_wxyz_from_matrix(c.cam_from_world[:3, :3]) for c in (first, second)]
        rotation = matrix_from_quat_wxyz(slerp(quats[0], quats[1], share))
        way = second.position - first.position
        reach = _ASIDE * float(np.linalg.norm(way))
        aside = (2 * across - 1) * rotation[0] + (2 * along - 1) * rotation[1]
        pose = np.eye(4)
        pose[:3, :3] = rotation
        pose[:3, 3] = -rotation @ (first.position + share * way + reach * aside)
        out.append(replace(lens, cam_from_world=pose, name=f"between {k}"))
    return out


def _pairs(cameras: Sequence[Camera]) -> list[tuple[int, int]]:
    """Every camera with its nearest others at another place, each pair once."""
    position = np.stack([c.position for c in cameras]) if cameras else np.zeros((0, 3))
    found: set[tuple[int, int]] = set()
    for i in range(len(cameras)):
        distance = np.linalg.norm(position - position[i], axis=1)
        near = [j for j in _order(distance) if distance[j] > 1e-9]
        found.update((min(i, j), max(i, j)) for j in near[:_NEAREST])
    return sorted(found)


def _order(distance: NDArray[np.float64]) -> list[int]:
    return [int(j) for j in np.argsort(distance, kind="stable")]


def _radical_inverse(number: int, base: int) -> float:
    """0..1: the digits of `number` mirrored at the point (Halton 1960)."""
    value, share = 0.0, 1.0
    while number:
        share /= base
        number, digit = divmod(number, base)
        value += share * digit
    return value

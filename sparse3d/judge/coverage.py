# SPDX-License-Identifier: Apache-2.0
"""How many training photos support what a picture shows, and so what of it was guessed.

The splats are drawn with their support (support.py) in place of their colour: a pixel's level is the largest number of
photos, 3 at most, that at least half of its blending weight has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.conventions import SH_C0
from sparse3d.judge.observe import look
from sparse3d.judge.spread import spread
from sparse3d.records.scene import Scene
from sparse3d.render.camera_path import interpolate, orbit
from sparse3d.render.probe import Seeing
from sparse3d.splats import Splats

# A pixel where nothing is drawn: less than half covered.
EMPTY = -1
LEVELS = 3
# Cameras that the shares are taken over at most, and how many are made between photos where none is held out.
_MOST_COUNTED, _BETWEEN = 24, 4


@dataclass(frozen=True)
class CoverageCameras:
    """Cameras to judge coverage from. held_out: they are those of held-out photos, else made between the training
    cameras."""

    cameras: tuple[Camera, ...]
    held_out: bool


def coverage_cameras(scene: Scene) -> CoverageCameras:
    """The held-out photos' cameras, evenly spread over at most 24; without any, four on the way between the training
    cameras (beside it for a single one)."""
    if scene.test:
        return CoverageCameras(tuple(scene.cameras[i] for i in spread(scene.test, _MOST_COUNTED)), True)
    train = [scene.cameras[i] for i in scene.train]
    if len(train) == 1:
        return CoverageCameras(tuple(orbit(train, 2)), False)
    # Every second frame: neither the first nor the last camera, which are training cameras.
    return CoverageCameras(tuple(interpolate(train, 2 * _BETWEEN + 1)[1::2]), False)


def support_levels(splats: Splats, support: Tensor, camera: Camera, *, backend: str | None = None) -> Tensor:
    """[H,W] int64: 0 to 3 supporting photos of what the camera shows, EMPTY where less than half is covered. support
    [N]: of each splat."""
    has = torch.stack([support >= number for number in range(1, LEVELS + 1)], dim=1).float()
    painted = replace(splats, sh0=((has - 0.5) / SH_C0)[:, None], shN=splats.shN[:, :0])
    seen = look(painted, camera, Seeing(backend=backend))
    alpha = seen.alpha[0]
    one, two, three = (seen.image[0] >= 0.5 * alpha[..., None]).long().unbind(2)
    return torch.where(alpha >= 0.5, one + two + three, torch.full_like(one, EMPTY))


def coverage_record(levels: Sequence[Tensor], found: CoverageCameras, *, empty_is_known: bool) -> dict[str, Any]:
    """What metrics.json says: the shares of pixels by supporting photos, over the cameras whose `levels` [H,W] these
    are; they sum to 1. Where nothing is drawn counts as unseen, but where the background is known it does not count.
    Shares are None where no pixel counts."""
    unseen = sum(int((level <= 0).sum()) for level in levels)
    if empty_is_known:
        unseen -= sum(int((level == EMPTY).sum()) for level in levels)
    one = sum(int((level == 1).sum()) for level in levels)
    more = sum(int((level >= 2).sum()) for level in levels)
    total = unseen + one + more
    shares = {"unseen": unseen, "one_view": one, "two_or_more": more}
    return {
        "cameras": "held_out" if found.held_out else "between",
        "views": len(levels),
        **{name: round(count / total, 4) if total else None for name, count in shares.items()},
    }

# SPDX-License-Identifier: Apache-2.0
"""What photos say of an edit before it is made: PSNR with the splats and without them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparse3d.edit.history import Bits
from sparse3d.errors import DataError
from sparse3d.judge.evaluate import evaluate, image_renderer
from sparse3d.judge.spread import spread
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats


@dataclass(frozen=True)
class Judged:
    """count: splats that would go. before, after: mean PSNR in dB over `photos` photos, held out of the training or,
    where none are, training photos themselves; None where masks leave nothing to compare."""

    count: int
    before: float | None
    after: float | None
    photos: int
    held_out: bool


class EditJudge:
    """Judges one edit after another by the same photos; the PSNR before is measured once for the same splats."""

    def __init__(self, scene: Scene, background: Tensor, *, backend: str = "auto", most: int | None = None) -> None:
        """background [3] behind the splats. most: photos at even distances are enough (a slider waits for them).
        Raises DataError for a scene without photos."""
        chosen = scene.test or scene.train
        if not chosen:
            raise DataError(f"{scene.root}: there is no photo to judge by; give a scene with photos")
        self._scene, self._background, self._backend = scene, background, backend
        self._indices = tuple(chosen) if most is None else tuple(spread(chosen, most))
        self._known: tuple[Splats, float | None] | None = None

    def judge(self, splats: Splats, gone: Bits) -> Judged:
        """gone [N] bool of `splats`."""
        if self._known is None or self._known[0] is not splats:
            self._known = splats, self.psnr(splats)
        before, number = self._known[1], int(gone.sum())
        after = before if number == 0 else self.psnr(splats.select(~torch.from_numpy(gone)))
        return Judged(number, before, after, len(self._indices), bool(self._scene.test))

    def psnr(self, splats: Splats) -> float | None:
        draw = image_renderer(splats, self._background, self._backend)
        return evaluate(self._scene, self._indices, draw).psnr

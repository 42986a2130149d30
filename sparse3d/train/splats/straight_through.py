# SPDX-License-Identifier: Apache-2.0
"""Training through a quantiser: each step shows what a file would hold, and the gradient goes to what it was made of.

The straight-through estimator (Bengio et al. 2013, arXiv 1308.3432): rounding counts as the identity in the backward
pass. So the splats move to where their rounded values make the best picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.splats import PARAMETER_NAMES, Splats

# What a reader of the written file gets: as many splats of the same degree, in the same order.
Quantiser = Callable[[Splats], Splats]
# Opacity 1 has no logit; beyond this one float32 knows no difference.
_LOGIT_BOUND = 30.0


class StraightThrough:
    """Shows splats as `quantiser` makes them.

    every: the quantiser is asked once in so many steps; between, what it added to each value is added again, which is
    enough where it is slow and its palettes change little from step to step.
    """

    def __init__(self, quantiser: Quantiser, every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"StraightThrough: every is {every}, expected 1 or more")
        self._quantiser, self._every = quantiser, every
        self._calls = 0
        self._offset: dict[str, Tensor] = {}

    def shown(self, params: Mapping[str, Tensor], antialias: bool) -> dict[str, Tensor]:
        """What to render, and where to take the gradient, of raw splats by name: float32, shaped alike.

        A rotation comes back with the length and the sign of its quaternion in `params`: of the many that mean the
        same one, that whose gradient can be added to it. Raises DataError where the quantiser does not keep shapes.
        """
        count = params["means"].shape[0]
        stale = not self._offset or self._offset["means"].shape[0] != count or self._calls % self._every == 0
        self._calls += 1
        if not stale:
            return {name: params[name] + self._offset[name] for name in PARAMETER_NAMES}
        made = dict(self._quantiser(Splats.of(params, antialias=antialias)).named())
        for name in PARAMETER_NAMES:
            if made[name].shape != params[name].shape:
                raise DataError(
                    f"training through a quantiser: it made {tuple(made[name].shape)} of {name} "
                    f"{tuple(params[name].shape)}; it must keep the splats, their order and their SH degree"
                )
        made = {name: tensor.detach().float().contiguous() for name, tensor in made.items()}
        made["logit_opacities"] = made["logit_opacities"].clamp(-_LOGIT_BOUND, _LOGIT_BOUND)
        made["quats_wxyz"] = _alike(made["quats_wxyz"], params["quats_wxyz"])
        if self._every > 1:
            self._offset = {name: made[name] - params[name] for name in PARAMETER_NAMES}
        return made


def _alike(quats: Tensor, original: Tensor) -> Tensor:
    """Quaternions [N,4] scaled to the lengths of `original` [N,4], and turned to its side of the sphere."""
    # numpy: the same bits on any number of threads.
    q, o = quats.numpy().astype(np.float64), original.numpy().astype(np.float64)
    length = np.sqrt((o * o).sum(axis=1) / np.maximum((q * q).sum(axis=1), 1e-30))
    side = np.where((q * o).sum(axis=1) < 0.0, -1.0, 1.0)
    return torch.from_numpy((q * (length * side)[:, None]).astype(np.float32))

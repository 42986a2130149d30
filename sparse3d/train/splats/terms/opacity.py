# SPDX-License-Identifier: Apache-2.0
"""Terms that act on opacities: dropout while rendering, and decay.

The formulas run in numpy, on one thread and the same way for every element: torch's exp and log give other bits at the
end of each thread's share.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.kernels.records import AdamState
from sparse3d.train.shots import Shot
from sparse3d.train.splats.terms.term import TERMS, Term

# The logit of a splat that is left out: its opacity is far below what is blended, so it is culled.
DROPPED_LOGIT = -30.0
# Survivors show at most this opacity: above what a pixel blends (conventions.ALPHA_MAX), below where logits lose bits.
_SHOWN_MAX = 0.999
# A step takes at most this share of an opacity away: Adam, at its rate of 0.05 in the logit, must be able to put it
# back, in a run of a few steps too.
_DECAY_MAX = 0.01
# exp(80) is finite in float32.
_LOGIT_BOUND = 80.0


def scaled_logits(logits: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Logits [N] of `factor` (positive) times the opacities that `logits` [N] stand for, at most 0.999."""
    inverse = 1.0 + np.exp(-np.maximum(logits, -_LOGIT_BOUND))
    odds_against = np.maximum(inverse * np.float32(1.0 / factor) - 1.0, np.float32(1.0 / _SHOWN_MAX - 1.0))
    return -np.log(odds_against)


def fading(logits: Tensor, rate: float) -> Tensor:
    """What to subtract from logits [N] of opacities so that o becomes o exp(-rate)."""
    # In odds e = exp(logit): o f / (1 - o f) = e f / (1 + e (1 - f)).
    odds = np.exp(np.minimum(logits.numpy(), _LOGIT_BOUND))
    return torch.from_numpy(np.log1p(odds * np.float32(-math.expm1(-rate))) + np.float32(rate))


def drop(logits: Tensor, dropped: Tensor, share: float) -> Tensor:
    """Logits [N] to render where those of the mask `dropped` [N] are left out, and the others show their opacity
    divided by 1 - share, so that the picture stays as it is on average."""
    shown = torch.from_numpy(scaled_logits(logits.numpy(), 1.0 / (1.0 - share)))
    shown[dropped] = DROPPED_LOGIT
    return shown


@TERMS.register("dropout")
class Dropout(Term):
    """Random splats are left out of each step and the others show more opacity (DropGaussian, Park et al. 2025, and
    Chen et al. 2025, "Quantifying and alleviating co-adaptation"): splats behind others get gradients too, and none
    relies on what only the one photo sees. The share rises linearly to the weight at the end of the run."""

    def before_render(self, shot: Shot, params: dict[str, Tensor], adam: AdamState, shown: dict[str, Tensor]) -> None:
        share = self.cfg.dropout * shot.progress
        if share <= 0.0:
            return
        logits = shown["logit_opacities"]
        dropped = torch.rand(len(logits), generator=self.setup.generator, device=self.setup.generator.device) < share
        shown["logit_opacities"] = drop(logits, dropped, share)


@TERMS.register("opacity_decay")
class OpacityDecay(Term):
    """o <- o * exp(-weight / steps) after each step (Binocular3DGS, Han et al. 2024; the factor scaled with
    the number of steps, at most 1 % a step): splats that no photo holds up fade away.

    Splats that no step has seen keep their opacity: what lies outside of every photo is not contradicted by any."""

    def after_step(self, shot: Shot, params: dict[str, Tensor], adam: AdamState) -> None:
        if shot.progress < self.cfg.opacity_decay_start:
            return
        change = fading(params["logit_opacities"], min(self.cfg.opacity_decay / self.setup.steps, _DECAY_MAX))
        # Adam's second moment is above 0 from the first gradient on.
        params["logit_opacities"] -= torch.where(adam.v["logit_opacities"] > 0, change, 0.0)

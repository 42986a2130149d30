# SPDX-License-Identifier: Apache-2.0
"""Splats that lie together look alike, at least at first."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sparse3d.kernels.workspace import AdamState
from sparse3d.train.terms.neighbours import Neighbours
from sparse3d.train.terms.term import TERMS, Term, TermSetup, TermStep

_NEIGHBOURS = 4
_EVERY = 10


@TERMS.register("feature_smooth")
class FeatureSmoothness(Term):
    """Every ten steps base colours and opacities (as logits) move this share of the way to the mean of their four
    nearest splats, less and less to the end of the run. A scene seen well is smooth in space: SplatFields (Mihajlovic
    et al. 2024) gets there by a network, this is the cheap stand-in."""

    def __init__(self, setup: TermSetup) -> None:
        super().__init__(setup)
        self._neighbours = Neighbours("feature_smooth.neighbours", _NEIGHBOURS)

    def after_step(self, step: TermStep, params: dict[str, Tensor], adam: AdamState) -> None:
        if step.number % _EVERY:
            return
        share = self.cfg.feature_smooth * (1.0 - step.progress)
        rows = self._neighbours.rows(params)
        for name in ("sh0", "logit_opacities"):
            values = params[name]
            # Added one after another: a fixed order.
            total = values[rows[:, 0]]
            for k in range(1, _NEIGHBOURS):
                total = total + values[rows[:, k]]
            values += (total / _NEIGHBOURS - values) * share

    def after_refine(self, params: Mapping[str, Tensor]) -> None:
        self._neighbours.forget()

    def tensors(self) -> dict[str, Tensor]:
        return self._neighbours.tensors()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._neighbours.restore(tensors)

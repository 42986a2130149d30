# SPDX-License-Identifier: Apache-2.0
"""Dropout of whole neighbourhoods and of view-dependent colour (DropAnSH-GS, arXiv 2602.20933, 2026)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from sparse3d.kernels.workspace import AdamState
from sparse3d.train.terms.neighbours import Neighbours
from sparse3d.train.terms.opacity import drop
from sparse3d.train.terms.term import TERMS, Term, TermSetup, TermStep

# Share of the run after which the next degree is no longer left out (2000 of the paper's 10,000 steps).
_DEGREE_EVERY = 0.2


@TERMS.register("anchor_dropout")
class AnchorDropout(Term):
    """Random splats are left out together with their nearest ones: where single splats are missing, neighbours of
    nearly the same colour hide the gap and nothing is learned. The share of anchors rises linearly to the weight; the
    others show more opacity, by the share of splats that this step leaves out."""

    def __init__(self, setup: TermSetup) -> None:
        super().__init__(setup)
        self._neighbours = Neighbours("anchor_dropout.neighbours", setup.cfg.anchor_neighbours)

    def before_render(
        self, step: TermStep, params: dict[str, Tensor], adam: AdamState, shown: dict[str, Tensor]
    ) -> None:
        share = self.cfg.anchor_dropout * step.progress
        if share <= 0.0:
            return
        logits = shown["logit_opacities"]
        dropped = torch.rand(len(logits), generator=self.setup.generator) < share
        dropped[self._neighbours.rows(params)[dropped].flatten()] = True
        count = int(dropped.sum())
        if count < len(logits):
            shown["logit_opacities"] = drop(logits, dropped, count / len(logits))

    def after_refine(self, params: Mapping[str, Tensor]) -> None:
        self._neighbours.forget()

    def tensors(self) -> dict[str, Tensor]:
        return self._neighbours.tensors()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._neighbours.restore(tensors)


@TERMS.register("sh_dropout")
class ShDropout(Term):
    """A share of the splats shows only the lower degrees of its colour in a step: degree 0 up to 0.4 of the run, 1 up
    to 0.6, then 2, and always less than all. So the low degrees carry what they can. What is left out is put back
    after the step, moments too, as if the step had not seen it."""

    def __init__(self, setup: TermSetup) -> None:
        super().__init__(setup)
        self._rows = torch.empty(0, dtype=torch.int64)
        self._kept: list[Tensor] = []

    def before_render(
        self, step: TermStep, params: dict[str, Tensor], adam: AdamState, shown: dict[str, Tensor]
    ) -> None:
        coefficients = params["shN"].shape[1]
        if coefficients == 0:
            return
        highest = math.isqrt(coefficients + 1) - 1
        # The small addend lets 0.6 / 0.2 count as 3.
        degree = min(max(int(step.progress / _DEGREE_EVERY + 1e-9) - 1, 0), highest - 1)
        self._first = (degree + 1) ** 2 - 1
        chosen = torch.rand(len(params["shN"]), generator=self.setup.generator) < self.cfg.sh_dropout
        self._rows = torch.nonzero(chosen)[:, 0]
        self._kept = [tensor[self._rows, self._first :] for tensor in (params["shN"], adam.m["shN"], adam.v["shN"])]
        params["shN"][self._rows, self._first :] = 0.0

    def after_step(self, step: TermStep, params: dict[str, Tensor], adam: AdamState) -> None:
        for tensor, kept in zip((params["shN"], adam.m["shN"], adam.v["shN"]), self._kept):
            tensor[self._rows, self._first :] = kept
        self._kept = []

# SPDX-License-Identifier: Apache-2.0
"""The terms of one run: those whose weight is not 0, called as one."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sparse3d.kernels.records import AdamState, OutputGradients
from sparse3d.kernels.step import StepRendering
from sparse3d.train.shots import Shot
from sparse3d.train.splats.terms.config import active_terms
from sparse3d.train.splats.terms.table import TERMS
from sparse3d.train.splats.terms.term import TermSetup


class ActiveTerms:
    """The terms that are on, in the order of `WEIGHTS`. With none on, every call leaves everything as it is. Raises
    UsageError for a weight that no term answers to."""

    def __init__(self, setup: TermSetup) -> None:
        self._terms = [TERMS[name](setup) for name in active_terms(setup.cfg)]

    def needs_depth(self, position: int) -> bool:
        return any(term.needs_depth(position) for term in self._terms)

    def before_render(
        self, shot: Shot, params: dict[str, Tensor], adam: AdamState, base: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The parameters to render: `base` (`params` unless given) as the terms change it."""
        shown = dict(params if base is None else base)
        for term in self._terms:
            term.before_render(shot, params, adam, shown)
        return shown

    def add_gradients(self, shot: Shot, rendering: StepRendering, gradients: OutputGradients) -> None:
        for term in self._terms:
            term.add_gradients(shot, rendering, gradients)

    def after_step(self, shot: Shot, params: dict[str, Tensor], adam: AdamState) -> None:
        # Backwards, so that what `before_render` changed last is given back first.
        for term in reversed(self._terms):
            term.after_step(shot, params, adam)

    def after_refine(self, params: Mapping[str, Tensor]) -> None:
        for term in self._terms:
            term.after_refine(params)

    def tensors(self) -> dict[str, Tensor]:
        return {name: tensor for term in self._terms for name, tensor in term.tensors().items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for term in self._terms:
            term.restore(tensors)

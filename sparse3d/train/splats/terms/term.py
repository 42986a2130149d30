# SPDX-License-Identifier: Apache-2.0
"""The interface of a training term: the moments of a step at which it may act."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sparse3d.depth.depth_map import DepthMap
from sparse3d.kernels.records import AdamState, OutputGradients
from sparse3d.kernels.step import StepRendering
from sparse3d.records.scene import Scene
from sparse3d.registry import Registry
from sparse3d.train.shots import Shot
from sparse3d.train.splats.terms.config import TermsConfig


@dataclass(frozen=True)
class TermSetup:
    """What a term is made with. generator: the terms' own, its state is kept in the checkpoint. depth_maps: by index in
    the scene, of any of the training photos."""

    cfg: TermsConfig
    scene: Scene
    steps: int
    generator: torch.Generator
    depth_maps: Mapping[int, DepthMap] = field(default_factory=dict)


class Term:
    """One term. Each hook does nothing unless the term has something to do there; they are called in this order.

    Deterministic for any number of threads: random numbers from the setup's generator, sums in a fixed order.
    """

    def __init__(self, setup: TermSetup) -> None:
        self.setup, self.cfg = setup, setup.cfg

    def needs_depth(self, position: int) -> bool:
        """Whether `add_gradients` wants the rendered depth of this photo; it costs time."""
        del position
        return False

    def before_render(self, shot: Shot, params: dict[str, Tensor], adam: AdamState, shown: dict[str, Tensor]) -> None:
        """May put other tensors into `shown`, which is what this step renders; `params` are what it updates.

        logit_opacities alone may differ between the two without harm: the backward pass takes the opacity shown as a
        constant times the splat's own (or clamped: the clamp is passed through).
        """

    def add_gradients(self, shot: Shot, rendering: StepRendering, gradients: OutputGradients) -> None:
        """May add to the gradients of the loss to the rendering's image, alpha and depth."""

    def after_step(self, shot: Shot, params: dict[str, Tensor], adam: AdamState) -> None:
        """May change `params` and the moments in place, after the optimiser."""

    def after_refine(self, params: Mapping[str, Tensor]) -> None:
        """The splats were added to, removed or moved: rows have changed."""

    def tensors(self) -> dict[str, Tensor]:
        """State for the checkpoint, by names that begin with the term's own."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave."""


# By the name of the weight in TermsConfig that switches the term on.
TERMS: Registry[type[Term]] = Registry("training term")

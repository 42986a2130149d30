# SPDX-License-Identifier: Apache-2.0
"""Terms on the shape of splats: no needles, nothing finer than a photo can tell.

They act on the parameters after the optimiser, apart from its moments. numpy on one thread, as in `opacity`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.kernels.workspace import AdamState
from sparse3d.train.terms.term import TERMS, Term, TermSetup, TermStep

# Keeps the logarithm of a needle's effective rank less 1 finite.
_RANK_EPS = 0.01
# One change of a log scale at most: the optimiser's rate times its strongest pull would overshoot the round shape.
_RANK_STEP_MAX = 0.05
# Changes of shape are slow: every so many steps is enough, each for all of them.
_RANK_EVERY = 5
# A splat this share of the picture outside of it still touches it (Mip-Splatting).
_MARGIN = 0.15


def rank_pull(log_scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gradient [N,3] of -ln(r - 1 + 0.01) to log scales [N,3], where the effective rank r is below 2, else 0.

    r = exp(H), H the entropy of the squared scales' shares: 1 for a needle, 2 for a disc, 3 for a ball.
    """
    squared = np.exp(2.0 * (log_scales - log_scales.max(axis=1, keepdims=True)))
    share = squared / (squared[:, :1] + squared[:, 1:2] + squared[:, 2:])
    log_share = np.log(np.maximum(share, np.float32(1e-30)))
    terms = share * log_share
    entropy = -(terms[:, 0] + terms[:, 1] + terms[:, 2])
    rank = np.exp(entropy)
    v_entropy = np.where(rank < 2.0 - _RANK_EPS, -rank / (rank - 1.0 + np.float32(_RANK_EPS)), 0.0)
    return (v_entropy[:, None] * -2.0 * share * (log_share + entropy[:, None])).astype(np.float32)


@TERMS.register("rank")
class EffectiveRank(Term):
    """Pull of needles towards discs by their effective rank (Hyung et al. 2024, "Effective rank analysis and
    regularization for enhanced 3D Gaussian splatting"): a needle fits the one photo that it lies along."""

    def after_step(self, step: TermStep, params: dict[str, Tensor], adam: AdamState) -> None:
        if step.number % _RANK_EVERY:
            return
        log_scales = params["log_scales"].numpy()
        change = rank_pull(log_scales) * np.float32(self.cfg.rank * step.rates["log_scales"] * _RANK_EVERY)
        log_scales -= np.clip(change, -_RANK_STEP_MAX, _RANK_STEP_MAX)


@TERMS.register("max_axis_ratio")
class MaxAxisRatio(Term):
    """The longest axis is cut to at most `max_axis_ratio` times the middle one (the ratio limit of PhysGaussian, Xie et
    al. 2024, on needles only: discs stay thin)."""

    def after_step(self, step: TermStep, params: dict[str, Tensor], adam: AdamState) -> None:
        log_scales = params["log_scales"]
        x, y, z = log_scales.unbind(1)
        low, high = torch.minimum(x, y), torch.maximum(x, y)
        middle = torch.maximum(low, torch.minimum(high, z))
        torch.minimum(log_scales, (middle + math.log(self.cfg.max_axis_ratio))[:, None], out=log_scales)


@TERMS.register("min_scale")
class MinScale(Term):
    """No axis is shorter than `min_scale` pixels of the training photo that shows the splat largest (the sampling limit
    of Mip-Splatting, Yu et al. 2024, as a bound instead of a convolution): finer detail is invented. The limit is found
    at the first use after a change of the set."""

    def __init__(self, setup: TermSetup) -> None:
        super().__init__(setup)
        self._least: Tensor | None = None

    def after_step(self, step: TermStep, params: dict[str, Tensor], adam: AdamState) -> None:
        if self._least is None:
            pixel = torch.from_numpy(self._finest_pixel(params["means"].numpy()))
            # Unseen splats have none: the logarithm of 0 bounds nothing.
            self._least = torch.from_numpy(np.log(np.maximum(pixel.numpy(), 1e-30) * self.cfg.min_scale)).float()
        torch.maximum(params["log_scales"], self._least[:, None], out=params["log_scales"])

    def _finest_pixel(self, means: NDArray[np.float32]) -> NDArray[np.float64]:
        """[N] world units that a pixel covers at each splat, in the photo where that is least; 0 where none sees it."""
        finest = np.full(len(means), np.inf)
        for index in self.setup.scene.train:
            camera = self.setup.scene.cameras[index]
            pixels, z = camera.project(means)
            size = np.array([camera.width, camera.height])
            inside = np.all((pixels > -_MARGIN * size) & (pixels < (1 + _MARGIN) * size), axis=1) & (z > 0)
            footprint = z / max(camera.fx, camera.fy)
            finest = np.where(inside, np.minimum(finest, footprint), finest)
        return np.where(np.isfinite(finest), finest, 0.0)

    def after_refine(self, params: Mapping[str, Tensor]) -> None:
        self._least = None

    def tensors(self) -> dict[str, Tensor]:
        return {} if self._least is None else {"min_scale.least": self._least}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._least = tensors.get("min_scale.least")

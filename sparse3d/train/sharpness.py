# SPDX-License-Identifier: Apache-2.0
"""Sharpness-aware steps at the end of a run (Foret et al. 2021; for splats from few photos FASR, arXiv 2511.17918).

The gradient is taken not at the splats but a little uphill of them, so that training ends where the loss is flat: a
small change of view then changes little. Uphill is `weight` steps of the optimiser, at its rates at the beginning: a
unit that fits every parameter. It costs a second rendering and backward pass, so it is for the last part of a run.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sparse3d.kernels.types import RasterSettings
from sparse3d.kernels.workspace import AdamHyper, AdamState
from sparse3d.splats import PARAMETER_NAMES
from sparse3d.train.shots import Shot
from sparse3d.train.step import TrainingStep
from sparse3d.train.terms.config import TermsConfig


class Sharpness:
    """rates: the optimiser's at the beginning of the run, by parameter."""

    def __init__(self, cfg: TermsConfig, rates: Mapping[str, float]) -> None:
        self._cfg, self._rates = cfg, dict(rates)
        self._offset: dict[str, Tensor] = {}

    def climb(
        self,
        kernels: TrainingStep,
        params: Mapping[str, Tensor],
        shown: Mapping[str, Tensor],
        shot: Shot,
        background: Tensor,
        settings: RasterSettings,
        ssim_weight: float,
        progress: float,
    ) -> None:
        """Where it is time and the shot is a photo, move `params` uphill, and `shown`, what of them is rendered, with
        them, in place; `descend` moves `params` back. Uphill of the photo alone: without other terms and exposure."""
        if self._cfg.sharpness <= 0.0 or progress < self._cfg.sharpness_start or shot.position is None:
            return
        view = shot.view
        kernels.render(shown, view.cam_from_world, view.intrinsics, background, settings)
        kernels.photometric(shot.target, shot.mask, ssim_weight)
        # Adam from zero at rate zero moves nothing, and its first moment is a tenth of the gradient.
        probe = AdamState.zeros(params)
        kernels.backward_adam(params, probe, AdamHyper(lr=dict.fromkeys(PARAMETER_NAMES, 0.0)))
        for name, gradient in probe.m.items():
            if gradient.numel() == 0:
                continue
            self._offset[name] = gradient * _inverse_norms(gradient) * (self._cfg.sharpness * self._rates[name])
            for tensor in (params[name],) if shown[name] is params[name] else (params[name], shown[name]):
                tensor.add_(self._offset[name])

    def descend(self, params: Mapping[str, Tensor]) -> None:
        """Take `climb` back, after the optimiser's step."""
        for name, offset in self._offset.items():
            params[name].sub_(offset)
        self._offset = {}


def _inverse_norms(gradient: Tensor) -> Tensor:
    """[N,1..] of a gradient [N,...]: over the norm of each row; 0 for rows of zeros."""
    values = gradient.reshape(len(gradient), -1).numpy()
    # numpy sums on one thread, in the same order every time.
    norms = np.sqrt((values * values).sum(axis=1))
    inverse = np.where(norms > 0, 1.0 / np.maximum(norms, np.float32(1e-30)), np.float32(0.0))
    return torch.from_numpy(inverse).reshape(-1, *[1] * (gradient.ndim - 1))

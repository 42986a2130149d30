# SPDX-License-Identifier: Apache-2.0
"""3D Gaussian Splatting as Markov Chain Monte Carlo (Kheradmand et al. 2024).

Dead splats are moved onto live ones so that the picture stays as it is (equation 9), the number grows by a fixed
share to the cap, and noise on the positions of faint splats lets them explore (equation 8).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sparse3d.geometry.quaternions import rotation_from_quats
from sparse3d.kernels.records import DensityStats
from sparse3d.train.splats.density.policy import (
    POLICIES,
    DensityPolicy,
    DensityUpdate,
    RefineContext,
    identity_update,
    sample_rows,
)

# Splats that share one place at most: more copies change equation 9 by less than float32 holds.
_MAX_SHARE = 51
# Noise falls to nothing above this opacity: sigmoid(100 * (0.005 - o)) is 1e-6 of its largest value at 0.14.
_NOISE_OPACITY_MAX = 0.14
_NOISE_SHARPNESS = 100.0


@POLICIES.register("mcmc")
class Mcmc(DensityPolicy):
    """Relocate the dead, grow to the cap, add noise."""

    def step(
        self, params: Mapping[str, Tensor], stats: DensityStats, context: RefineContext, generator: torch.Generator
    ) -> DensityUpdate | None:
        cfg = self.cfg
        update = identity_update(params)
        new, is_new, source_row = update.params, update.is_new, update.source_row
        opacity = torch.sigmoid(new["logit_opacities"])
        dead = torch.nonzero(opacity <= cfg.prune_opacity)[:, 0]
        count = len(opacity)
        if len(dead) == count:
            return None
        if len(dead):
            weights = opacity.clone()
            weights[dead] = 0.0
            sources = sample_rows(weights, len(dead), generator)
            _share(new, sources, cfg.prune_opacity)
            for tensor in new.values():
                tensor[dead] = tensor[sources]
            source_row[dead] = sources
            is_new[dead] = True
            is_new[sources] = True
        grown = max(0, min(cfg.cap, int((1 + cfg.mcmc_growth) * count)) - count)
        if grown:
            sources = sample_rows(torch.sigmoid(new["logit_opacities"]), grown, generator)
            _share(new, sources, cfg.prune_opacity)
            new = {name: torch.cat([tensor, tensor[sources]]) for name, tensor in new.items()}
            is_new[sources] = True
            source_row = torch.cat([source_row, source_row[sources]])
            is_new = torch.cat([is_new, torch.ones_like(sources, dtype=torch.bool)])
        if not len(dead) and not grown:
            return None
        return DensityUpdate(new, source_row, is_new, added=grown, removed=0, moved=len(dead))

    def after_step(self, params: Mapping[str, Tensor], means_rate: float, generator: torch.Generator) -> None:
        """means += rate * strength * sigmoid(100 (0.005 - o)) * covariance @ noise, for the faint splats only. The rate
        is a length, so the covariance is taken in units of the scene."""
        opacity = torch.sigmoid(params["logit_opacities"])
        faint = torch.nonzero(opacity < _NOISE_OPACITY_MAX)[:, 0]
        if not len(faint):
            return
        noise = torch.randn(len(faint), 3, generator=generator, device=generator.device)
        gate = torch.sigmoid(_NOISE_SHARPNESS * (self.cfg.prune_opacity - opacity[faint]))
        noise *= (gate * (means_rate * self.cfg.mcmc_noise / self.unit**2))[:, None]
        rotation = rotation_from_quats(params["quats_wxyz"][faint])
        variance = (2 * params["log_scales"][faint]).exp()
        # Covariance R S^2 R^T times noise, column by column: matmul's bits depend on the number of threads.
        local = [sum_of_three(*(rotation[:, i, j] * noise[:, i] for i in range(3))) * variance[:, j] for j in range(3)]
        moved = torch.stack([sum_of_three(*(rotation[:, i, j] * local[j] for j in range(3))) for i in range(3)], dim=1)
        params["means"][faint] += moved

    @property
    def regularisers(self) -> tuple[float, float]:
        return self.cfg.opacity_reg, self.cfg.scale_reg / self.unit

    @property
    def wants_stats(self) -> bool:
        return False


def sum_of_three(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return a + b + c


def relocated(opacity: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equation 9: opacity of each of `share` [M] coincident splats that look like one of `opacity` [M] in 0..1, and the
    factor [M] on its scales. Float64; share in 1.._MAX_SHARE."""
    new = 1 - (1 - opacity) ** (1.0 / share)
    total = np.zeros_like(new)
    binomial = np.ones_like(new)
    power = np.ones_like(new)
    for k in range(int(share.max(initial=0))):
        # The paper's double sum over i and k of C(i-1, k): summed over i it is C(share, k+1), zero beyond share.
        binomial = binomial * np.maximum(share - k, 0) / (k + 1)
        power = power * new
        total += (-1) ** k / np.sqrt(k + 1) * binomial * power
    return new, opacity / np.maximum(total, 1e-12)


def _share(params: dict[str, Tensor], sources: Tensor, least: float) -> None:
    """Change opacity and scale of the rows `sources` [M], with repeats, in place: each will share with its copies."""
    rows, times = np.unique(sources.numpy(), return_counts=True)
    index = torch.from_numpy(rows)
    opacity = torch.sigmoid(params["logit_opacities"][index]).double().numpy()
    # A saturated logit has no inverse in float32.
    new, factor = relocated(np.clip(opacity, 1e-6, 1 - 1e-6), np.minimum(times + 1, _MAX_SHARE).astype(np.float64))
    new = np.clip(new, least, 1 - 1e-6)
    params["logit_opacities"][index] = torch.from_numpy(np.log(new / (1 - new))).float()
    params["log_scales"][index] += torch.from_numpy(np.log(factor)).float()[:, None]

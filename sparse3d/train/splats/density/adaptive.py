# SPDX-License-Identifier: Apache-2.0
"""Adaptive density control (3DGS, Kerbl et al. 2023, section 5.2) driven by absolute gradients (AbsGS, Ye et al. 2024).

A splat whose image position is pulled hard, summed over pixels without letting opposite pulls cancel, is too coarse
there: a small one is cloned, a large one is split in two. Transparent and oversized ones are removed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from sparse3d.geometry.quaternions import rotation_from_quats
from sparse3d.kernels.records import DensityStats
from sparse3d.train.splats.density.policy import POLICIES, DensityPolicy, DensityUpdate, RefineContext

# The two halves of a split are this much smaller than the whole (3DGS).
_SPLIT_SHRINK = 1.6
# Opacity that a reset leaves at most (3DGS): above the pruning threshold, so that a splat may prove itself again.
_RESET_OPACITY = 0.01


@POLICIES.register("adaptive")
class Adaptive(DensityPolicy):
    """Clone, split and prune. The new set is: the rows that stay in their order, then clones, then halves of splits."""

    def step(
        self, params: Mapping[str, Tensor], stats: DensityStats, context: RefineContext, generator: torch.Generator
    ) -> DensityUpdate | None:
        prune = self._prunable(params, stats, context)
        if bool(prune.all()):
            # An empty scene cannot recover; better to keep what there is and let the loss speak.
            prune = torch.zeros_like(prune)
        chosen = self._chosen(params, stats, prune)
        large = params["log_scales"].amax(dim=1) > math.log(max(self.cfg.clone_scale * context.extent, 1e-30))
        clone_rows = torch.nonzero(chosen & ~large)[:, 0]
        split_rows = torch.nonzero(chosen & large)[:, 0]
        keep_rows = torch.nonzero(~prune & ~(chosen & large))[:, 0]

        source_row = torch.cat([keep_rows, clone_rows, split_rows, split_rows])
        new = {name: tensor[source_row].contiguous() for name, tensor in params.items()}
        is_new = torch.zeros_like(source_row, dtype=torch.bool)
        is_new[len(keep_rows) :] = True
        if len(clone_rows) and self.cfg.revised_opacity:
            shared = _shared_opacity(params["logit_opacities"][clone_rows])
            # keep_rows is sorted, and every cloned row is in it.
            new["logit_opacities"][torch.searchsorted(keep_rows, clone_rows)] = shared
            new["logit_opacities"][len(keep_rows) : len(keep_rows) + len(clone_rows)] = shared
        halves = slice(len(keep_rows) + len(clone_rows), None)
        if len(split_rows):
            noise = torch.randn(2 * len(split_rows), 3, generator=generator, device=generator.device)
            offsets = _rotate(new["quats_wxyz"][halves], noise * new["log_scales"][halves].exp())
            new["means"][halves] += offsets
            new["log_scales"][halves] -= math.log(_SPLIT_SHRINK)

        reset = self._control_opacity(new["logit_opacities"], context)
        added, removed = len(clone_rows) + len(split_rows), int(prune.sum())
        if added == 0 and removed == 0 and self.cfg.opacity_control == "none":
            return None
        return DensityUpdate(new, source_row, is_new, added, removed, 0, ("logit_opacities",) if reset else ())

    def _prunable(self, params: Mapping[str, Tensor], stats: DensityStats, context: RefineContext) -> Tensor:
        cfg = self.cfg
        prune = params["logit_opacities"] < math.log(cfg.prune_opacity / (1 - cfg.prune_opacity))
        if cfg.prune_scale > 0:
            prune |= params["log_scales"].amax(dim=1) > math.log(cfg.prune_scale * context.extent)
        if cfg.prune_radius > 0:
            prune |= stats.radius_max > cfg.prune_radius * context.image_side_px
        if cfg.prune_weight > 0:
            # Only what was looked at can be called useless.
            prune |= (stats.visible > 0) & (stats.weight_max < cfg.prune_weight)
        return prune

    def _chosen(self, params: Mapping[str, Tensor], stats: DensityStats, prune: Tensor) -> Tensor:
        """Mask of the splats to densify. Each adds one splat, cloned or split; those pulled hardest go first."""
        count = params["means"].shape[0]
        pull = stats.grad_abs / stats.visible.clamp(min=1)
        chosen = (pull > self.cfg.grad_threshold) & ~prune
        room = min(self.cfg.cap - (count - int(prune.sum())), int(self.cfg.growth * count))
        if int(chosen.sum()) > max(room, 0):
            rows = torch.nonzero(chosen)[:, 0]
            # A stable sort: equal pulls keep the order of rows, on any number of threads.
            order = torch.sort(pull[rows], descending=True, stable=True).indices
            chosen = torch.zeros_like(chosen)
            chosen[rows[order[: max(room, 0)]]] = True
        return chosen

    def _control_opacity(self, logits: Tensor, context: RefineContext) -> bool:
        """Reset or decay opacities in place; True where a reset happened."""
        control = self.cfg.opacity_control
        if control == "decay":
            opacity = torch.sigmoid(logits) * self.cfg.opacity_decay
            logits.copy_(torch.log(opacity / (1 - opacity)))
        if control != "reset":
            return False
        period = max(1, int(self.cfg.opacity_reset_every * context.steps))
        interval = max(1, context.interval)
        # True for the first change in each period of the run.
        if context.step // period == (context.step - interval) // period:
            return False
        logits.clamp_(max=math.log(_RESET_OPACITY / (1 - _RESET_OPACITY)))
        return True


def _shared_opacity(logits: Tensor) -> Tensor:
    """Logit of the opacity two coincident splats need to look like one: 1 - sqrt(1 - o) (Rota Bulo et al. 2024, eq.
    9)."""
    opacity = 1 - torch.sqrt(1 - torch.sigmoid(logits))
    opacity = opacity.clamp(1e-6, 1 - 1e-6)
    return torch.log(opacity / (1 - opacity))


def _rotate(quats_wxyz: Tensor, vectors: Tensor) -> Tensor:
    """R(q) v by products and sums of columns, not by matmul: the same bits on any number of threads."""
    rotation = rotation_from_quats(quats_wxyz)
    x, y, z = vectors.unbind(1)
    return torch.stack([rotation[:, i, 0] * x + rotation[:, i, 1] * y + rotation[:, i, 2] * z for i in range(3)], dim=1)

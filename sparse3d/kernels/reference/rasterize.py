# SPDX-License-Identifier: Apache-2.0
"""Splats to pictures: project, sort by depth, blend. The public entry of the reference."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sparse3d.kernels.records import Rasterization, RasterSettings
from sparse3d.kernels.reference.blend import Blended, Block, blend, pixel_offsets
from sparse3d.kernels.reference.projection import project

# Pixel-splat pairs held at once. Small, so that a rectangle leaves out most splats: 20,000 splats at 270x480 take 0.7 s
# and 400 MB with this, 5.5 s and 1.2 GB with 2^22 (one thread of a 2-core Xeon, float32).
PAIRS_AT_ONCE = 1 << 16


class Means2dGradients:
    """Collects the gradient of the loss to the 2D means, and the sum of its absolute value pixel by pixel.

    Hand it to `rasterize`, call backward, read `plain` and `absolute`, both [C,N,2] in loss per px. The absolute one
    is AbsGS (Ye et al. 2024), which tells a splat that two sides pull apart from one that nobody pulls.
    """

    def __init__(self) -> None:
        self.plain = torch.zeros(0, device="cpu")
        self.absolute = torch.zeros(0, device="cpu")

    def allocate(self, cameras: int, like: Tensor) -> None:
        self.plain = torch.zeros(cameras, like.shape[0], 2, dtype=like.dtype, device=like.device)
        self.absolute = torch.zeros_like(self.plain)

    def watch(self, offsets: Tensor, camera: int, index: Tensor) -> None:
        """Note the gradient of offsets [P,S,2] for the splats `index` [S] of one camera. The sign of an offset is the
        pixel minus the mean, hence the minus."""

        def note(v_offsets: Tensor) -> None:
            self.plain[camera, index] -= v_offsets.sum(0)
            self.absolute[camera, index] += v_offsets.abs().sum(0)

        offsets.register_hook(note)


def rasterize(
    means: Tensor,
    quats_wxyz: Tensor,
    log_scales: Tensor,
    logit_opacities: Tensor,
    sh0: Tensor,
    shN: Tensor,
    cam_from_world: Tensor,
    intrinsics: Tensor,
    background: Tensor,
    settings: RasterSettings,
    *,
    means2d_gradients: Means2dGradients | None = None,
    pairs_at_once: int = PAIRS_AT_ONCE,
) -> Rasterization:
    """Render C views of N raw splats; every output of `Rasterization`, differentiable as that record says.

    Splats as in the record `Splats`; cam_from_world [C,4,4], the upper 3x4 entries independent; intrinsics [C,4] fx,
    fy, cx, cy in px; background [C,3]. All tensors have one floating dtype, which is the dtype of the outputs. N may
    be 0. Gradients flow to every tensor argument; culled splats get exactly zero, whatever they hold.

    `pairs_at_once` bounds memory only: larger pictures are cut into rectangles, and a rectangle leaves out splats
    whose ellipse box is more than a pixel away, where alpha is zero by definition.
    """
    params = {
        "means": means,
        "quats_wxyz": quats_wxyz,
        "log_scales": log_scales,
        "logit_opacities": logit_opacities,
        "sh0": sh0,
        "shN": shN,
    }
    if means2d_gradients is not None:
        means2d_gradients.allocate(cam_from_world.shape[0], means)
    views = []
    for camera in range(cam_from_world.shape[0]):
        view = _View(camera, settings, means2d_gradients, pairs_at_once)
        views.append(view.render(params, cam_from_world[camera], intrinsics[camera], background[camera]))
    return Rasterization(*(torch.stack(parts) for parts in zip(*views, strict=True)))


class _View:
    """One camera's part of a rasterisation; holds what the recursion over rectangles shares."""

    def __init__(
        self, camera: int, settings: RasterSettings, collector: Means2dGradients | None, pairs_at_once: int
    ) -> None:
        self.camera, self.settings, self.collector, self.pairs_at_once = camera, settings, collector, pairs_at_once

    def render(self, params: dict[str, Tensor], pose: Tensor, intrinsics: Tensor, background: Tensor) -> Rasterization:
        settings = self.settings
        with torch.no_grad():
            rough = project(params, pose, intrinsics, settings)
            # Only the visible splats are projected again with gradients: zero times NaN is NaN, so a culled splat has
            # to be outside the graph. Stable sort: ties keep the order of the index.
            kept = torch.nonzero(rough.visible)[:, 0]
            kept = kept[torch.sort(rough.depths[kept], stable=True).indices]
        seen = project({name: value[kept] for name, value in params.items()}, pose, intrinsics, settings)
        # One matrix row per splat, so that a rectangle gathers once: mean 2, conic 3, opacity 1, colour 3, z 1.
        columns = [seen.means2d, seen.conics, seen.opacities[:, None], seen.colors.clamp(min=0), seen.depths[:, None]]
        self.rows = torch.cat(columns, dim=1)
        self.kept = kept
        self.low = (seen.means2d - seen.half_sizes).detach() - 1
        self.high = (seen.means2d + seen.half_sizes).detach() + 1
        self.weight_sum = torch.zeros_like(rough.depths)
        self.weight_max = torch.zeros_like(rough.depths)
        color, transmittance, depth, median = self._rectangle(
            Block(0, 0, settings.width, settings.height), torch.arange(len(kept), device=kept.device)
        )
        means2d = torch.where(rough.visible[:, None], rough.means2d, torch.zeros_like(rough.means2d))
        radii = torch.where(rough.visible, rough.half_sizes.amax(1), torch.zeros_like(rough.depths))
        return Rasterization(
            image=color + transmittance[..., None] * background,
            alpha=1 - transmittance,
            depth=depth if settings.depth else torch.zeros_like(depth),
            median_depth=median if settings.depth else torch.zeros_like(median),
            means2d=means2d,
            radii=radii,
            weight_sum=self.weight_sum,
            weight_max=self.weight_max,
        )

    def _rectangle(self, block: Block, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Blend `block`, cut in halves until its pairs fit. `index` are rows that may reach it, in depth order."""
        low, high = self.low[index], self.high[index]
        near = (low[:, 0] <= block.x1) & (high[:, 0] >= block.x0) & (low[:, 1] <= block.y1) & (high[:, 1] >= block.y0)
        index = index[near]
        if len(index) == 0:
            blank = self.rows.new_zeros(block.y1 - block.y0, block.x1 - block.x0)
            # No splat: the colour has no graph beyond the background's, but keeps the dtype and the shape.
            return blank[..., None].expand(-1, -1, 3), torch.ones_like(blank), blank, blank
        width, height = block.x1 - block.x0, block.y1 - block.y0
        if len(index) * block.pixels > self.pairs_at_once and block.pixels > 1:
            if height >= width:
                middle, dim = block.y0 + height // 2, 0
                halves = block._replace(y1=middle), block._replace(y0=middle)
            else:
                middle, dim = block.x0 + width // 2, 1
                halves = block._replace(x1=middle), block._replace(x0=middle)
            first, second = (self._rectangle(half, index) for half in halves)
            return tuple(torch.cat(pair, dim=dim) for pair in zip(first, second, strict=True))  # type: ignore[return-value]
        rows = self.rows[index]
        if rows.requires_grad and self.collector is None:
            # The block is blended again in the backward pass instead of keeping its pairs: memory is one block's.
            blended: Blended = checkpoint(  # type: ignore[assignment]
                self._blend, rows, index, block, use_reentrant=False, preserve_rng_state=False
            )
        else:
            blended = self._blend(rows, index, block)
        if self.settings.stats:
            splats = self.kept[index]
            self.weight_sum[splats] += blended.weight_sum
            self.weight_max[splats] = torch.maximum(self.weight_max[splats], blended.weight_max)
        return blended.color, blended.transmittance, blended.depth, blended.median_depth

    def _blend(self, rows: Tensor, index: Tensor, block: Block) -> Blended:
        means2d, conics, opacities, colors, depths = rows.split([2, 3, 1, 3, 1], dim=1)
        offsets = pixel_offsets(means2d, block)
        if self.collector is not None and offsets.requires_grad:
            self.collector.watch(offsets, self.camera, self.kept[index])
        return blend(offsets, conics, opacities[:, 0], colors, depths[:, 0], block)

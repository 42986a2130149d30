# SPDX-License-Identifier: Apache-2.0
"""The stages of one view's rasterisation as calls into the CPU kernels.

`Rasterizer` runs them on buffers from an arena. The public op gives it a fresh arena each call; the training step gives
it a persistent one. Both run the same code, so they give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.kernels.cpu.arena import Arena
from sparse3d.kernels.cpu.checks import Border, check_settings
from sparse3d.kernels.cpu.native import module
from sparse3d.kernels.records import OutputGradients, RasterSettings, View

RECORD_BYTES = 64
TILES_BYTES = 32
# Words of a record (cpu/raster/raster.h) that are read here.
RECORD_SPLAT, RECORD_NUM_PAIRS = 13, 15
SLOT_FLOATS = 12
# Pixel-splat pairs that a tile counts, of two kinds, in 64 bits each.
COUNT_BYTES = 16


@dataclass
class Pass:
    """One view's forward pass: outputs and what the backward pass needs.

    shape: number of splats, and of coefficients above degree 0.
    """

    view: object
    blend: object
    shape: tuple[int, int]
    visible: int
    num_pairs: int
    projected: object
    records: Tensor
    tiles: Tensor
    block_visible: Tensor
    block_slots: Tensor
    pairs: Tensor
    tile_start: Tensor
    masks: Tensor
    tile_used: Tensor
    image: Tensor
    transmittance: Tensor
    depth: Tensor | None
    median_depth: Tensor | None
    pair_weights: Tensor | None
    background: Tensor


@dataclass(frozen=True)
class AdamArrays:
    """What the fused update takes: 6 parameters, their 6 first and 6 second moments in one list, a step size a
    parameter, and constants as cpu/bindings/bindings.cpp lists them; density: the sums of `DensityStats`, or none."""

    arrays: Sequence[Tensor]
    step_sizes: Sequence[float]
    constants: Sequence[float]
    density: Sequence[Tensor] = field(default=())

    def check(self, border: Border) -> None:
        for first, prefix in ((0, "params."), (6, "m."), (12, "v.")):
            border.parameters(self.arrays[first : first + 6], prefix)
        for number, tensor in enumerate(self.density):
            border.array(f"stats[{number}]", tensor, "N")


# Named stages for whoever wants to time them; the default does nothing.
Stage = Callable[[str], None]


def no_stage(name: str) -> None:
    del name


class Rasterizer:
    """Runs the stages for one view. `stage(name)` is called when each stage has ended."""

    def __init__(self, arena: Arena, stage: Stage = no_stage) -> None:
        self.arena = arena
        self.stage = stage

    def forward(
        self,
        parameters: Sequence[Tensor],
        camera: View,
        background: Tensor,
        settings: RasterSettings,
        *,
        count_pixels: Tensor | None = None,
    ) -> Pass:
        """parameters: raw splats in the order of PARAMETER_NAMES; background [3]; count_pixels uint8 [tiles * 16]: gets
        the pixel-splat pairs inside the ellipses and those blended, of each tile. Raises DataError for arrays that do
        not fit."""
        border = Border("rasterize")
        border.parameters(parameters)
        border.array("cam_from_world", camera.cam_from_world, 4, 4)
        border.array("intrinsics", camera.intrinsics, 4)
        border.array("background", background, 3)
        check_settings(settings, parameters[5].shape[1])
        m, s = module(), settings
        view = m.make_view(
            camera.cam_from_world, camera.intrinsics, s.width, s.height, s.sh_degree, s.antialias, s.near
        )
        if count_pixels is not None:
            border.array("count_pixels", count_pixels, view.num_tiles * COUNT_BYTES, dtype=torch.uint8)
        splats = self._project(parameters, view, settings)
        pairs, tile_start = self._bin(splats, parameters[0].shape[0], view)
        return self._blend(splats, pairs, tile_start, view, background, settings, count_pixels)

    def _project(self, parameters: Sequence[Tensor], view, settings: RasterSettings) -> _Projected:
        m, take = module(), self.arena.take
        count = parameters[0].shape[0]
        blocks = math.ceil(count / m.block_splats)
        records = take("records", blocks * m.block_splats * RECORD_BYTES, torch.uint8)
        tiles = take("tiles", blocks * m.block_splats * TILES_BYTES, torch.uint8)
        block_visible = take("block_visible", blocks, torch.int32)
        block_slots = take("block_slots", blocks + 1, torch.int32)
        buffers = m.project_buffers(records, tiles, block_visible, block_slots)
        visible = m.project(list(parameters), view, buffers)
        if visible < 0:
            raise DataError(
                f"rasterize: {count} splats cover more than 2^31 tiles of a {settings.width}x{settings.height} image; "
                "render it smaller, or remove splats that are far too large"
            )
        self.stage("project")
        shape = (count, parameters[5].shape[1])
        return _Projected(buffers, shape, visible, int(block_slots[blocks]), records, tiles, block_visible, block_slots)

    def _bin(self, splats: _Projected, count: int, view) -> tuple[Tensor, Tensor]:
        """Pairs of splat and tile, tile by tile from front to back, and where each tile's begin."""
        m, take, visible = module(), self.arena.take, splats.visible
        order = take("order", visible, torch.int32)
        m.sort_by_depth(splats.buffers, count, visible, order, take("sort", 3 * visible, torch.int32))
        self.stage("sort")
        histogram = take("histogram", math.ceil(visible / m.block_splats) * view.num_tiles, torch.int32)
        tile_start = take("tile_start", view.num_tiles + 1, torch.int32)
        pairs = take("pairs", 2 * splats.num_pairs, torch.int32)
        m.bin(splats.buffers, order, visible, view, histogram, tile_start, pairs)
        self.stage("bin")
        return pairs, tile_start

    def _blend(
        self,
        splats: _Projected,
        pairs: Tensor,
        tile_start: Tensor,
        view,
        background: Tensor,
        settings: RasterSettings,
        counts: Tensor | None,
    ) -> Pass:
        m, take = module(), self.arena.take
        h, w = settings.height, settings.width
        masks = take("masks", 8 * splats.num_pairs, torch.uint8)
        tile_used = take("tile_used", view.num_tiles, torch.int32)
        image = take("image", h * w * 3, torch.float32).view(h, w, 3)
        transmittance = take("transmittance", h * w, torch.float32).view(h, w)
        depth = take("depth", h * w, torch.float32).view(h, w) if settings.depth else None
        median = take("median_depth", h * w, torch.float32).view(h, w) if settings.depth else None
        weights = take("pair_weights", 2 * splats.num_pairs, torch.float32) if settings.stats else None
        blend = m.blend_buffers(
            splats.records, pairs, tile_start, masks, tile_used, image, transmittance, depth, median, weights,
            background, counts,
        )  # fmt: skip
        m.blend_forward(view, blend)
        self.stage("blend")
        return Pass(
            view, blend, splats.shape, splats.visible, splats.num_pairs, splats.buffers, splats.records, splats.tiles,
            splats.block_visible, splats.block_slots, pairs, tile_start, masks, tile_used, image, transmittance, depth,
            median, weights, background,
        )  # fmt: skip

    def blend_backward(
        self, done: Pass, gradients: OutputGradients, *, absolute: bool, v_background: Tensor | None = None
    ) -> Tensor:
        """The pairs' gradient slots; v_background [num_tiles,3] receives each tile's share."""
        if gradients.image is None:
            raise DataError("rasterize: a backward pass needs the gradient of the image")
        if gradients.depth is not None and done.depth is None:
            raise DataError("rasterize: a gradient of depth needs settings.depth in the forward pass")
        border = Border("rasterize")
        border.bind("H", done.image.shape[0], "the rendering")
        border.bind("W", done.image.shape[1], "the rendering")
        v_image, v_alpha, v_depth = (
            None if v is None else v.contiguous() for v in (gradients.image, gradients.alpha, gradients.depth)
        )
        border.outputs({"v_image": v_image, "v_alpha": v_alpha, "v_depth": v_depth})
        if v_background is not None:
            border.array("v_background", v_background, done.tile_used.numel(), 3)
        slots = self.arena.take("slots", SLOT_FLOATS * done.num_pairs, torch.float32)
        module().blend_backward(done.view, done.blend, v_image, v_alpha, v_depth, slots, v_background, absolute)
        self.stage("blend_backward")
        return slots

    def finish_backward(
        self,
        parameters: Sequence[Tensor],
        done: Pass,
        slots: Tensor,
        *,
        gradients: Sequence[Tensor] = (),
        adam: AdamArrays | None = None,
        camera: bool = False,
    ) -> Tensor | None:
        """Dense `gradients`, or Adam in place, or neither; returns the gradient [3,4] of [R | t] where `camera`."""
        border = Border("rasterize")
        border.bind("N", done.shape[0], "the rendering")
        border.bind("K", done.shape[1], "the rendering")
        border.parameters(parameters)
        if gradients:
            border.parameters(gradients, "v_")
        if adam is not None:
            adam.check(border)
        update = adam or AdamArrays((), (), ())
        blocks = done.block_visible.numel()
        shares = self.arena.take("v_camera", 12 * blocks, torch.float32) if camera else None
        module().finish_backward(
            list(parameters), done.view, done.projected, slots, done.pair_weights, list(gradients),
            list(update.arrays), list(update.step_sizes), list(update.constants), list(update.density), shares,
        )  # fmt: skip
        self.stage("finish")
        return sum_rows(shares.view(blocks, 12)).view(3, 4) if shares is not None else None


@dataclass(frozen=True)
class _Projected:
    """The visible splats of one view: native buffers, and how many splats and splat-tile pairs there are."""

    buffers: object
    shape: tuple[int, int]
    visible: int
    num_pairs: int
    records: Tensor
    tiles: Tensor
    block_visible: Tensor
    block_slots: Tensor


def sum_rows(table: Tensor) -> Tensor:
    """Column sums [C] of a small table [R,C] in double precision, added in row order whatever the thread count."""
    return torch.from_numpy(table.numpy().astype("float64").sum(axis=0).astype("float32"))

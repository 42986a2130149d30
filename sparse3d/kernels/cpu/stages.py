# SPDX-License-Identifier: Apache-2.0
"""The stages of one view's rasterisation as calls into the CPU kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.kernels.cpu.arena import Arena
from sparse3d.kernels.cpu.native import module
from sparse3d.kernels.records import RasterSettings

RECORD_BYTES = 64


TILES_BYTES = 32


# Words of a record (cpu/raster.h) that are read here.
RECORD_SPLAT, RECORD_NUM_PAIRS = 13, 15


SLOT_FLOATS = 12


@dataclass
class Pass:
    """One view's forward pass: outputs and what the backward pass needs."""

    view: object
    blend: object
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
        cam_from_world: Tensor,
        intrinsics: Tensor,
        background: Tensor,
        settings: RasterSettings,
        *,
        count_pixels: Tensor | None = None,
    ) -> Pass:
        """parameters as check_parameters; cam_from_world [4,4], intrinsics [4], background [3], all float32."""
        m, take = module(), self.arena.take
        count = parameters[0].shape[0]
        h, w = settings.height, settings.width
        view = m.make_view(cam_from_world, intrinsics, w, h, settings.sh_degree, settings.antialias, settings.near)
        blocks = math.ceil(count / m.block_splats)
        records = take("records", blocks * m.block_splats * RECORD_BYTES, torch.uint8)
        tiles = take("tiles", blocks * m.block_splats * TILES_BYTES, torch.uint8)
        block_visible = take("block_visible", blocks, torch.int32)
        block_slots = take("block_slots", blocks + 1, torch.int32)
        projected = m.project_buffers(records, tiles, block_visible, block_slots)
        visible = m.project(list(parameters), view, projected)
        if visible < 0:
            raise DataError(
                f"rasterize: {count} splats cover more than 2^31 tiles of a {w}x{h} image; "
                "render it smaller, or remove splats that are far too large"
            )
        num_pairs = int(block_slots[blocks])
        self.stage("project")
        order = take("order", visible, torch.int32)
        m.sort_by_depth(projected, count, visible, order, take("sort", 3 * visible, torch.int32))
        self.stage("sort")
        histogram = take("histogram", math.ceil(visible / m.block_splats) * view.num_tiles, torch.int32)
        tile_start = take("tile_start", view.num_tiles + 1, torch.int32)
        pairs = take("pairs", 2 * num_pairs, torch.int32)
        m.bin(projected, order, visible, view, histogram, tile_start, pairs)
        self.stage("bin")
        masks = take("masks", 8 * num_pairs, torch.uint8)
        tile_used = take("tile_used", view.num_tiles, torch.int32)
        image = take("image", h * w * 3, torch.float32).view(h, w, 3)
        transmittance = take("transmittance", h * w, torch.float32).view(h, w)
        depth = take("depth", h * w, torch.float32).view(h, w) if settings.depth else None
        median = take("median_depth", h * w, torch.float32).view(h, w) if settings.depth else None
        weights = take("pair_weights", 2 * num_pairs, torch.float32) if settings.stats else None
        blend = m.blend_buffers(
            records, pairs, tile_start, masks, tile_used, image, transmittance, depth, median, weights, background,
            count_pixels,
        )  # fmt: skip
        m.blend_forward(view, blend)
        self.stage("blend")
        return Pass(
            view, blend, visible, num_pairs, projected, records, tiles, block_visible, block_slots, pairs, tile_start,
            masks, tile_used, image, transmittance, depth, median, weights, background,
        )  # fmt: skip

    def blend_backward(
        self,
        done: Pass,
        v_image: Tensor,
        v_alpha: Tensor | None,
        v_depth: Tensor | None,
        *,
        absolute: bool,
        v_background: Tensor | None = None,
    ) -> Tensor:
        """The pairs' gradient slots; v_background [num_tiles,3] receives each tile's share."""
        if v_depth is not None and done.depth is None:
            raise DataError("rasterize: a gradient of depth needs settings.depth in the forward pass")
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
        adam: Sequence[Tensor] = (),
        step_sizes: Sequence[float] = (),
        constants: Sequence[float] = (),
        density: Sequence[Tensor] = (),
        camera: bool = False,
    ) -> Tensor | None:
        """Either dense `gradients` or Adam in place; returns the gradient [3,4] of [R | t] where `camera`."""
        blocks = done.block_visible.numel()
        shares = self.arena.take("v_camera", 12 * blocks, torch.float32) if camera else None
        module().finish_backward(
            list(parameters), done.view, done.projected, slots, done.pair_weights,
            list(gradients), list(adam), list(step_sizes), list(constants), list(density), shares,
        )  # fmt: skip
        self.stage("finish")
        return sum_rows(shares.view(blocks, 12)).view(3, 4) if shares is not None else None


def sum_rows(table: Tensor) -> Tensor:
    """Column sums [C] of a small table [R,C] in double precision, added in row order whatever the thread count."""
    return torch.from_numpy(table.numpy().astype("float64").sum(axis=0).astype("float32"))

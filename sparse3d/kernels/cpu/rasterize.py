# SPDX-License-Identifier: Apache-2.0
"""The CPU rasteriser as a torch operator with autograd.

What is done per pixel or splat beside the kernels is done in numpy: torch would start its own threads for it, and those
spin between two calls, which makes a picture ten times slower where other processes use the processors.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparse3d.kernels.cpu.arena import FreshArena
from sparse3d.kernels.cpu.checks import Border
from sparse3d.kernels.cpu.native import module
from sparse3d.kernels.cpu.stages import (
    RECORD_BYTES,
    RECORD_NUM_PAIRS,
    RECORD_SPLAT,
    TILES_BYTES,
    Pass,
    Rasterizer,
    sum_rows,
)
from sparse3d.kernels.records import OutputGradients, Rasterization, RasterSettings, View


def _forward(parameters: list[Tensor], camera: View, background: Tensor, settings: RasterSettings) -> list[Tensor]:
    done = Rasterizer(FreshArena()).forward(parameters, camera, background, settings)
    n, h, w = parameters[0].shape[0], settings.height, settings.width
    means2d, radii, weight_sum, weight_max = _zeros(n, 2), _zeros(n), _zeros(n), _zeros(n)
    _scatter_statistics(done, means2d, radii, weight_sum, weight_max)
    alpha = torch.from_numpy(np.float32(1.0) - done.transmittance.numpy())
    depth = done.depth if done.depth is not None else _zeros(h, w)
    median = done.median_depth if done.median_depth is not None else _zeros(h, w)
    saved = [
        done.transmittance, done.records, done.tiles, done.block_visible, done.block_slots, done.pairs, done.tile_start,
        done.masks, done.tile_used,
    ]  # fmt: skip
    return [done.image, alpha, depth, median, means2d, radii, weight_sum, weight_max, *saved]


def _scatter_statistics(done: Pass, means2d: Tensor, radii: Tensor, weight_sum: Tensor, weight_max: Tensor) -> None:
    """Spreads the visible splats' records over rows of all splats."""
    blocks = done.block_visible.numel()
    if blocks == 0 or done.visible == 0:
        return
    floats = done.records.numpy().view(np.float32).reshape(blocks, -1, RECORD_BYTES // 4)
    lane = np.arange(floats.shape[1])[None, :] < done.block_visible.numpy()[:, None]
    rows = floats[lane]
    words = rows.view(np.int32)
    splat = words[:, RECORD_SPLAT]
    means2d.numpy()[splat] = rows[:, 0:2]
    radii.numpy()[splat] = done.tiles.numpy().view(np.float32).reshape(blocks, -1, TILES_BYTES // 4)[..., 0][lane]
    if done.pair_weights is not None and done.num_pairs > 0:
        # Slots stand in the order of the records.
        pair_splat = np.repeat(splat, words[:, RECORD_NUM_PAIRS])
        weights = done.pair_weights.numpy().reshape(-1, 2)
        np.add.at(weight_sum.numpy(), pair_splat, weights[:, 0])
        np.maximum.at(weight_max.numpy(), pair_splat, weights[:, 1])


def _zeros(*shape: int) -> Tensor:
    return torch.from_numpy(np.zeros(shape, np.float32))


@torch.library.custom_op("sparse3d::rasterize", mutates_args=(), device_types="cpu")
def _rasterize(
    parameters: list[Tensor], cam_from_world: Tensor, intrinsics: Tensor, background: Tensor,
    width: int, height: int, sh_degree: int, antialias: bool, near: float, depth: bool, stats: bool,
) -> list[Tensor]:  # fmt: skip
    settings = RasterSettings(width, height, sh_degree, antialias, near, depth, stats)
    return _forward(parameters, View(width, height, cam_from_world, intrinsics), background, settings)


@torch.library.custom_op("sparse3d::rasterize_vjp", mutates_args=(), device_types="cpu")
def _rasterize_vjp(
    parameters: list[Tensor], cam_from_world: Tensor, intrinsics: Tensor, background: Tensor,
    saved: list[Tensor], image: Tensor, depth_image: Tensor, v_image: Tensor, v_alpha: Tensor, v_depth: Tensor,
    width: int, height: int, sh_degree: int, antialias: bool, near: float, depth: bool, stats: bool,
) -> list[Tensor]:  # fmt: skip
    m = module()
    transmittance, records, tiles, block_visible, block_slots, pairs, tile_start, masks, tile_used = saved
    projected = m.project_buffers(records, tiles, block_visible, block_slots)
    view = m.make_view(cam_from_world, intrinsics, width, height, sh_degree, antialias, near)
    expected = depth_image if depth else None
    blend = m.blend_buffers(
        records, pairs, tile_start, masks, tile_used, image, transmittance, expected, expected, None, background, None
    )
    shape = (parameters[0].shape[0], parameters[5].shape[1])
    done = Pass(
        view, blend, shape, 0, pairs.numel() // 2, projected, records, tiles, block_visible, block_slots, pairs,
        tile_start, masks, tile_used, image, transmittance, expected, expected, None, background,
    )  # fmt: skip
    rasterizer = Rasterizer(FreshArena())
    v_background = torch.empty(view.num_tiles, 3)
    arriving = OutputGradients(v_image, v_alpha, v_depth if depth else None)
    slots = rasterizer.blend_backward(done, arriving, absolute=False, v_background=v_background)
    gradients = [torch.empty_like(p) for p in parameters]
    v_pose = rasterizer.finish_backward(parameters, done, slots, gradients=gradients, camera=True)
    v_matrix = torch.zeros(4, 4)
    if v_pose is not None:
        v_matrix[:3] = v_pose
    return [*gradients, v_matrix, sum_rows(v_background)]


def _setup(ctx, inputs, output) -> None:
    parameters, cam_from_world, intrinsics, background, *settings = inputs
    image, _, depth, *_ = output
    ctx.settings = settings
    ctx.save_for_backward(*parameters, cam_from_world, intrinsics, background, image, depth, *output[8:])
    ctx.set_materialize_grads(True)


def _backward(ctx, grads):
    tensors, (image, depth, *saved) = ctx.saved_tensors[:9], ctx.saved_tensors[9:]
    parameters, (cam_from_world, intrinsics, background) = list(tensors[:6]), tensors[6:]
    v_image, v_alpha, v_depth = (g.contiguous() for g in grads[:3])
    *gradients, v_pose, v_background = _rasterize_vjp(
        parameters, cam_from_world, intrinsics, background, saved, image, depth,
        v_image, v_alpha, v_depth, *ctx.settings,
    )  # fmt: skip
    return gradients, v_pose, None, v_background, *([None] * len(ctx.settings))


_rasterize.register_autograd(_backward, setup_context=_setup)


def rasterize(
    parameters: list[Tensor], cam_from_world: Tensor, intrinsics: Tensor, background: Tensor, settings: RasterSettings
) -> Rasterization:
    """C views, one after the other; arguments as sparse3d.kernels.rasterize."""
    poses, lenses, colours = (t.contiguous() for t in (cam_from_world, intrinsics, background))
    border = Border("rasterize")
    border.array("cam_from_world", poses, "C", 4, 4)
    border.array("intrinsics", lenses, "C", 4)
    border.array("background", colours, "C", 3)
    views = []
    for pose, k, colour in zip(poses, lenses, colours, strict=True):
        s = settings
        out = _rasterize(
            parameters, pose, k, colour,
            s.width, s.height, s.sh_degree, s.antialias, s.near, s.depth, s.stats,
        )  # fmt: skip
        views.append(out[:8])
    return Rasterization(*(_stacked(column) for column in zip(*views, strict=True)))


def _stacked(column: tuple[Tensor, ...]) -> Tensor:
    return column[0][None] if len(column) == 1 else torch.stack(column)

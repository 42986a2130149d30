# SPDX-License-Identifier: Apache-2.0
"""The CPU rasteriser and photometric loss as torch custom operators with autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse3d.kernels import cpu
from sparse3d.kernels.cpu.arena import FreshArena
from sparse3d.kernels.cpu.checks import check_array, check_parameters, check_settings
from sparse3d.kernels.cpu.stages import (
    RECORD_BYTES,
    RECORD_NUM_PAIRS,
    RECORD_SPLAT,
    TILES_BYTES,
    Pass,
    Rasterizer,
    sum_rows,
)
from sparse3d.kernels.records import Rasterization, RasterSettings

_SETTINGS = "int width, int height, int sh_degree, bool antialias, float near, bool depth, bool stats"


def _forward(
    parameters: list[Tensor],
    cam_from_world: Tensor,
    intrinsics: Tensor,
    background: Tensor,
    settings: RasterSettings,
) -> list[Tensor]:
    check_parameters(parameters)
    check_settings(settings, parameters[5].shape[1])
    check_array("cam_from_world", cam_from_world, (4, 4))
    check_array("intrinsics", intrinsics, (4,))
    check_array("background", background, (3,))
    done = Rasterizer(FreshArena()).forward(parameters, cam_from_world, intrinsics, background, settings)
    n, h, w = parameters[0].shape[0], settings.height, settings.width
    empty = torch.zeros(h, w)
    means2d, radii, weight_sum, weight_max = torch.zeros(n, 2), torch.zeros(n), torch.zeros(n), torch.zeros(n)
    _scatter_statistics(done, means2d, radii, weight_sum, weight_max)
    depth = done.depth if done.depth is not None else empty
    median = done.median_depth if done.median_depth is not None else empty.clone()
    saved = [
        done.transmittance, done.records, done.tiles, done.block_visible, done.block_slots, done.pairs, done.tile_start,
        done.masks, done.tile_used,
    ]  # fmt: skip
    return [done.image, 1.0 - done.transmittance, depth, median, means2d, radii, weight_sum, weight_max, *saved]


def _scatter_statistics(done: Pass, means2d: Tensor, radii: Tensor, weight_sum: Tensor, weight_max: Tensor) -> None:
    """Spreads the visible splats' records over rows of all splats."""
    blocks = done.block_visible.numel()
    if blocks == 0 or done.visible == 0:
        return
    floats = done.records.view(torch.float32).view(blocks, -1, RECORD_BYTES // 4)
    lane = torch.arange(floats.shape[1])[None, :] < done.block_visible[:, None]
    rows = floats[lane]
    words = rows.view(torch.int32)
    splat = words[:, RECORD_SPLAT].long()
    means2d[splat] = rows[:, 0:2]
    radii[splat] = done.tiles.view(torch.float32).view(blocks, -1, TILES_BYTES // 4)[lane][:, 0]
    if done.pair_weights is not None and done.num_pairs > 0:
        # Slots stand in the order of the records.
        pair_splat = torch.repeat_interleave(splat, words[:, RECORD_NUM_PAIRS].long())
        weights = done.pair_weights.view(-1, 2)
        weight_sum.index_add_(0, pair_splat, weights[:, 0])
        weight_max.scatter_reduce_(0, pair_splat, weights[:, 1], "amax")


@torch.library.custom_op("sparse3d::rasterize", mutates_args=(), device_types="cpu")
def _rasterize(
    parameters: list[Tensor], cam_from_world: Tensor, intrinsics: Tensor, background: Tensor,
    width: int, height: int, sh_degree: int, antialias: bool, near: float, depth: bool, stats: bool,
) -> list[Tensor]:  # fmt: skip
    settings = RasterSettings(width, height, sh_degree, antialias, near, depth, stats)
    return _forward(parameters, cam_from_world, intrinsics, background, settings)


@torch.library.custom_op("sparse3d::rasterize_vjp", mutates_args=(), device_types="cpu")
def _rasterize_vjp(
    parameters: list[Tensor], cam_from_world: Tensor, intrinsics: Tensor, background: Tensor,
    saved: list[Tensor], image: Tensor, depth_image: Tensor, v_image: Tensor, v_alpha: Tensor, v_depth: Tensor,
    width: int, height: int, sh_degree: int, antialias: bool, near: float, depth: bool, stats: bool,
) -> list[Tensor]:  # fmt: skip
    m = cpu.module()
    transmittance, records, tiles, block_visible, block_slots, pairs, tile_start, masks, tile_used = saved
    projected = m.project_buffers(records, tiles, block_visible, block_slots)
    view = m.make_view(cam_from_world, intrinsics, width, height, sh_degree, antialias, near)
    expected = depth_image if depth else None
    blend = m.blend_buffers(
        records, pairs, tile_start, masks, tile_used, image, transmittance, expected, expected, None, background, None
    )
    done = Pass(
        view, blend, 0, pairs.numel() // 2, projected, records, tiles, block_visible, block_slots, pairs, tile_start,
        masks, tile_used, image, transmittance, expected, expected, None, background,
    )  # fmt: skip
    rasterizer = Rasterizer(FreshArena())
    v_background = torch.empty(view.num_tiles, 3)
    slots = rasterizer.blend_backward(
        done, v_image, v_alpha, v_depth if depth else None, absolute=False, v_background=v_background
    )
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
    views = []
    for pose, k, colour in zip(cam_from_world, intrinsics, background, strict=True):
        s = settings
        out = _rasterize(
            parameters, pose.contiguous(), k.contiguous(), colour.contiguous(),
            s.width, s.height, s.sh_degree, s.antialias, s.near, s.depth, s.stats,
        )  # fmt: skip
        views.append(out[:8])
    return Rasterization(*(torch.stack(column) for column in zip(*views, strict=True)))


@torch.library.custom_op("sparse3d::photometric", mutates_args=(), device_types="cpu")
def _photometric(image: Tensor, target: Tensor, mask: Tensor | None, ssim_weight: float) -> list[Tensor]:
    check_images(image, target, mask)
    m = cpu.module()
    scratch = torch.empty(m.photometric_scratch(image.shape[0], image.shape[1]))
    v_image = torch.empty_like(image)
    loss, l1, ssim, squared = m.photometric(image, target, mask, ssim_weight, scratch, v_image)
    return [torch.tensor([loss, l1, ssim, squared], dtype=torch.float64), v_image]


def _photometric_setup(ctx, inputs, output) -> None:
    del inputs
    ctx.save_for_backward(output[1])


def _photometric_backward(ctx, grads):
    (v_image,) = ctx.saved_tensors
    return v_image * grads[0][0].float(), None, None, None


_photometric.register_autograd(_photometric_backward, setup_context=_photometric_setup)


def check_images(image: Tensor, target: Tensor, mask: Tensor | None) -> None:
    check_array("image", image, (*image.shape[:2], 3))
    check_array("target", target, tuple(image.shape))
    if mask is not None:
        check_array("mask", mask, tuple(image.shape[:2]))


def l1_ssim_loss(image: Tensor, target: Tensor, mask: Tensor | None, ssim_weight: float) -> Tensor:
    """Scalar float64, differentiable with respect to `image`; arguments as sparse3d.kernels.l1_ssim_loss."""
    return _photometric(image.contiguous(), target.contiguous(), mask, ssim_weight)[0][0]


def image_statistics(image: Tensor, target: Tensor, mask: Tensor | None) -> tuple[float, float, float]:
    """Mean |x - y|, mean SSIM and mean squared error, no gradient."""
    image, target = image.contiguous(), target.contiguous()
    check_images(image, target, mask)
    _, l1, ssim, squared = cpu.module().photometric(image, target, mask, 0.2, None, None)
    return l1, ssim, squared

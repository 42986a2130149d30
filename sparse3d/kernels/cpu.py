# SPDX-License-Identifier: Apache-2.0
"""The CPU kernels: which build of them runs here, and the stages of one view's rasterisation as calls into it.

`Rasterizer` runs the stages on buffers from an arena. The public op gives it a fresh arena each call; the trainer's
StepWorkspace gives it a persistent one. Both run the same code, so they give the same bits.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from sparse3d.errors import BackendError, DataError
from sparse3d.kernels.types import RasterSettings

RECORD_BYTES = 64
TILES_BYTES = 32
# Words of a record (cpu/raster.h) that are read here.
RECORD_SPLAT, RECORD_NUM_PAIRS = 13, 15
SLOT_FLOATS = 12
# Instruction sets, best first, with what torch calls the processor that has them.
_LEVELS = {
    "v4": ("AVX512",),
    "v3": ("AVX512", "AVX2"),
    "base": ("AVX512", "AVX2", "DEFAULT"),
    "neon": ("DEFAULT", "SVE256"),
}

_module: ModuleType | None = None
_level = ""


def _load(level: str) -> ModuleType:
    return importlib.import_module(f"sparse3d._cpu_{level}")


def available_levels() -> list[str]:
    """Names of the builds that are installed and that this processor can run, best first."""
    capability = torch.backends.cpu.get_cpu_capability()
    found = []
    for level, needs in _LEVELS.items():
        if capability in needs and importlib.util.find_spec(f"sparse3d._cpu_{level}") is not None:
            found.append(level)
    return found


def module() -> ModuleType:
    """The extension in use: the one that S3D_SIMD names, else the best. Raises BackendError where there is none."""
    global _module, _level
    if _module is None:
        levels = available_levels()
        wanted = os.environ.get("S3D_SIMD", "")
        if wanted and wanted not in levels:
            raise BackendError(
                f"S3D_SIMD asks for the CPU kernels {wanted!r}; this machine and installation have: "
                f"{', '.join(levels) or 'none'}"
            )
        if not levels:
            raise BackendError(
                "the CPU kernels are not built for this machine (processor capability "
                f"{torch.backends.cpu.get_cpu_capability()}); reinstall with a C++20 compiler: pip install ."
            )
        _level = wanted or levels[0]
        _module = _load(_level)
    return _module


def level() -> str:
    """Name of the build in use."""
    module()
    return _level


@contextlib.contextmanager
def use_level(name: str) -> Iterator[None]:
    """Runs the body on another build, for tests. Raises BackendError where this machine lacks it."""
    global _module, _level
    if name not in available_levels():
        raise BackendError(f"this machine has no CPU kernels {name!r} (it has: {', '.join(available_levels())})")
    before = (_module, _level)
    _module, _level = _load(name), name
    try:
        yield
    finally:
        _module, _level = before


def set_threads(count: int) -> int:
    """Threads that kernels use (0: one a processor); returns the number in force. Results do not depend on it."""
    return module().set_num_threads(count)


class Arena:
    """Named buffers that keep their memory from call to call and grow by a quarter more than asked."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, count: int, dtype: torch.dtype) -> Tensor:
        """A 1-D buffer of `count` elements, contents undefined."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < count or buffer.dtype != dtype:
            buffer = torch.empty(count + count // 4 + 16, dtype=dtype)
            self._buffers[name] = buffer
        return buffer[:count]

    def nbytes(self) -> int:
        return sum(b.numel() * b.element_size() for b in self._buffers.values())


class FreshArena(Arena):
    """An arena whose every buffer is new: what autograd may keep."""

    def take(self, name: str, count: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(count, dtype=dtype)


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


def check_parameters(parameters: Sequence[Tensor]) -> None:
    """Raises DataError unless the six tensors are contiguous float32 on the CPU with shapes that fit together."""
    names = ("means", "quats_wxyz", "log_scales", "logit_opacities", "sh0", "shN")
    n = parameters[0].shape[0]
    k = parameters[5].shape[1] if parameters[5].ndim == 3 else 0
    shapes = ((n, 3), (n, 4), (n, 3), (n,), (n, 1, 3), (n, k, 3))
    for name, tensor, shape in zip(names, parameters, shapes, strict=True):
        if tensor.shape != shape:
            raise DataError(f"rasterize: {name} has shape {tuple(tensor.shape)}, expected {shape} (N is {n} in means)")
        check_array(name, tensor)
    if n >= 2**31:
        raise DataError(f"rasterize: {n} splats are more than the CPU kernels can number (2^31)")


def check_array(name: str, tensor: Tensor, shape: tuple[int, ...] | None = None) -> None:
    if tensor.dtype != torch.float32 or tensor.device.type != "cpu" or not tensor.is_contiguous():
        raise DataError(
            f"the CPU kernels need {name} as contiguous float32 on the cpu; found {tensor.dtype} on "
            f"{tensor.device}, contiguous: {tensor.is_contiguous()}"
        )
    if shape is not None and tensor.shape != shape:
        raise DataError(f"{name} has shape {tuple(tensor.shape)}, expected {shape}")


def check_settings(settings: RasterSettings, sh_rest: int) -> None:
    if not 0 <= settings.sh_degree <= 4:
        raise DataError(f"rasterize: sh_degree is {settings.sh_degree}, expected 0 to 4")
    if (settings.sh_degree + 1) ** 2 - 1 > sh_rest:
        raise DataError(f"rasterize: sh_degree {settings.sh_degree} needs more than the {sh_rest} coefficients in shN")
    if not (1 <= settings.width <= 65535 and 1 <= settings.height <= 65535):
        raise DataError(f"rasterize: image size {settings.width}x{settings.height} is not within 1 to 65535")


# Named stages for whoever wants to time them; the default does nothing.
Stage = Callable[[str], None]


def _no_stage(name: str) -> None:
    del name


class Rasterizer:
    """Runs the stages for one view. `stage(name)` is called when each stage has ended."""

    def __init__(self, arena: Arena, stage: Stage = _no_stage) -> None:
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

# SPDX-License-Identifier: Apache-2.0
"""The training step on splats on persistent buffers: render, then backward, fused with Adam or not.

The same kernels as the public op, without autograd between them and without writing the gradients of invisible splats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.kernels.cpu.arena import Arena
from sparse3d.kernels.cpu.native import set_threads
from sparse3d.kernels.cpu.stages import AdamArrays, Pass, Rasterizer, Stage, no_stage
from sparse3d.kernels.records import (
    AdamHyper,
    AdamState,
    DensityStats,
    OutputGradients,
    RasterSettings,
    SplatGradients,
    View,
)
from sparse3d.splats import PARAMETER_NAMES


@dataclass(frozen=True)
class CpuStepRendering:
    """Views of the step's buffers, valid until the next render. alpha is computed when asked for."""

    image: Tensor
    transmittance: Tensor
    depth: Tensor | None
    median_depth: Tensor | None

    @property
    def alpha(self) -> Tensor:
        return 1.0 - self.transmittance


class CpuSplatStep:
    """`kernels.step.SplatStep` on the CPU kernels. Not for use from two threads."""

    def __init__(self, threads: int = 0, stage: Stage = no_stage) -> None:
        set_threads(threads)
        self._arena = Arena()
        self._rasterizer = Rasterizer(self._arena, stage)
        self._pass: Pass | None = None

    def nbytes(self) -> int:
        """Memory held by the buffers."""
        return self._arena.nbytes()

    def render(
        self, params: Mapping[str, Tensor], view: View, background: Tensor, settings: RasterSettings
    ) -> CpuStepRendering:
        done = self._rasterizer.forward([params[name] for name in PARAMETER_NAMES], view, background, settings)
        self._pass = done
        return CpuStepRendering(done.image, done.transmittance, done.depth, done.median_depth)

    def backward(
        self, params: Mapping[str, Tensor], gradients: OutputGradients, *, splats: bool = True, camera: bool = False
    ) -> SplatGradients:
        done = self._rendered("backward")
        slots = self._rasterizer.blend_backward(done, gradients, absolute=False)
        parameters = [params[name] for name in PARAMETER_NAMES]
        found = [torch.empty_like(tensor) for tensor in parameters] if splats else []
        v_camera = self._rasterizer.finish_backward(parameters, done, slots, gradients=found, camera=camera)
        return SplatGradients(dict(zip(PARAMETER_NAMES, found, strict=True)) if splats else None, v_camera)

    def backward_adam(
        self,
        params: Mapping[str, Tensor],
        adam: AdamState,
        hyper: AdamHyper,
        gradients: OutputGradients,
        *,
        stats: DensityStats | None = None,
        camera: bool = False,
        at: Mapping[str, Tensor] | None = None,
    ) -> Tensor | None:
        done = self._rendered("backward_adam")
        slots = self._rasterizer.blend_backward(done, gradients, absolute=stats is not None)
        update = _update(params, adam, hyper, adam.step + 1, () if stats is None else stats.tensors())
        taken = params if at is None else at
        v_camera = self._rasterizer.finish_backward(
            [taken[name] for name in PARAMETER_NAMES], done, slots, adam=update, camera=camera
        )
        adam.step += 1
        return v_camera

    def _rendered(self, call: str) -> Pass:
        if self._pass is None:
            raise DataError(f"{call} needs a render before it")
        return self._pass


def _update(
    params: Mapping[str, Tensor], adam: AdamState, hyper: AdamHyper, step: int, density: list[Tensor] | tuple[()]
) -> AdamArrays:
    """Adam's update number `step`, 1 for the first, as native code takes it."""
    bias1, bias2 = 1.0 - hyper.beta1**step, 1.0 - hyper.beta2**step
    count = max(1, params["means"].shape[0])
    arrays = [table[name] for table in (params, adam.m, adam.v) for name in PARAMETER_NAMES]
    regularisers = [hyper.opacity_reg / count, hyper.scale_reg / (3 * count)]
    decays = [hyper.beta1, hyper.beta2, 1.0 - hyper.beta1, 1.0 - hyper.beta2]
    step_sizes = [hyper.lr[name] / bias1 for name in PARAMETER_NAMES]
    return AdamArrays(arrays, step_sizes, [*decays, hyper.eps, 1.0 / bias2, *regularisers], density)

# SPDX-License-Identifier: Apache-2.0
"""The trainer's own step on persistent buffers: render, photometric loss, backward fused with Adam.

The same kernels as the public ops, without autograd between them and without writing the gradients of invisible
splats. Torch terms may act on `image`, `alpha` and `depth` as leaves and hand their gradients to `backward_adam`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.kernels import cpu
from sparse3d.kernels.cpu.arena import Arena
from sparse3d.kernels.cpu.checks import check_array, check_parameters, check_settings
from sparse3d.kernels.cpu.stages import Pass, Rasterizer, Stage, no_stage
from sparse3d.kernels.records import AdamHyper, AdamState, DensityStats, PhotometricLoss, RasterSettings
from sparse3d.splats import PARAMETER_NAMES


@dataclass(frozen=True)
class StepRendering:
    """Views of the workspace's buffers, valid until the next render. alpha is computed when asked for."""

    image: Tensor
    transmittance: Tensor
    depth: Tensor | None
    median_depth: Tensor | None

    @property
    def alpha(self) -> Tensor:
        return 1.0 - self.transmittance


@dataclass
class StepWorkspace:
    """Buffers and calls of one training step on the CPU kernels. Not for use from two threads."""

    threads: int = 0
    stage: Stage = no_stage
    last: PhotometricLoss = field(default_factory=PhotometricLoss)

    def __post_init__(self) -> None:
        cpu.set_threads(self.threads)
        self._arena = Arena()
        self._rasterizer = Rasterizer(self._arena, self.stage)
        self._pass: Pass | None = None
        self.v_image: Tensor | None = None

    @property
    def last_pass(self) -> Pass:
        if self._pass is None:
            raise DataError("StepWorkspace: render comes first")
        return self._pass

    def nbytes(self) -> int:
        """Memory held by the buffers."""
        return self._arena.nbytes()

    def render(
        self,
        params: Mapping[str, Tensor],
        cam_from_world: Tensor,
        intrinsics: Tensor,
        background: Tensor,
        settings: RasterSettings,
    ) -> StepRendering:
        """One view; shapes as one element of sparse3d.kernels.rasterize's batches."""
        parameters = [params[name] for name in PARAMETER_NAMES]
        check_parameters(parameters)
        check_settings(settings, parameters[5].shape[1])
        done = self._rasterizer.forward(parameters, cam_from_world, intrinsics, background, settings)
        self._pass = done
        return StepRendering(done.image, done.transmittance, done.depth, done.median_depth)

    def photometric(
        self, target: Tensor, mask: Tensor | None, ssim_weight: float, image: Tensor | None = None
    ) -> float:
        """Loss of the last rendering (or of `image`, what a torch term made of it); fills `v_image` [H,W,3]."""
        image = self.last_pass.image if image is None else image.detach().contiguous()
        h, w = image.shape[:2]
        check_array("target", target, (h, w, 3))
        m = cpu.module()
        scratch = self._arena.take("photometric", m.photometric_scratch(h, w), torch.float32)
        self.v_image = self._arena.take("v_image", h * w * 3, torch.float32).view(h, w, 3)
        self.last = PhotometricLoss(*m.photometric(image, target, mask, ssim_weight, scratch, self.v_image))
        self.stage("loss")
        return self.last.loss

    def backward_adam(
        self,
        params: Mapping[str, Tensor],
        adam: AdamState,
        hyper: AdamHyper,
        *,
        v_image: Tensor | None = None,
        v_alpha: Tensor | None = None,
        v_depth: Tensor | None = None,
        stats: DensityStats | None = None,
        camera_grad: bool = False,
        at: Mapping[str, Tensor] | None = None,
    ) -> Tensor | None:
        """Updates, in place, parameters and moments of the splats that the last rendering saw; adam.step grows by one.

        at: where the gradient is taken, the parameters that were rendered, where those are others than the ones to
        update (a straight-through step). v_image defaults to what `photometric` left. Returns the gradient [3,4] of
        cam_from_world's [R | t] where asked for.
        """
        done = self.last_pass
        v_image = self.v_image if v_image is None else v_image.contiguous()
        if v_image is None:
            raise DataError("StepWorkspace: backward_adam needs v_image, or photometric before it")
        v_alpha = None if v_alpha is None else v_alpha.contiguous()
        v_depth = None if v_depth is None else v_depth.contiguous()
        slots = self._rasterizer.blend_backward(done, v_image, v_alpha, v_depth, absolute=stats is not None)
        adam.step += 1
        bias1, bias2 = 1.0 - hyper.beta1**adam.step, 1.0 - hyper.beta2**adam.step
        count = max(1, params["means"].shape[0])
        parameters = [params[name] for name in PARAMETER_NAMES]
        return self._rasterizer.finish_backward(
            parameters if at is None else [at[name] for name in PARAMETER_NAMES],
            done,
            slots,
            adam=[*parameters, *(adam.m[k] for k in PARAMETER_NAMES), *(adam.v[k] for k in PARAMETER_NAMES)],
            step_sizes=[hyper.lr[k] / bias1 for k in PARAMETER_NAMES],
            constants=[hyper.beta1, hyper.beta2, 1.0 - hyper.beta1, 1.0 - hyper.beta2, hyper.eps, 1.0 / bias2,
                       hyper.opacity_reg / count, hyper.scale_reg / (3 * count)],
            density=stats.tensors() if stats is not None else (),
            camera=camera_grad,
        )  # fmt: skip

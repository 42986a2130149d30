# SPDX-License-Identifier: Apache-2.0
"""The photometric loss on the CPU kernels: on persistent buffers for training, and as a torch operator."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse3d.kernels.cpu.arena import Arena
from sparse3d.kernels.cpu.checks import check_images
from sparse3d.kernels.cpu.native import module
from sparse3d.kernels.cpu.stages import Stage, no_stage
from sparse3d.kernels.records import PhotometricLoss


class CpuPhotometric:
    """`kernels.step.Photometric` on the CPU kernels. Not for use from two threads."""

    def __init__(self, stage: Stage = no_stage) -> None:
        self._arena, self._stage = Arena(), stage

    def nbytes(self) -> int:
        """Memory held by the buffers."""
        return self._arena.nbytes()

    def __call__(self, image: Tensor, target: Tensor, mask: Tensor | None, ssim_weight: float) -> PhotometricLoss:
        image = image.detach().contiguous()
        check_images(image, target, mask)
        h, w = image.shape[:2]
        scratch = self._arena.take("scratch", module().photometric_scratch(h, w), torch.float32)
        v_image = self._arena.take("v_image", h * w * 3, torch.float32).view(h, w, 3)
        loss, l1, ssim, squared = module().photometric(image, target, mask, ssim_weight, scratch, v_image)
        self._stage("loss")
        return PhotometricLoss(loss, l1, ssim, squared, v_image)


@torch.library.custom_op("sparse3d::photometric", mutates_args=(), device_types="cpu")
def _photometric(image: Tensor, target: Tensor, mask: Tensor | None, ssim_weight: float) -> list[Tensor]:
    check_images(image, target, mask)
    m = module()
    scratch = torch.empty(m.photometric_scratch(image.shape[0], image.shape[1]))
    v_image = torch.empty_like(image)
    loss, l1, ssim, squared = m.photometric(image, target, mask, ssim_weight, scratch, v_image)
    return [torch.tensor([loss, l1, ssim, squared], dtype=torch.float64), v_image]


def _setup(ctx, inputs, output) -> None:
    del inputs
    ctx.save_for_backward(output[1])


def _backward(ctx, grads):
    (v_image,) = ctx.saved_tensors
    return v_image * grads[0][0].float(), None, None, None


_photometric.register_autograd(_backward, setup_context=_setup)


def l1_ssim_loss(image: Tensor, target: Tensor, mask: Tensor | None, ssim_weight: float) -> Tensor:
    """Scalar float64, differentiable with respect to `image`; arguments as sparse3d.kernels.l1_ssim_loss."""
    return _photometric(image.contiguous(), target.contiguous(), mask, ssim_weight)[0][0]


def image_statistics(image: Tensor, target: Tensor, mask: Tensor | None) -> tuple[float, float, float]:
    """Mean |x - y|, mean SSIM and mean squared error, no gradient."""
    image, target = image.contiguous(), target.contiguous()
    check_images(image, target, mask)
    _, l1, ssim, squared = module().photometric(image, target, mask, 0.2, None, None)
    return l1, ssim, squared

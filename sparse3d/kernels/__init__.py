# SPDX-License-Identifier: Apache-2.0
"""Typed operations on splats and images, with autograd, on the back end that the tensors' device or a name chooses."""

from __future__ import annotations

from torch import Tensor

from sparse3d.errors import BackendError
from sparse3d.kernels.records import Rasterization, RasterSettings

BACKENDS = ("cpu", "reference")

__all__ = [
    "BACKENDS",
    "Rasterization",
    "RasterSettings",
    "choose_backend",
    "image_statistics",
    "l1_ssim_loss",
    "rasterize",
]


def choose_backend(tensor: Tensor, backend: str | None = None) -> str:
    """`backend` where it is given and exists, else what the tensor's device asks for. Never falls back in silence."""
    if backend is None:
        backend = tensor.device.type
    if backend == "cuda":
        raise BackendError("the CUDA back end is not in this version (cuda/README.md); move the tensors to the cpu")
    if backend not in BACKENDS:
        raise BackendError(f"no back end {backend!r} (there are: {', '.join(BACKENDS)})")
    return backend


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
    backend: str | None = None,
) -> Rasterization:
    """Renders C views of N splats (raw parameters, see Splats).

    cam_from_world [C,4,4]; intrinsics [C,4] fx fy cx cy in pixels; background [C,3]. Differentiable with respect to
    all six parameters, cam_from_world (its 12 upper entries taken as independent) and background. Splats with
    anything not finite are culled. N = 0 gives the background.
    """
    parameters = (means, quats_wxyz, log_scales, logit_opacities, sh0, shN)
    if choose_backend(means, backend) == "reference":
        from sparse3d.kernels import reference

        return reference.rasterize(*parameters, cam_from_world, intrinsics, background, settings)
    from sparse3d.kernels.cpu import rasterize as op

    return op.rasterize([p.contiguous() for p in parameters], cam_from_world, intrinsics, background, settings)


def l1_ssim_loss(
    image: Tensor, target: Tensor, mask: Tensor | None = None, ssim_weight: float = 0.2, *, backend: str | None = None
) -> Tensor:
    """(1 - w) * mean |x - y| + w * (1 - mean SSIM) of two images [H,W,3]; gradient to `image`.

    SSIM: 11x11 Gaussian window, sigma 1.5, zero padding (Wang et al. 2004, as in 3DGS). With mask [H,W] in 0..1 both
    images are multiplied by it before windowing, and means run over pixels weighted by it.
    """
    if choose_backend(image, backend) == "reference":
        from sparse3d.kernels import reference

        return reference.l1_ssim_loss(image, target, mask, ssim_weight)
    from sparse3d.kernels.cpu import photometric as op

    return op.l1_ssim_loss(image, target, mask, ssim_weight)


def image_statistics(image: Tensor, target: Tensor, mask: Tensor | None = None) -> tuple[float, float, float]:
    """Mean |x - y|, mean SSIM and mean squared error of two images [H,W,3], on the CPU kernels."""
    from sparse3d.kernels.cpu import photometric as op

    return op.image_statistics(image, target, mask)

# SPDX-License-Identifier: Apache-2.0
"""What crosses the border to the CPU kernels is checked here."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.kernels.records import RasterSettings


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

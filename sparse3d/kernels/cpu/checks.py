# SPDX-License-Identifier: Apache-2.0
"""Every array that enters the CPU kernels is checked here: type, layout, device, and its shape by named axes.

Native code takes plain pointers, so a wrong array would read or write out of bounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.kernels.records import RasterSettings
from sparse3d.splats import PARAMETER_NAMES

# Of raw splats by name; K: coefficients above degree 0.
_SHAPES: dict[str, tuple[str | int, ...]] = {
    "means": ("N", 3),
    "quats_wxyz": ("N", 4),
    "log_scales": ("N", 3),
    "logit_opacities": ("N",),
    "sh0": ("N", 1, 3),
    "shN": ("N", "K", 3),
}


class Border:
    """The arrays of one call. An axis has the size of the first array that names it: a later one that differs is an
    error, which says where the size comes from."""

    def __init__(self, call: str) -> None:
        self._call = call
        self._axes: dict[str, tuple[int, str]] = {}

    def bind(self, axis: str, size: int, source: str) -> None:
        self._axes[axis] = (size, source)

    def array(self, name: str, tensor: Tensor, *axes: str | int, dtype: torch.dtype = torch.float32) -> None:
        """Raises DataError unless `tensor` is contiguous, of `dtype`, on the CPU, and has these axes."""
        if tensor.dtype != dtype or tensor.device.type != "cpu" or not tensor.is_contiguous():
            kind = str(dtype).removeprefix("torch.")
            layout = "contiguous" if tensor.is_contiguous() else "not contiguous"
            raise DataError(
                f"{self._call}: {name} is {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}, {layout}; the "
                f"CPU kernels need contiguous {kind} on the cpu"
            )
        for axis, size in zip(axes, tensor.shape):
            if isinstance(axis, str):
                self._axes.setdefault(axis, (size, name))
        sizes = [self._axes.get(axis, (None, ""))[0] if isinstance(axis, str) else axis for axis in axes]
        if list(tensor.shape) != sizes:
            wanted = ", ".join(map(str, axes))
            known = [f"{a} = {self._axes[a][0]} as in {self._axes[a][1]}" for a in axes if a in self._axes]
            given = f" with {', '.join(known)}" if known else ""
            raise DataError(f"{self._call}: {name} has shape {list(tensor.shape)}, expected [{wanted}]{given}")

    def parameters(self, tensors: Sequence[Tensor], prefix: str = "") -> None:
        """Raw splats, or what is shaped like them, in the order of PARAMETER_NAMES."""
        for name, tensor in zip(PARAMETER_NAMES, tensors, strict=True):
            self.array(prefix + name, tensor, *_SHAPES[name])
        if tensors[0].shape[0] >= 2**31:
            raise DataError(f"{self._call}: {tensors[0].shape[0]} splats are more than the kernels can number (2^31)")

    def outputs(self, gradients: Mapping[str, Tensor | None]) -> None:
        """Gradients by name to images of H x W pixels, which are bound already."""
        for name, tensor in gradients.items():
            if tensor is not None:
                self.array(name, tensor, *(("H", "W", 3) if name == "v_image" else ("H", "W")))


def check_settings(settings: RasterSettings, sh_rest: int) -> None:
    if not 0 <= settings.sh_degree <= 4:
        raise DataError(f"rasterize: sh_degree is {settings.sh_degree}, expected 0 to 4")
    if (settings.sh_degree + 1) ** 2 - 1 > sh_rest:
        raise DataError(f"rasterize: sh_degree {settings.sh_degree} needs more than the {sh_rest} coefficients in shN")
    if not (1 <= settings.width <= 65535 and 1 <= settings.height <= 65535):
        raise DataError(f"rasterize: image size {settings.width}x{settings.height} is not within 1 to 65535")


def check_images(image: Tensor, target: Tensor, mask: Tensor | None) -> None:
    """Raises DataError unless image and target are [H,W,3] and the mask [H,W], as native code takes them."""
    border = Border("photometric")
    border.array("image", image, "H", "W", 3)
    border.array("target", target, "H", "W", 3)
    if mask is not None:
        border.array("mask", mask, "H", "W")

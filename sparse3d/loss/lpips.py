# SPDX-License-Identifier: Apache-2.0
"""LPIPS (Zhang et al. 2018) with VGG-16, from weights that the user has: nothing is downloaded.

The file is safetensors with torchvision's names for VGG-16 (`features.0.weight`, `features.0.bias`, ...) and the
reference implementation's for the five linear heads (`lin0.model.1.weight` ... `lin4.model.1.weight`, [1,C,1,1]).
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from sparse3d.errors import DataError

# Positions of the convolutions in torchvision's vgg16().features, by block; a block ends with the layer whose output is
# compared, and the next one begins with a 2x2 max pooling.
_BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
_CHANNELS = (64, 128, 256, 512, 512)
# Mean and standard deviation of ImageNet for pictures in -1..1 (the reference implementation's scaling layer).
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


class Lpips:
    """Perceptual distance of two pictures, 0 for equal ones. Raises DataError where the weights are not as said
    above."""

    def __init__(self, weights: Path) -> None:
        try:
            tensors = load_file(weights)
        except (OSError, SafetensorError) as error:
            raise DataError(f"{weights}: LPIPS weights cannot be read: {error}") from None
        wanted: dict[str, tuple[int, ...]] = {f"lin{i}.model.1.weight": (1, c, 1, 1) for i, c in enumerate(_CHANNELS)}
        previous = 3
        for block, channels in zip(_BLOCKS, _CHANNELS, strict=True):
            for layer in block:
                wanted[f"features.{layer}.weight"] = (channels, previous, 3, 3)
                wanted[f"features.{layer}.bias"] = (channels,)
                previous = channels
        for name, shape in wanted.items():
            if name not in tensors:
                raise DataError(f"{weights}: LPIPS weights lack {name!r} (expected VGG-16 features and lin0 to lin4)")
            if tuple(tensors[name].shape) != shape:
                raise DataError(f"{weights}: {name} has shape {tuple(tensors[name].shape)}, expected {shape}")
        self._weights = {name: tensors[name].float() for name in wanted}

    @torch.no_grad()
    def __call__(self, image: Tensor, target: Tensor) -> float:
        """Pictures [H,W,3] in 0..1, at least 16 pixels a side."""
        distance = 0.0
        for index, (x, y) in enumerate(zip(self._features(image), self._features(target), strict=True)):
            difference = (_unit(x) - _unit(y)) ** 2
            distance += float((difference * self._weights[f"lin{index}.model.1.weight"]).sum(dim=1).mean())
        return distance

    def _features(self, image: Tensor) -> list[Tensor]:
        x = image.float().permute(2, 0, 1)[None] * 2 - 1
        x = (x - x.new_tensor(_SHIFT).reshape(1, 3, 1, 1)) / x.new_tensor(_SCALE).reshape(1, 3, 1, 1)
        out = []
        for index, block in enumerate(_BLOCKS):
            if index:
                x = functional.max_pool2d(x, 2)
            for layer in block:
                weight, bias = (self._weights[f"features.{layer}.{part}"] for part in ("weight", "bias"))
                x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
            out.append(x)
        return out


def _unit(features: Tensor) -> Tensor:
    return features / ((features**2).sum(dim=1, keepdim=True).sqrt() + 1e-10)

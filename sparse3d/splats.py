# SPDX-License-Identifier: Apache-2.0
"""The record of a Gaussian-splat scene: raw parameters as they are optimised and stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparse3d.errors import DataError

PARAMETER_NAMES = ("means", "quats_wxyz", "log_scales", "logit_opacities", "sh0", "shN")


def num_sh_rest(degree: int) -> int:
    """Number of spherical-harmonics coefficients above degree 0: 0, 3, 8, 15, 24 for degree 0 to 4."""
    return (degree + 1) ** 2 - 1


@dataclass(frozen=True)
class Splats:
    """N anisotropic 3D Gaussians with view-dependent colour, raw (before activation), float32.

    means [N,3] world units; quats_wxyz [N,4] any non-zero length, normalised where used; log_scales [N,3] natural log
    of the standard deviations in world units; logit_opacities [N]; sh0 [N,1,3] and shN [N,K,3] real spherical
    harmonics in the order and sign of 3DGS, K = 0, 3, 8, 15 or 24; colour = max(0, 0.5 + sum of terms), sRGB.
    `antialias` says that the scene was trained with the opacity compensation for the low-pass filter. `origin`: the
    place in the world that means are counted from, for scenes too far from the world's own origin for float32.
    Raises DataError where shapes do not fit together. N may be 0.
    """

    means: Tensor
    quats_wxyz: Tensor
    log_scales: Tensor
    logit_opacities: Tensor
    sh0: Tensor
    shN: Tensor
    antialias: bool = False
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        n = self.means.shape[0]
        k = self.shN.shape[1] if self.shN.ndim == 3 else -1
        expected = {
            "means": (n, 3),
            "quats_wxyz": (n, 4),
            "log_scales": (n, 3),
            "logit_opacities": (n,),
            "sh0": (n, 1, 3),
            "shN": (n, k, 3),
        }
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise DataError(f"Splats: {name} has shape {found}, expected {shape} (N is {n} in means)")
        if k not in (0, 3, 8, 15, 24):
            raise DataError(f"Splats: shN has {k} coefficients a colour, expected 0, 3, 8, 15 or 24 (degree 0 to 4)")

    @classmethod
    def of(cls, parameters: Mapping[str, Tensor], *, antialias: bool = False) -> Splats:
        """Of the raw parameters by their names in PARAMETER_NAMES, about the origin of their world."""
        means, quats_wxyz, log_scales, logit_opacities, sh0, shN = (parameters[name] for name in PARAMETER_NAMES)
        return cls(means, quats_wxyz, log_scales, logit_opacities, sh0, shN, antialias)

    @property
    def num_splats(self) -> int:
        return self.means.shape[0]

    @property
    def sh_degree(self) -> int:
        """Highest stored degree of the spherical harmonics."""
        return round((self.shN.shape[1] + 1) ** 0.5) - 1

    @property
    def scales(self) -> Tensor:
        """[N,3] standard deviations in world units."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Tensor:
        """[N] in 0..1."""
        return torch.sigmoid(self.logit_opacities)

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """The raw parameters in the fixed order of PARAMETER_NAMES."""
        for name in PARAMETER_NAMES:
            yield name, getattr(self, name)

    def select(self, index: Tensor) -> Splats:
        """The splats at `index` (integer positions or a boolean mask), a copy."""
        return replace(self, **{name: tensor[index].contiguous() for name, tensor in self.named()})

    def clone(self) -> Splats:
        return replace(self, **{name: tensor.detach().clone() for name, tensor in self.named()})

# SPDX-License-Identifier: Apache-2.0
"""Splats for the tests of formats, and how far two scenes of the same splats in any order are apart."""

from __future__ import annotations

import torch

from sparse3d.compress.axes import with_axes_near
from sparse3d.splats import Splats, num_sh_rest


def make_splats(n: int = 40, degree: int = 3, *, antialias: bool = False, seed: int = 5) -> Splats:
    """Splats without symmetry, inside the range of every format: positions tell them apart."""
    g = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=g) * 2 - 1

    return Splats(
        means=uniform(n, 3) * torch.tensor([1.0, 2.0, 0.5]) + torch.tensor([0.3, -0.7, 1.9]),
        quats_wxyz=torch.randn(n, 4, generator=g),
        log_scales=uniform(n, 3) - 3.0,
        logit_opacities=uniform(n) * 2 + 1,
        sh0=uniform(n, 1, 3) * 1.2,
        shN=uniform(n, num_sh_rest(degree), 3) * 0.45,
        antialias=antialias,
    )


def rotations(quats_wxyz: torch.Tensor) -> torch.Tensor:
    """[N,9] matrices: q and -q are the same rotation."""
    w, x, y, z = torch.nn.functional.normalize(quats_wxyz, dim=1).unbind(1)
    return torch.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ], dim=1)  # fmt: skip


def differences(found: Splats, source: Splats) -> dict[str, float]:
    """Largest difference in each parameter, each splat compared with the source splat nearest to it.

    Rotations as matrices, of the axes named as the source does; opacities after the sigmoid; harmonics up to the degree
    of `found`. Every source splat must be the nearest of exactly one.
    """
    index = torch.cdist(found.means, source.means).argmin(dim=1)
    assert sorted(index.tolist()) == list(range(source.num_splats)), "positions do not tell the splats apart"
    near = source.select(index)
    # Writers may name the axes of an ellipsoid anew.
    found = with_axes_near(found, torch.nn.functional.normalize(near.quats_wxyz, dim=1))
    k = found.shN.shape[1]
    pairs = {
        "means": (found.means, near.means),
        "rotations": (rotations(found.quats_wxyz), rotations(near.quats_wxyz)),
        "log_scales": (found.log_scales, near.log_scales),
        "opacities": (found.opacities, near.opacities),
        "sh0": (found.sh0, near.sh0),
        "sh1": (found.shN[:, :3], near.shN[:, : min(3, k)]),
        "sh_rest": (found.shN[:, 3:], near.shN[:, 3:k]),
    }
    return {name: float((a - b).abs().max()) if a.numel() else 0.0 for name, (a, b) in pairs.items()}

# SPDX-License-Identifier: Apache-2.0
"""The same ellipsoids with other names for their axes.

Three axes can be numbered and turned around in 24 ways that keep an ellipsoid (the rotations of a cube). Of these the
one nearest to no rotation at all makes all rotations small: 4.6 bits a splat that a file need not tell.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sparse3d.geometry.quaternions import quat_conjugate, quat_product, rotation_from_quats
from sparse3d.splats import Splats

_H = 0.5**0.5
# Splats that are compared with the 24 rotations at a time.
_BLOCK = 1 << 16
# Rotations of a cube as quaternions wxyz, one of each pair q, -q: none and half turns about the axes, quarter turns,
# half turns about the edges, third turns about the diagonals.
_CUBE = torch.tensor(
    [
        *[[float(i == j) for j in range(4)] for i in range(4)],
        *[[_H, *(_H * s * (i == j) for j in range(3))] for i in range(3) for s in (1, -1)],
        *[[0.0, _H, _H * s, 0.0] for s in (1, -1)],
        *[[0.0, _H, 0.0, _H * s] for s in (1, -1)],
        *[[0.0, 0.0, _H, _H * s] for s in (1, -1)],
        *[[0.5, 0.5 * x, 0.5 * y, 0.5 * z] for x in (1, -1) for y in (1, -1) for z in (1, -1)],
    ],
    dtype=torch.float64,
    device="cpu",
)  # fmt: skip
# [24,3] which axis becomes the first, second and third.
_AXES = rotation_from_quats(_CUBE).abs().argmax(dim=1)


def with_axes_near(splats: Splats, quats_wxyz: Tensor | None = None) -> Splats:
    """The same ellipsoids with unit rotations as near to those of unit `quats_wxyz` [N,4] (default: to none) as can be.

    The first of equally near ones is taken. A quaternion of length 0 stays, and so do its scales.
    """
    given = splats.quats_wxyz.double()
    length = given.norm(dim=1, keepdim=True)
    own = given / length.clamp(min=1e-30)
    # How near own * cube is to the target: the real part of conj(target) * own * cube.
    between = own if quats_wxyz is None else quat_product(quat_conjugate(quats_wxyz.double()), own)
    cubes = _CUBE.to(own.device)
    cube = quat_conjugate(cubes)
    chosen = torch.zeros(len(own), dtype=torch.int64, device=own.device)
    for start in range(0, len(own), _BLOCK):
        rows = slice(start, start + _BLOCK)
        w, x, y, z = between[rows, :, None].unbind(1)
        chosen[rows] = (w * cube[:, 0] + x * cube[:, 1] + y * cube[:, 2] + z * cube[:, 3]).abs().argmax(dim=1)
    turned = quat_product(own, cubes[chosen])
    towards = (between * cube[chosen]).sum(dim=1, keepdim=True)
    turned = turned * torch.where(towards < 0.0, -1.0, 1.0)
    known = length > 0.0
    return replace(
        splats,
        quats_wxyz=torch.where(known, turned, given).float(),
        log_scales=torch.where(known, splats.log_scales.gather(1, _AXES.to(own.device)[chosen]), splats.log_scales),
    )

# SPDX-License-Identifier: Apache-2.0
"""Normals of the rendered depth against those of depth maps."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse3d.kernels.records import View
from sparse3d.train.shots import Shot
from sparse3d.train.splats.terms.depth import DepthMapTerm, DepthTarget
from sparse3d.train.splats.terms.expected_depth import one_in_four
from sparse3d.train.splats.terms.term import TERMS

_ALL = (slice(None), slice(None))


def rays(view: View) -> Tensor:
    """[3,H,W] points on the pixels' rays at z = 1, in the camera's frame."""
    fx, fy, cx, cy = view.intrinsics.tolist()
    device = view.intrinsics.device
    x = (torch.arange(view.width, device=device) + 0.5 - cx) / fx
    y = (torch.arange(view.height, device=device) + 0.5 - cy) / fy
    one = torch.ones(view.height, view.width, device=device)
    return torch.stack(torch.broadcast_tensors(x[None, :], y[:, None], one))


def cross(a: Tensor, b: Tensor) -> Tensor:
    """a x b of vectors in the first dimension, [3,...]."""
    return torch.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def dot(a: Tensor, b: Tensor) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


class Around:
    """Views of planes [...,H,W] at the pixels that have all four neighbours, and at those neighbours; of all such
    pixels or of the `every` that are indexed, [...,h,w]."""

    def __init__(self, planes: Tensor, every: tuple[slice, slice] = _ALL) -> None:
        def part(rows: slice, columns: slice) -> Tensor:
            return planes[..., rows, columns][(..., *every)]

        middle, before, after = slice(1, -1), slice(None, -2), slice(2, None)
        self.here = part(middle, middle)
        self.left, self.right = part(middle, before), part(middle, after)
        self.above, self.below = part(before, middle), part(after, middle)


def normals_of(points: Tensor, every: tuple[slice, slice] = _ALL) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of points [3,H,W] in the camera's frame, from central differences at the pixels of `Around`: across and down
    [3,h,w], the unit normals turned to the camera, and the lengths [h,w] before they were made unit."""
    p = Around(points, every)
    across, down = p.right - p.left, p.below - p.above
    raw = cross(down, across)
    length = dot(raw, raw).sqrt().clamp(min=1e-30)
    return across, down, raw / length, length


def normals_of_vjp(
    v_normal: Tensor, across: Tensor, down: Tensor, normal: Tensor, length: Tensor, out: Tensor, every=_ALL
) -> None:
    """Add to `out` [3,H,W], the gradient to the points, what comes from that to the unit normals [3,h,w]."""
    v_raw = (v_normal - normal * dot(normal, v_normal)) / length
    v_across, v_down = cross(v_raw, down), cross(across, v_raw)
    v = Around(out, every)
    v.right += v_across
    v.left -= v_across
    v.below += v_down
    v.above -= v_down


@TERMS.register("normal")
class Normals(DepthMapTerm):
    """Mean over the known pixels, a quarter of them a step, of confidence * (1 - n m): n is the normal of the rendered
    depth (2D Gaussian Splatting, Huang et al. 2024), m that of the map. Differences are two pixels wide, so that a
    single noisy one turns little; where a neighbour is not seen the pixel does not count."""

    @property
    def weight(self) -> float:
        return self.cfg.normal

    def v_error(self, z: Tensor, seen: Tensor, target: DepthTarget, shot: Shot) -> Tensor:
        every, ray = one_in_four(self.setup.generator), rays(shot.view)
        across, down, normal, length = normals_of(ray * z, every)
        s = Around(seen, every)
        known = Around(target.weight, every).here
        weight = known * (s.here & s.left & s.right & s.above & s.below) / max(int(torch.count_nonzero(known)), 1)
        v_normal = -Around(target.normal.permute(2, 0, 1), every).here * weight
        v_points = torch.zeros_like(ray)
        normals_of_vjp(v_normal, across, down, normal, length, v_points, every)
        return dot(v_points, ray)

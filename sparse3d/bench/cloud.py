# SPDX-License-Identifier: Apache-2.0
"""The splats that `bench step` times: from a scene's points and, up to the count asked for, jittered copies of them."""

from __future__ import annotations

import numpy as np

from sparse3d.kernels.neighbours import nearest_distances
from sparse3d.records.points import Points
from sparse3d.splats import Splats
from sparse3d.start.init_splats import init_splats

# The published measurement that this one is compared with began with this many points of the fox scene; more of them
# would give smaller splats and less to blend.
BASE_POINTS = 11_431
# Standard deviation of a copy's offset, in units of the point's own spacing.
_JITTER = 1.25
# Standard deviation of the random higher harmonics: about what a trained scene has.
_SH_SPREAD = 0.1


def bench_splats(points: Points, count: int, sh_degree: int, seed: int) -> Splats:
    """`count` round splats: at BASE_POINTS of the points (all if there are fewer), then at copies of random ones, moved
    by a normal deviate of 1.25 times their own spacing. Scale: mean distance to the 3 nearest neighbours; opacity 0.1;
    random SH."""
    rng = np.random.default_rng(seed)
    base = np.sort(rng.permutation(len(points))[: min(count, BASE_POINTS)])
    points = Points(points.xyz[base], points.rgb[base])
    xyz, rgb = points.xyz, points.rgb
    if count > len(points):
        spacing = nearest_distances(points.xyz, 3).mean(axis=1)
        index = rng.integers(0, len(points), count - len(points))
        jitter = rng.standard_normal((len(index), 3)) * (_JITTER * spacing[index, None])
        xyz = np.concatenate([points.xyz, points.xyz[index] + jitter]).astype(np.float32)
        rgb = np.concatenate([points.rgb, points.rgb[index]]).astype(np.float32)
    splats = init_splats(Points(xyz, rgb), sh_degree, opacity=0.1, seed=seed)
    harmonics = rng.standard_normal(tuple(splats.shN.shape)) * _SH_SPREAD
    splats.shN.copy_(splats.shN.new_tensor(harmonics))
    return splats

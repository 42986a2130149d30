# SPDX-License-Identifier: Apache-2.0
"""Values for pixels that have none, from those that have one, without crossing edges in the photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 3


def fill_edge_aware(
    values: NDArray[np.float32],
    weight: NDArray[np.float32],
    rgb: NDArray[np.uint8],
    *,
    reach_px: float = 60.0,
    edge: float = 10.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Smooth `values` [H,W] by `weight` [H,W] (0: unknown) along the photo's surfaces.

    The weighted least squares of Farbman et al. (2008), solved in turns along rows and columns (fast global smoother,
    Min et al. 2014, algorithm 1), of values * weight and of weight; their quotient is the result. reach_px: how far a
    value is carried over an even surface; edge: the step in colour, 0 to 255, that damps it to 1/e.
    Returns the values [H,W] and how much weight arrived [H,W] (0: no value reached the pixel, whose value is 0 then).
    """
    guide = rgb.astype(np.float32)
    across = [np.exp(-np.abs(np.diff(guide, axis=axis)).max(axis=2) / edge) for axis in (1, 0)]
    both = np.stack([values * weight, weight], axis=-1).astype(np.float64)
    for turn in range(_ROUNDS):
        # Strengths that fall by 4 each round and add up to reach^2 (eq. 14 of the paper).
        strength = 1.5 * reach_px**2 * 4.0 ** (_ROUNDS - 1 - turn) / (4.0**_ROUNDS - 1.0)
        both = _solve_rows(both, strength * across[0])
        both = _solve_rows(both.transpose(1, 0, 2), strength * across[1].T).transpose(1, 0, 2)
    arrived = both[..., 1]
    known = arrived > 1e-6
    out = np.where(known, both[..., 0] / np.where(known, arrived, 1.0), 0.0)
    return out.astype(np.float32), np.where(known, arrived, 0.0).astype(np.float32)


def _solve_rows(right: NDArray[np.float64], link: NDArray[np.float64]) -> NDArray[np.float64]:
    """(I + Laplacian of the links) x = right along the second axis, by the Thomas algorithm on all rows at once.
    right [R,N,C], link [R,N-1]."""
    count = right.shape[1]
    zero = np.zeros((right.shape[0], 1))
    before, after = np.concatenate([zero, link], axis=1), np.concatenate([link, zero], axis=1)
    diagonal = 1.0 + before + after
    ratio = np.empty_like(diagonal)
    out = np.empty_like(right)
    ratio[:, 0] = -after[:, 0] / diagonal[:, 0]
    out[:, 0] = right[:, 0] / diagonal[:, 0, None]
    for i in range(1, count):
        pivot = diagonal[:, i] + before[:, i] * ratio[:, i - 1]
        ratio[:, i] = -after[:, i] / pivot
        out[:, i] = (right[:, i] + before[:, i, None] * out[:, i - 1]) / pivot[:, None]
    for i in range(count - 2, -1, -1):
        out[:, i] -= ratio[:, i, None] * out[:, i + 1]
    return out

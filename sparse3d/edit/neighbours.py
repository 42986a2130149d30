# SPDX-License-Identifier: Apache-2.0
"""Selections that spread from splat to neighbouring splat: grow, shrink and flood."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.edit.history import Bits
from sparse3d.edit.values import base_colours
from sparse3d.kernels.neighbours import nearest_rows
from sparse3d.splats import Splats

_NEIGHBOURS = 8
# Without a reach a flood crosses gaps of so many median distances between neighbours.
_REACH = 3.0


class Index(NamedTuple):
    """Of n splats: centres [n,3], base colours [n,3], rows of the nearest others [n,8], distances to them [n,8]."""

    places: NDArray[np.float64]
    colours: NDArray[np.float64]
    near: NDArray[np.int64]
    distance: NDArray[np.float64]


def index_of(splats: Splats, rows: NDArray[np.int64]) -> Index:
    """Of the splats at `rows`; at least one."""
    chosen = splats.select(torch.from_numpy(rows))
    places = chosen.means.detach().cpu().numpy()
    near = nearest_rows(places, _NEIGHBOURS)
    exact = places.astype(np.float64)
    gap = exact[near] - exact[:, None]
    distance = np.sqrt(gap[..., 0] ** 2 + gap[..., 1] ** 2 + gap[..., 2] ** 2)
    return Index(exact, base_colours(chosen), near, distance)


def stepped(index: Index, selected: Bits, steps: int, *, grow: bool) -> Bits:
    """[n] grow: a splat joins when one of its neighbours is selected; else it leaves when one of them is not."""
    for _ in range(steps):
        beside = selected[index.near]
        selected = selected | beside.any(axis=1) if grow else selected & beside.all(axis=1)
    return selected


def flooded(index: Index, point: tuple[float, ...], *, tolerance: float, reach: float | None) -> Bits:
    """[n] the splat nearest to `point`, and what is reached from it over neighbours no farther apart than `reach`
    (world units) whose colours differ from the first one's by no more than `tolerance` (distance in sRGB)."""
    gap = index.places - np.asarray(point, np.float64)
    seed = int(np.argmin(gap[:, 0] ** 2 + gap[:, 1] ** 2 + gap[:, 2] ** 2))
    limit = _REACH * float(np.median(index.distance[:, 0])) if reach is None else reach
    colour = index.colours - index.colours[seed]
    alike = colour[:, 0] ** 2 + colour[:, 1] ** 2 + colour[:, 2] ** 2 <= tolerance * tolerance
    # Either one of a pair may be the neighbour of the other.
    first = np.repeat(np.arange(len(alike)), index.near.shape[1])
    second, close = index.near.ravel(), (index.distance <= limit).ravel()
    pair = close & alike[first] & alike[second]
    first, second = first[pair], second[pair]
    reached = np.zeros(len(alike), bool)
    reached[seed] = True
    while True:
        joins = reached[first] != reached[second]
        if not joins.any():
            return reached
        reached[first[joins]] = reached[second[joins]] = True

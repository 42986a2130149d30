# SPDX-License-Identifier: Apache-2.0
"""By what splats can be found that hardly anyone wants: each criterion is a function of splats to a mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sparse3d.edit.context import Context
from sparse3d.edit.history import Bits
from sparse3d.edit.values import values_of
from sparse3d.edit.volumes import distances
from sparse3d.errors import UsageError
from sparse3d.judge.floater_config import FloaterConfig
from sparse3d.judge.floaters import find_floaters, isolated
from sparse3d.judge.support import count_support
from sparse3d.splats import Splats

# (splats, value, context) -> [N] bool
Find = Callable[[Splats, float, Context], Bits]


class Criterion(NamedTuple):
    """what: a sentence of what is found, `value` in it. default, low, high: of a slider. by_photos: photos decide where
    there are some, so the same edit need not find the same splats without them; needs_photos: it asks for them."""

    find: Find
    what: str
    default: float
    low: float
    high: float
    by_photos: bool = False
    needs_photos: bool = False


def _faint(splats: Splats, value: float, context: Context) -> Bits:
    return values_of(splats, "opacity") < value


def _large(splats: Splats, value: float, context: Context) -> Bits:
    size = values_of(splats, "size")
    return size > value * np.median(size)


def _far(splats: Splats, value: float, context: Context) -> Bits:
    means = splats.means.detach().cpu().numpy().astype(np.float64)
    distance = distances(splats, tuple(np.median(means, axis=0)))
    return distance > value * np.median(distance)


def _isolated(splats: Splats, value: float, context: Context) -> Bits:
    return isolated(splats, value).numpy()


def _unseen(splats: Splats, value: float, context: Context) -> Bits:
    count = count_support(splats, (photo.camera for photo in context.photos), backend=context.backend)
    return (count < value).numpy()


def _floaters(splats: Splats, value: float, context: Context) -> Bits:
    config = replace(FloaterConfig(), gain=min(value, 1.0))
    found = find_floaters(splats, context.photos, config, hull=context.hull, backend=context.backend)
    return found.remove.numpy()


CRITERIA: dict[str, Criterion] = {
    "faint": Criterion(_faint, "opacity below the value", 0.005, 0, 1),
    "large": Criterion(_large, "longest axis beyond the value times the median", 20, 1, 1000),
    "far": Criterion(_far, "distance from the middle beyond the value times the median", 5, 1, 100),
    "isolated": Criterion(
        _isolated, "distance to neighbours beyond the value in robust standard deviations", 4, 0.5, 20
    ),
    "unseen": Criterion(
        _unseen, "supported by fewer training photos than the value", 1, 1, 20, by_photos=True, needs_photos=True
    ),
    "floaters": Criterion(
        _floaters, "before what photos show, which lose the value as share of their error", 0.2, 0, 1, by_photos=True
    ),
}  # fmt: skip


def found_by(name: str, value: float | None, splats: Splats, context: Context) -> Bits:
    """[N] what the criterion finds; value None: its default. Raises UsageError for an unknown criterion, a value that
    its slider does not have, and where it needs photos and there are none."""
    if name not in CRITERIA:
        raise UsageError(f"there is no criterion {name!r}; choose one of {', '.join(CRITERIA)}")
    criterion = CRITERIA[name]
    value = criterion.default if value is None else value
    if not criterion.low <= value <= criterion.high:
        raise UsageError(f"{name}: the value is {value:g}; give {criterion.low:g} to {criterion.high:g}")
    if criterion.needs_photos and not context.photos:
        raise UsageError(f"{name}: only photos can say that, and there are none; give the scene that they are in")
    if splats.num_splats == 0:
        return np.zeros(0, bool)
    return criterion.find(splats, value, context)


def said_of(name: str, context: Context) -> tuple[str, ...]:
    """The note on a criterion that has to do without the photos that it would ask."""
    if not CRITERIA[name].by_photos or context.photos:
        return ()
    return (f"{name}: there are no photos to judge by, so neighbours and opacity alone decided.",)

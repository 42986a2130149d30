# SPDX-License-Identifier: Apache-2.0
"""Which photos train and test in one measurement: the protocol's, or, for tuning, others that are never the protocol's
own test photos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparse3d.errors import DataError, UsageError
from sparse3d.load.views import DTU_PHOTOS, Split, split_views, spread

# A draw holds out at most this many photos: enough for a mean, few enough to be rendered quickly.
HELD_OUT_MAX = 8
_SEED = 0xD2A3


@dataclass(frozen=True)
class Selection:
    """Sorted positions in the photos sorted by name. key: "" for the protocol's own, else short and fit for a file
    name; title: the same for people to read."""

    train: tuple[int, ...]
    test: tuple[int, ...]
    key: str = ""
    title: str = ""


def protocol_selection(names: Sequence[str], splits: Sequence[str | None], protocol: str, views: int) -> Selection:
    """The protocol's photos. Raises DataError if it holds none out, UsageError if it has fewer to train on."""
    split = _split(names, splits, protocol, str(views))
    if not split.test:
        raise DataError(
            f"protocol {protocol} holds out none of these {len(names)} photos, so there is nothing to measure; use "
            "--protocol every8, or --leave-one-out"
        )
    return Selection(split.train, split.test)


def ceiling_selection(names: Sequence[str], splits: Sequence[str | None], protocol: str) -> Selection:
    """All training photos of the protocol and its test photos (for dtu: nine, and the test photos that those leave)."""
    split = _split(names, splits, protocol, "all")
    if not split.test:
        raise DataError(f"protocol {protocol} holds out none of these {len(names)} photos: there is no ceiling")
    return Selection(split.train, split.test, "ceiling", "ceiling")


def tuning_pool(names: Sequence[str], splits: Sequence[str | None], protocol: str, views: int) -> tuple[int, ...]:
    """Sorted positions of the photos that the protocol never tests on with `views` or more training photos."""
    split = _split(names, splits, protocol, str(views))
    held_out = {*split.test, *(i for i, own in enumerate(splits) if own in ("test", "unused"))}
    count = min(len(names), DTU_PHOTOS) if protocol == "dtu" else len(names)
    return tuple(i for i in range(count) if i not in held_out)


def tuning_train(names: Sequence[str], splits: Sequence[str | None], protocol: str, views: int) -> tuple[int, ...]:
    """The protocol's own training photos, whether or not it holds any out. Raises UsageError where there are fewer."""
    return _split(names, splits, protocol, str(views)).train


def random_draws(pool: Sequence[int], views: int, count: int, avoid: Sequence[int] = ()) -> tuple[Selection, ...]:
    """`count` different choices of `views` training photos of the pool; up to 8 of the rest held out, evenly spread.

    One photo comes from each of `views` equal parts of the pool, so that a draw looks around as the protocol's does.
    `avoid` (the protocol's own choice) is never drawn. The k-th draw does not depend on `count`. Raises UsageError
    where the pool is too small.
    """
    if views >= len(pool):
        raise UsageError(
            f"--draw {count}: a draw of {views} training photos needs {views + 1} or more that are not test photos, "
            f"the scene has {len(pool)}"
        )
    parts = np.array_split(np.asarray(pool), views)
    possible = math.prod(len(part) for part in parts)
    if _is_a_draw(avoid, parts):
        possible -= 1
    if count > possible:
        raise UsageError(f"--draw {count}: there are only {possible} different draws of {views} photos here")
    generator = np.random.default_rng([_SEED, views, len(pool)])
    found: list[Selection] = []
    seen = {tuple(sorted(avoid))}
    while len(found) < count:
        train = tuple(int(part[generator.integers(len(part))]) for part in parts)
        if train in seen:
            continue
        seen.add(train)
        rest = [i for i in pool if i not in train]
        found.append(Selection(train, spread(rest, HELD_OUT_MAX), f"d{len(found)}", f"draw {len(found)}"))
    return tuple(found)


def leave_one_out_draws(train: Sequence[int]) -> tuple[Selection, ...]:
    """Each of the training photos held out in turn, the others train. Raises UsageError for fewer than two."""
    if len(train) < 2:
        raise UsageError(f"--leave-one-out needs 2 training photos or more, asked for {len(train)}")
    return tuple(
        Selection(tuple(i for i in train if i != left), (left,), f"l{left}", f"without photo {left}") for left in train
    )


def _split(names: Sequence[str], splits: Sequence[str | None], protocol: str, views: str) -> Split:
    split = split_views(names, splits, views=views, protocol=protocol)
    if views != "all" and len(split.train) < int(views):
        raise UsageError(
            f"--views {views}: the scene has {len(split.train)} training photos with protocol {protocol}, give fewer"
        )
    return split


def _is_a_draw(choice: Sequence[int], parts: Sequence[np.ndarray]) -> bool:
    return len(choice) == len(parts) and all(i in part for i, part in zip(sorted(choice), parts, strict=True))

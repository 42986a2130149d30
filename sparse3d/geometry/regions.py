# SPDX-License-Identifier: Apache-2.0
"""Spheres and boxes in the world, as plain records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import UsageError
from sparse3d.geometry.quaternions import rotation_from_unit_quats


@dataclass(frozen=True)
class Sphere:
    """center: in the world; radius: in world units, more than 0. Raises UsageError for what is no sphere."""

    center: tuple[float, float, float]
    radius: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "center", _numbers(self.center, 3, "the centre of a sphere"))
        object.__setattr__(self, "radius", _numbers([self.radius], 1, "the radius of a sphere")[0])
        if self.radius <= 0:
            raise UsageError(f"the radius of a sphere is {self.radius:g}; give more than 0")

    def contains(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """[N] bool of world points [N,3]: inside or on it."""
        x, y, z = (points.astype(np.float64) - np.array(self.center)).T
        return x * x + y * y + z * z <= self.radius * self.radius

    def to_json(self) -> dict[str, Any]:
        """What `region_of` reads."""
        return {"kind": "sphere", "center": list(self.center), "radius": self.radius}


@dataclass(frozen=True)
class Box:
    """center: in the world; half_sizes: from the centre to the sides, in world units, each more than 0; quat_wxyz: the
    box's turn, world_from_box, of any length but 0. Raises UsageError for what is no box."""

    center: tuple[float, float, float]
    half_sizes: tuple[float, float, float]
    quat_wxyz: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "center", _numbers(self.center, 3, "the centre of a box"))
        object.__setattr__(self, "half_sizes", _numbers(self.half_sizes, 3, "the half sizes of a box"))
        object.__setattr__(self, "quat_wxyz", _numbers(self.quat_wxyz, 4, "the turn of a box"))
        if min(self.half_sizes) <= 0:
            raise UsageError(f"the half sizes of a box are {self.half_sizes}; give more than 0 for each")
        if not any(self.quat_wxyz):
            raise UsageError("the turn of a box is a quaternion of length 0; give (1, 0, 0, 0) for none")

    def contains(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """[N] bool of world points [N,3]: inside or on it."""
        x, y, z = (points.astype(np.float64) - np.array(self.center)).T
        quat = np.array(self.quat_wxyz)
        world_from_box = rotation_from_unit_quats(quat / math.hypot(*self.quat_wxyz))
        # Column by column and not by matmul, whose bits depend on the number of threads.
        local = [world_from_box[0, i] * x + world_from_box[1, i] * y + world_from_box[2, i] * z for i in range(3)]
        inside = [np.abs(value) <= half for value, half in zip(local, self.half_sizes)]
        return inside[0] & inside[1] & inside[2]

    def to_json(self) -> dict[str, Any]:
        """What `region_of` reads."""
        return {
            "kind": "box", "center": list(self.center), "half_sizes": list(self.half_sizes),
            "quat_wxyz": list(self.quat_wxyz),
        }  # fmt: skip


def region_of(values: Mapping[str, Any]) -> Sphere | Box:
    """The region whose `to_json` gave these values. Raises UsageError where they are of none."""
    rest = {name: value for name, value in values.items() if name != "kind"}
    kinds = {"sphere": Sphere, "box": Box}
    kind = values.get("kind")
    if kind not in kinds:
        raise UsageError(f"a region of kind {kind!r} is not known; give a sphere or a box")
    try:
        return kinds[kind](**rest)
    except TypeError:
        raise UsageError(f"a {kind} has not the values {', '.join(rest) or 'none'}; give those of its record") from None


def _numbers(values: Sequence[float], count: int, what: str) -> tuple[float, ...]:
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        found = ()
    if len(found) != count or not all(math.isfinite(value) for value in found):
        raise UsageError(f"{what} is {values!r}; give {count} finite number{'s' if count > 1 else ''}")
    return found

# SPDX-License-Identifier: Apache-2.0
"""Shapes that rays can meet. A ray is origin + t * direction with a unit direction; t = inf is a miss.

Every shape has `bound` (centre and radius of a sphere around it), `intersect(origin [N,3], direction [N,3]) -> t [N]`,
`normal(point [N,3]) -> [N,3]` and `local(point)`, the coordinates that its texture is written in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Colour = Callable[[Array, Array], Array]  # (local point [N,3], local normal [N,3]) -> sRGB [N,3]
EPSILON = np.float32(2e-4)  # Metres; well above float32 rounding at the size of the room.


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("ij,ij->i", a, b)


@dataclass(frozen=True)
class Shape(ABC):
    """colour: the texture; gloss: strength of the highlight; shine: its exponent; mean: colour of light it bounces."""

    name: str
    colour: Colour
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn_deg: float = 0.0  # Around the vertical axis.
    gloss: float = 0.05
    shine: float = 30.0
    mean: tuple[float, float, float] = (0.4, 0.35, 0.3)
    is_object: bool = True  # Stands on the table: part of the object mask.

    def _turned(self, v: Array, sign: float) -> Array:
        if self.turn_deg == 0.0:
            return v
        angle = np.float32(np.deg2rad(sign * self.turn_deg))
        c, s = np.cos(angle), np.sin(angle)
        return np.stack([c * v[:, 0] - s * v[:, 1], s * v[:, 0] + c * v[:, 1], v[:, 2]], 1)

    def local(self, point: Array) -> Array:
        return self._turned(point - np.asarray(self.centre, np.float32), -1.0)

    def local_direction(self, direction: Array) -> Array:
        return self._turned(direction, -1.0)

    def normal(self, point: Array) -> Array:
        return self._turned(self.local_normal(self.local(point)), 1.0)

    def intersect(self, origin: Array, direction: Array) -> Array:
        return self.local_intersect(self.local(origin), self._turned(direction, -1.0))

    @property
    @abstractmethod
    def radius(self) -> float:
        """Of a sphere around `centre` that holds the shape."""

    @abstractmethod
    def local_intersect(self, o: Array, d: Array) -> Array:
        """As `intersect`, in local coordinates."""

    @abstractmethod
    def local_normal(self, p: Array) -> Array:
        """As `normal`, in local coordinates."""


@dataclass(frozen=True)
class Sphere(Shape):
    size: float = 1.0

    @property
    def radius(self) -> float:
        return self.size

    def local_intersect(self, o: Array, d: Array) -> Array:
        b = _dot(o, d)
        root = b * b - (_dot(o, o) - np.float32(self.size**2))
        t = -b - np.sqrt(np.maximum(root, 0))
        return np.where((root > 0) & (t > EPSILON), t, np.inf)

    def local_normal(self, p: Array) -> Array:
        return p / np.linalg.norm(p, axis=1, keepdims=True)


@dataclass(frozen=True)
class Box(Shape):
    half: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def radius(self) -> float:
        return float(np.linalg.norm(self.half))

    def local_intersect(self, o: Array, d: Array) -> Array:
        half = np.asarray(self.half, np.float32)
        inverse = 1 / np.where(np.abs(d) < 1e-9, np.float32(1e-9), d)
        a, b = (-half - o) * inverse, (half - o) * inverse
        near = np.minimum(a, b).max(axis=1)
        far = np.maximum(a, b).min(axis=1)
        return np.where((near < far) & (near > EPSILON), near, np.inf)

    def local_normal(self, p: Array) -> Array:
        scaled = p / np.asarray(self.half, np.float32)
        axis = np.abs(scaled).argmax(axis=1)
        out = np.zeros_like(p)
        rows = np.arange(len(p))
        out[rows, axis] = np.sign(scaled[rows, axis])
        return out


@dataclass(frozen=True)
class Room(Box):
    """A box seen from inside: every ray meets it."""

    is_object: bool = False

    def local_intersect(self, o: Array, d: Array) -> Array:
        half = np.asarray(self.half, np.float32)
        safe = np.where(np.abs(d) < 1e-9, np.float32(1e-9), d)
        return ((np.where(safe > 0, half, -half) - o) / safe).min(axis=1)

    def local_normal(self, p: Array) -> Array:
        return -super().local_normal(p)


@dataclass(frozen=True)
class Cylinder(Shape):
    """Upright, capped, from -half_height to +half_height."""

    size: float = 1.0
    half_height: float = 1.0

    @property
    def radius(self) -> float:
        return float(np.hypot(self.size, self.half_height))

    def local_intersect(self, o: Array, d: Array) -> Array:
        a = np.maximum(d[:, 0] ** 2 + d[:, 1] ** 2, np.float32(1e-12))
        b = o[:, 0] * d[:, 0] + o[:, 1] * d[:, 1]
        root = b * b - a * (o[:, 0] ** 2 + o[:, 1] ** 2 - np.float32(self.size**2))
        side = (-b - np.sqrt(np.maximum(root, 0))) / a
        on_side = (root > 0) & (side > EPSILON) & (np.abs(o[:, 2] + side * d[:, 2]) < self.half_height)
        dz = np.where(np.abs(d[:, 2]) < 1e-9, np.float32(1e-9), d[:, 2])
        cap = (-np.sign(dz) * np.float32(self.half_height) - o[:, 2]) / dz
        x, y = o[:, 0] + cap * d[:, 0], o[:, 1] + cap * d[:, 1]
        on_cap = (cap > EPSILON) & (x * x + y * y < self.size**2)
        return np.minimum(np.where(on_side, side, np.inf), np.where(on_cap, cap, np.inf))

    def local_normal(self, p: Array) -> Array:
        cap = np.abs(p[:, 2]) > self.half_height - 1e-3
        out = np.stack([p[:, 0], p[:, 1], np.zeros(len(p), np.float32)], 1)
        out[cap] = np.stack([0 * p[cap, 2], 0 * p[cap, 2], np.sign(p[cap, 2])], 1)
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


@dataclass(frozen=True)
class Marched(Shape):
    """Any shape with a distance bound: `distance(p [N,3]) -> [N]` must not exceed the true distance."""

    distance: Callable[[Array], Array] = field(default=lambda p: p[:, 0])
    reach: float = 1.0
    steps: int = 96

    @property
    def radius(self) -> float:
        return self.reach

    def local_intersect(self, o: Array, d: Array) -> Array:
        b = _dot(o, d)
        half_chord = np.sqrt(np.maximum(b * b - _dot(o, o) + np.float32(self.reach**2), 0))
        t = np.maximum(-b - half_chord, EPSILON * 4)
        end = -b + half_chord
        hit = np.full(len(o), np.inf, np.float32)
        live = np.nonzero(t < end)[0]
        for _ in range(self.steps):
            if len(live) == 0:
                break
            gap = self.distance(o[live] + t[live, None] * d[live])
            arrived = gap < 1.5e-4
            hit[live[arrived]] = t[live[arrived]]
            t[live] += gap
            live = live[~arrived & (t[live] < end[live])]
        return hit

    def local_normal(self, p: Array) -> Array:
        h = np.float32(4e-4)
        grads = []
        for axis in range(3):
            shift = np.zeros(3, np.float32)
            shift[axis] = h
            grads.append(self.distance(p + shift) - self.distance(p - shift))
        out = np.stack(grads, 1)
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


def torus_distance(major: float, minor: float, upright: bool) -> Callable[[Array], Array]:
    """Exact distance to a torus around z (lying) or around y (upright, as the handle of a mug)."""
    a, b, c = (0, 2, 1) if upright else (0, 1, 2)

    def distance(p: Array) -> Array:
        return np.hypot(np.hypot(p[:, a], p[:, b]) - np.float32(major), p[:, c]) - np.float32(minor)

    return distance


def lathe_distance(height: float, profile: Callable[[Array], Array], steepness: float) -> Callable[[Array], Array]:
    """Bound for a solid of revolution around z from 0 to height; `steepness` >= sqrt(1 + slope^2)."""

    def distance(p: Array) -> Array:
        radial = (np.hypot(p[:, 0], p[:, 1]) - profile(np.clip(p[:, 2], 0, height))) / np.float32(steepness)
        vertical = np.abs(p[:, 2] - np.float32(height / 2)) - np.float32(height / 2)
        return np.maximum(radial, vertical).astype(np.float32)

    return distance

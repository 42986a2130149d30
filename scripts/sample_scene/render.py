# SPDX-License-Identifier: Apache-2.0
"""A small ray tracer: two area lights with soft shadows, ambient occlusion with bounced colour, a soft highlight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sample_scene.shapes import EPSILON, Array, Room, Shape
from sample_scene.textures import vec

ROWS_AT_ONCE = 30  # Rays of a block fit the cache at this many rows of 480 pixels.


@dataclass(frozen=True)
class Light:
    """A rectangle of light: centre, two half edges, colour times power."""

    centre: tuple[float, float, float]
    half_u: tuple[float, float, float]
    half_v: tuple[float, float, float]
    power: tuple[float, float, float]


LIGHTS = (
    Light((-0.55, -0.65, 1.74), (0.38, 0, 0), (0, 0.38, 0), (3.5, 3.2, 2.75)),  # A warm panel under the ceiling.
    Light((1.7, -2.3, 0.95), (0.33, 0.30, 0), (0, 0, 0.45), (2.0, 2.35, 2.8)),  # A window behind the camera, right.
)
AMBIENT = vec((0.30, 0.30, 0.32))
OCCLUSION_REACH = 0.55  # Metres: things farther away do not darken a corner.


@dataclass(frozen=True)
class View:
    """A pinhole camera, OpenCV axes; cam_from_world [4,4]; pixel centres at +0.5."""

    width: int
    height: int
    focal: float
    cam_from_world: NDArray[np.float64]

    def rays(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Pixel positions [N] -> origins and unit directions in the world, both [N,3]."""
        cam = np.stack([(x - self.width / 2) / self.focal, (y - self.height / 2) / self.focal, np.ones_like(x)], 1)
        rotation, translation = self.cam_from_world[:3, :3], self.cam_from_world[:3, 3]
        direction = (cam @ rotation).astype(np.float32)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        origin = np.broadcast_to((-rotation.T @ translation).astype(np.float32), direction.shape)
        return origin, direction


def _near_sphere(shape: Shape, origin: Array, direction: Array, limit: Array) -> NDArray[np.int64]:
    """Rays that may meet the shape's bounding sphere before `limit`."""
    to = np.asarray(shape.centre, np.float32) - origin
    along = np.einsum("ij,ij->i", to, direction)
    squared = np.einsum("ij,ij->i", to, to)
    radius = np.float32(shape.radius)
    return np.nonzero((squared - along * along < radius**2) & (along > -radius) & (along - radius < limit))[0]


def trace(shapes: list[Shape], origin: Array, direction: Array) -> tuple[Array, NDArray[np.int64]]:
    """First hit of each ray: distance and index of the shape."""
    distance = shapes[-1].intersect(origin, direction)
    index = np.full(len(origin), len(shapes) - 1)
    for i, shape in enumerate(shapes[:-1]):
        rows = _near_sphere(shape, origin, direction, distance)
        t = shape.intersect(origin[rows], direction[rows])
        nearer = t < distance[rows]
        distance[rows[nearer]] = t[nearer]
        index[rows[nearer]] = i
    return distance, index


def visible(shapes: list[Shape], origin: Array, direction: Array, limit: Array) -> NDArray[np.bool_]:
    """True where nothing stands between origin and origin + limit * direction."""
    free = np.ones(len(origin), bool)
    for shape in shapes:
        if isinstance(shape, Room):
            continue
        rows = _near_sphere(shape, origin, direction, limit)
        rows = rows[free[rows]]
        free[rows] = shape.intersect(origin[rows], direction[rows]) > limit[rows]
    return free


def _linear(srgb: Array) -> Array:
    return np.clip(srgb, 0, 1) ** np.float32(2.2)


def _hemisphere(normal: Array, u: Array, v: Array) -> Array:
    """Cosine-weighted direction around the normal: a point on the unit sphere added to it."""
    z, phi = 1 - 2 * u, 2 * np.pi * v
    r = np.sqrt(np.maximum(0, 1 - z * z))
    out = normal * 1.0005 + np.stack([r * np.cos(phi), r * np.sin(phi), z], 1).astype(np.float32)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def shade(shapes: list[Shape], origin: Array, direction: Array, samples: Array) -> Array:
    """Linear light [N,3] along each ray. samples [N,6] in 0..1: two for each light, two for the sky."""
    distance, index = trace(shapes, origin, direction)
    point = origin + distance[:, None] * direction
    normal, albedo = np.empty_like(point), np.empty_like(point)
    gloss, shine = np.empty(len(point), np.float32), np.empty(len(point), np.float32)
    for i in np.unique(index):
        rows, shape = np.nonzero(index == i)[0], shapes[i]
        normal[rows] = shape.normal(point[rows])
        local = shape.local(point[rows])
        albedo[rows] = _linear(np.asarray(shape.colour(local, shape.local_direction(normal[rows])), np.float32))
        gloss[rows], shine[rows] = shape.gloss, shape.shine
    start = point + normal * (4 * EPSILON)
    light_in, highlight = np.zeros_like(point), np.zeros_like(point)
    for k, light in enumerate(LIGHTS):
        a, b = 2 * samples[:, 2 * k, None] - 1, 2 * samples[:, 2 * k + 1, None] - 1
        target = np.asarray(light.centre, np.float32) + a * vec(light.half_u) + b * vec(light.half_v)
        to = (target - start).astype(np.float32)
        length = np.linalg.norm(to, axis=1)
        to /= length[:, None]
        facing = np.maximum(np.einsum("ij,ij->i", to, normal), 0)
        rows = np.nonzero(facing > 0)[0]
        lit = np.zeros(len(point), np.float32)
        lit[rows] = visible(shapes, start[rows], to[rows], length[rows])
        power = (lit * facing / (0.5 + length**2))[:, None] * vec(light.power)
        half = to - direction
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        lobe = np.maximum(np.einsum("ij,ij->i", half, normal), 0) ** shine
        light_in += power
        highlight += power * (gloss * lobe * (shine + 8) / 25)[:, None]
    sky = _hemisphere(normal, samples[:, 4], samples[:, 5])
    reach, met = trace(shapes, start, sky)
    open_share = np.clip(reach / OCCLUSION_REACH, 0, 1)[:, None] ** 1.2
    bounced = _linear(vec([s.mean for s in shapes]))[met]
    light_in += AMBIENT * (open_share * 0.85 + (1 - open_share) * 0.9 * bounced)
    return albedo * light_in + highlight


def develop(linear: Array) -> Array:
    """Linear light -> sRGB in 0..1, with the soft shoulder that a camera's picture has."""
    exposed = 1.75 * linear
    toned = exposed * (1 + exposed / 9.0) / (1 + exposed * 0.62)
    return np.clip(
        np.where(toned < 0.0031308, 12.92 * toned, 1.055 * np.maximum(toned, 1e-6) ** (1 / 2.4) - 0.055), 0, 1
    )


def render(shapes: list[Shape], view: View, grid: int, seed: int) -> Array:
    """sRGB picture [H,W,3]; grid x grid stratified rays a pixel."""
    out = np.empty((view.height, view.width, 3), np.float32)
    count = grid * grid
    for top in range(0, view.height, ROWS_AT_ONCE):
        rng = np.random.default_rng((seed, top))
        rows = min(ROWS_AT_ONCE, view.height - top)
        y, x = (a.reshape(-1).astype(np.float32) for a in np.mgrid[top : top + rows, 0 : view.width])
        turn = rng.integers(0, count, (len(x), 3))
        total = np.zeros((len(x), 3), np.float32)
        for s in range(count):
            jitter = rng.random((len(x), 8), np.float32)
            origin, direction = view.rays(x + (s % grid + jitter[:, 6]) / grid, y + (s // grid + jitter[:, 7]) / grid)
            # Each pixel walks through the cells of the light in an order of its own (7 is coprime to any grid^2 used).
            stratum = (s * 7 + turn) % count
            samples = jitter[:, :6].copy()
            samples[:, 0::2] = (stratum % grid + samples[:, 0::2]) / grid
            samples[:, 1::2] = (stratum // grid + samples[:, 1::2]) / grid
            total += np.minimum(shade(shapes, origin, direction, samples), 3.0)
        out[top : top + rows] = develop(total / count).reshape(rows, view.width, 3)
    return out


def depth_and_objects(shapes: list[Shape], view: View) -> tuple[Array, NDArray[np.bool_]]:
    """Exact z depth in metres at each pixel's centre, and whether the pixel shows a thing on the table."""
    y, x = (a.reshape(-1).astype(np.float32) + np.float32(0.5) for a in np.mgrid[0 : view.height, 0 : view.width])
    origin, direction = view.rays(x, y)
    distance, index = trace(shapes, origin, direction)
    forward = view.cam_from_world[2, :3].astype(np.float32)
    is_object = np.array([s.is_object for s in shapes])[index]
    shape = (view.height, view.width)
    return (distance * (direction @ forward)).reshape(shape), is_object.reshape(shape)

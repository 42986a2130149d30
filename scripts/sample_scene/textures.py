# SPDX-License-Identifier: Apache-2.0
"""Procedural colours of the sample scene: functions from positions [N,3] in metres to sRGB colours [N,3] in 0..1.

Everything is built on one integer hash, so the same position has the same colour in every view and on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def vec(values: object) -> Array:
    """A small constant, such as a colour."""
    return np.asarray(values, np.float32)


def _hash(ix: NDArray[np.uint32], iy: NDArray[np.uint32], iz: NDArray[np.uint32], seed: int) -> Array:
    """Integer lattice point -> [0, 1). Rounds of multiply and xor-shift; unsigned overflow is meant."""
    h = ix * np.uint32(0x8DA6B343) ^ iy * np.uint32(0xD8163841) ^ iz * np.uint32(0xCB1AB31F)
    h ^= np.uint32((seed * 0x9E3779B1) & 0xFFFFFFFF)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    return (h >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _lattice(value: Array) -> tuple[NDArray[np.uint32], Array]:
    floor = np.floor(value)
    return floor.astype(np.int64).astype(np.uint32), (value - floor).astype(np.float32)


def cell(p: Array, seed: int) -> Array:
    """One random number in 0..1 for each unit cell."""
    (ix, _), (iy, _), (iz, _) = (_lattice(p[:, i]) for i in range(3))
    return _hash(ix, iy, iz, seed)


def noise(p: Array, seed: int) -> Array:
    """Value noise in 0..1 with features of unit size."""
    (ix, fx), (iy, fy), (iz, fz) = (_lattice(p[:, i]) for i in range(3))
    sx, sy, sz = (f * f * (3 - 2 * f) for f in (fx, fy, fz))
    one = np.uint32(1)
    total = np.zeros(len(p), np.float32)
    for dx, wx in ((0, 1 - sx), (1, sx)):
        for dy, wy in ((0, 1 - sy), (1, sy)):
            for dz, wz in ((0, 1 - sz), (1, sz)):
                total += wx * wy * wz * _hash(ix + one * dx, iy + one * dy, iz + one * dz, seed)
    return total


def fbm(p: Array, seed: int, octaves: int = 4) -> Array:
    """Sum of noises, each at twice the frequency and half the weight of the one before; in 0..1."""
    total, weight, norm = np.zeros(len(p), np.float32), 1.0, 0.0
    for octave in range(octaves):
        total += np.float32(weight) * noise(p * np.float32(2.03**octave), seed + octave)
        norm += weight
        weight *= 0.5
    return total / np.float32(norm)


def mix(a: object, b: object, t: Array) -> Array:
    """Colour a at t = 0, colour b at t = 1."""
    t = np.clip(t, 0, 1)[:, None]
    return (np.asarray(a, np.float32) * (1 - t) + np.asarray(b, np.float32) * t).astype(np.float32)


def step(value: Array, low: float, high: float) -> Array:
    """Smooth 0..1 ramp from low to high."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def scaled(p: Array, sx: float, sy: float, sz: float) -> Array:
    return p * np.array([sx, sy, sz], np.float32)


def wood(p: Array, seed: int, light: object, dark: object, planks: float = 0.0) -> Array:
    """Grain along x; `planks` is the width in metres of boards laid side by side along y (0: one piece)."""
    tone = np.zeros(len(p), np.float32)
    gap = np.zeros(len(p), np.float32)
    if planks > 0:
        board = np.floor(p[:, 1] / planks)
        run = p[:, 0] / (planks * 7) + cell(np.stack([board, board * 0, board * 0], 1), seed + 11)
        key = np.stack([board, np.floor(run), board * 0], 1).astype(np.float32)
        tone = cell(key, seed + 12)
        across = np.abs(p[:, 1] / planks - board - 0.5)
        along = np.abs(run - np.floor(run) - 0.5)
        gap = np.maximum(step(across, 0.478, 0.495), step(along, 0.4965, 0.499))
        p = p + key * np.array([3.7, 1.3, 2.1], np.float32)
    warped = scaled(p, 2.0, 14, 14) + 1.6 * fbm(scaled(p, 2.4, 9, 9), seed, 3)[:, None]
    rings = 0.5 + 0.5 * np.sin(9 * np.hypot(warped[:, 1], warped[:, 2]) + 3 * warped[:, 0])
    fibre = noise(scaled(p, 7, 150, 150), seed + 5)
    pore = step(noise(scaled(p, 14, 210, 210), seed + 6), 0.74, 0.90)
    colour = mix(light, dark, 0.50 * rings + 0.32 * fibre)
    colour *= (1 - 0.16 * pore - 0.20 * (tone - 0.5))[:, None]
    return colour * (1 - 0.75 * gap)[:, None]


def marble(p: Array, seed: int, ground: object, vein: object) -> Array:
    """Veins where a strongly warped sine crosses zero."""
    warp = fbm(p * 9, seed, 5)
    line = np.abs(np.sin(18 * (p[:, 0] + 0.6 * p[:, 2]) + 13 * warp))
    fine = np.abs(np.sin(55 * (p[:, 1] - p[:, 2]) + 15 * fbm(p * 20, seed + 9, 4)))
    strength = np.maximum(1 - step(line, 0.0, 0.35), 0.55 * (1 - step(fine, 0.0, 0.22)))
    return mix(ground, vein, strength * (0.5 + 0.5 * fbm(p * 40, seed + 20, 3)))


def lines_of_text(u: Array, v: Array, seed: int, pitch: float) -> Array:
    """1 where ink is: words of random length on lines `pitch` metres apart, u along the line."""
    line = np.floor(v / pitch)
    inside = step(np.abs(v / pitch - line - 0.5), 0.30, 0.22)
    zero = line * 0
    glyph = cell(np.stack([np.floor(u / (pitch * 0.28)), line, zero], 1), seed)
    word = noise(np.stack([u / (pitch * 1.6), line * 7.3, zero], 1).astype(np.float32), seed + 1)
    return inside * (glyph > 0.28) * (word > 0.34)


def painting(u: Array, v: Array, seed: int, palette: tuple[object, object, object, object]) -> Array:
    """A landscape for u, v in -1..1: sky with clouds, three ridges, brushwork."""
    flat = np.stack([u, v, np.zeros_like(u)], 1).astype(np.float32)
    colour = mix(palette[0], palette[1], 0.5 - 0.5 * v)
    cloud = fbm(scaled(flat, 2.0, 6.0, 1), seed, 5)
    colour = mix(0, 1, np.zeros(len(u), np.float32)) + colour * 0.82 + 0.30 * step(cloud, 0.52, 0.75)[:, None]
    for ridge in range(3):
        along = np.stack([u * (1.8 + ridge), np.full_like(u, ridge * 9.1), np.zeros_like(u)], 1).astype(np.float32)
        height = 0.30 - 0.42 * ridge + 0.55 * (fbm(along, seed + 30 + ridge, 5) - 0.5)
        body = mix(palette[2], palette[3], np.float32(0.45 * ridge) + 0.6 * (fbm(flat * 9, seed + 40 + ridge, 4) - 0.3))
        under = step(height - v, -0.01, 0.02)
        colour = colour * (1 - under)[:, None] + body * under[:, None]
    brush = fbm(scaled(flat, 26, 60, 1), seed + 50, 3)
    return np.clip(colour * (0.72 + 0.56 * brush)[:, None], 0, 1)


def fabric(p: Array, seed: int, colours: tuple[object, object, object], pitch: float) -> Array:
    """Woven check with thread relief, on the x-y plane."""
    u, v = p[:, 0] / pitch, p[:, 1] / pitch
    warp = (np.floor(u * 3) % 3 == 0).astype(np.float32)
    weft = (np.floor(v * 3) % 4 == 0).astype(np.float32)
    colour = mix(colours[0], colours[1], 0.5 * warp + 0.5 * weft)
    colour = mix(colour, colours[2], step(cell(np.floor(np.stack([u, v, u * 0], 1)), seed), 0.80, 0.82))
    thread = 0.5 + 0.25 * np.sin(u * 75) + 0.25 * np.sin(v * 75)
    return colour * (0.72 + 0.22 * thread + 0.22 * fbm(p * 60, seed + 3, 3))[:, None]


def book_spines(u: Array, v: Array, seed: int, thickness: float) -> Array:
    """Books side by side along u, with titles along v; v in 0..1 up the spine. Above a book's height it is dark."""
    index = np.floor(u / thickness)
    zero = index * 0
    r = [cell(np.stack([index, zero, zero], 1), seed + i) for i in range(5)]
    grey = np.stack([r[0] + r[1] + r[2]] * 3, 1) / 3
    hue = (0.55 * np.stack([r[0], 0.85 * r[1], 0.75 * r[2]], 1) + 0.45 * grey) * 0.66 + vec((0.12, 0.08, 0.05))
    within = u / thickness - index
    edge = step(np.abs(within - 0.5), 0.49, 0.42)
    band = (np.abs(v - 0.16) < 0.03) | (np.abs(v - 0.80) < 0.02)
    title = (np.abs(within - 0.5) < 0.2) & (v > 0.28) & (v < 0.70)
    ink = title * (cell(np.stack([index, np.floor(v * 34), zero], 1), seed + 8) > 0.35)
    colour = mix(hue, (0.88, 0.80, 0.55), (band | (ink > 0)).astype(np.float32) * (0.4 + 0.6 * r[3]))
    top = 0.72 + 0.26 * r[4]
    return colour * (0.25 + 0.75 * edge)[:, None] * np.where(v > top, 0.08, 1.0).astype(np.float32)[:, None]

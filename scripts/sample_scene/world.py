# SPDX-License-Identifier: Apache-2.0
"""What stands where in the sample scene. Metres, z up; the table's top is at z = 0, its middle at the origin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sample_scene import textures as tx
from sample_scene.shapes import Array, Box, Cylinder, Marched, Room, Shape, Sphere, lathe_distance, torus_distance

FLOOR_Z, CEILING_Z = -0.72, 1.78
ROOM_HALF = (2.1, 2.2, (CEILING_Z - FLOOR_Z) / 2)
ROOM_CENTRE = (0.0, -0.3, (CEILING_Z + FLOOR_Z) / 2)
BACK_Y = ROOM_CENTRE[1] + ROOM_HALF[1]


def _flat(u: Array, v: Array) -> Array:
    return np.stack([u, v, np.zeros_like(u)], 1).astype(np.float32)


def room_colour(p: Array, n: Array) -> Array:
    z = p[:, 2] + ROOM_CENTRE[2]
    u = np.where(np.abs(n[:, 0]) > 0.5, p[:, 1], p[:, 0])
    # Wallpaper: leaves on a grid, every second row shifted, over paper grain.
    pitch = 0.19
    row = np.floor(z / pitch)
    su, sv = (u / pitch + 0.5 * (row % 2)) % 1 - 0.5, (z / pitch) % 1 - 0.5
    angle, r = np.arctan2(sv, su), np.hypot(su, sv)
    leaf = tx.step(0.20 + 0.13 * np.cos(5 * angle) - r, -0.015, 0.02)
    stem = tx.step(0.05 - r, -0.01, 0.01)
    paper = tx.mix((0.80, 0.76, 0.66), (0.44, 0.55, 0.50), 0.75 * leaf)
    paper = tx.mix(paper, (0.76, 0.42, 0.28), stem)
    paper *= (0.86 + 0.24 * tx.fbm(_flat(u * 22, z * 22), 70, 4))[:, None]
    panel = tx.wood(np.stack([z, u, u * 0], 1).astype(np.float32), 80, (0.70, 0.63, 0.52), (0.56, 0.48, 0.38), 0.14)
    wall = np.where((z < -0.05)[:, None], panel, paper)
    wall = np.where((np.abs(z + 0.03) < 0.025)[:, None], tx.vec((0.42, 0.33, 0.25)), wall)
    floor = tx.wood(p[:, [1, 0, 2]], 90, (0.62, 0.45, 0.30), (0.36, 0.23, 0.14), 0.12)
    ceiling = np.full_like(p, 0.86)
    return np.where((n[:, 2] > 0.5)[:, None], floor, np.where((n[:, 2] < -0.5)[:, None], ceiling, wall))


def framed(seed: int, half_u: float, half_v: float, axis: int, palette: tuple[object, object, object, object]):
    """A picture on the side of a thin box; `axis` is the horizontal one along it."""

    def colour(p: Array, n: Array) -> Array:
        u, v = p[:, axis] / half_u, p[:, 2] / half_v
        inside = (np.abs(u) < 1 - 0.055 / half_u) & (np.abs(v) < 1 - 0.055 / half_v)
        mount = (np.abs(u) < 1 - 0.025 / half_u) & (np.abs(v) < 1 - 0.025 / half_v)
        frame = tx.wood(p, seed + 3, (0.42, 0.27, 0.14), (0.20, 0.11, 0.06))
        frame = np.where(mount[:, None], tx.vec((0.90, 0.88, 0.82)), frame)
        return np.where(inside[:, None], tx.painting(u.astype(np.float32), v.astype(np.float32), seed, palette), frame)

    return colour


def globe_colour(p: Array, n: Array) -> Array:
    land = tx.fbm(p * 13, 201, 5)
    height = tx.fbm(p * 45, 205, 4)
    sea = tx.mix((0.10, 0.24, 0.42), (0.22, 0.46, 0.62), tx.fbm(p * 30, 206, 3))
    soil = tx.mix((0.30, 0.46, 0.20), (0.78, 0.66, 0.40), tx.step(height, 0.35, 0.62))
    colour = np.where((land > 0.53)[:, None], soil, sea)
    colour = np.where((np.abs(land - 0.53) < 0.012)[:, None], tx.vec((0.93, 0.90, 0.78)), colour)
    latitude = np.rad2deg(np.arcsin(np.clip(n[:, 2], -1, 1)))
    longitude = np.rad2deg(np.arctan2(n[:, 1], n[:, 0]))
    grid = (np.abs((latitude + 7.5) % 15 - 7.5) < 0.55) | (np.abs((longitude + 7.5) % 15 - 7.5) < 0.55)
    return np.where(grid[:, None], colour * 0.62, colour)


def vase_profile(z: Array) -> Array:
    return (0.045 + 0.033 * np.sin(z * 17.0 + 0.35) + 0.006 * np.cos(z * 40)).astype(np.float32)


def vase_colour(p: Array, n: Array) -> Array:
    angle = np.arctan2(p[:, 1], p[:, 0]) / np.pi
    band = np.floor(p[:, 2] / 0.036)
    zig = np.abs((angle * 9 + 0.5 * band) % 1 - 0.5) * 2
    v = (p[:, 2] / 0.036) % 1
    glaze = tx.mix((0.16, 0.32, 0.46), (0.62, 0.74, 0.74), tx.fbm(p * 50, 221, 4))
    pattern = np.where((zig > v)[:, None], glaze, tx.vec((0.90, 0.84, 0.70)))
    pattern = np.where(((band % 3) == 1)[:, None], glaze * 0.8, pattern)
    pattern = np.where((np.abs(v - 0.5) > 0.46)[:, None], tx.vec((0.66, 0.30, 0.16)), pattern)
    return pattern * (0.85 + 0.25 * tx.noise(p * 160, 222))[:, None]


def cube_colour(p: Array, n: Array) -> Array:
    faces = tx.vec(
        [
            (0.80, 0.16, 0.12),
            (0.93, 0.72, 0.14),
            (0.14, 0.42, 0.66),
            (0.18, 0.55, 0.28),
            (0.90, 0.88, 0.84),
            (0.86, 0.42, 0.10),
        ]
    )
    size = 0.11 / 3
    index = np.clip(np.floor((p + 0.055) / size), 0, 2)
    axis = np.abs(n).argmax(axis=1)
    key = index + n * 5
    pick = (tx.cell(key.astype(np.float32), 231) * 6).astype(int) % 6
    within = np.abs((p + 0.055) / size - index - 0.5)
    within[np.arange(len(p)), axis] = 0
    edge = within.max(axis=1)
    colour = faces[pick] * (0.85 + 0.25 * tx.fbm(p * 90, 232, 3))[:, None]
    return np.where((edge > 0.43)[:, None], tx.vec((0.06, 0.06, 0.07)), colour)


def mug_colour(p: Array, n: Array) -> Array:
    angle = np.arctan2(p[:, 1], p[:, 0])
    u, z = angle * 0.05, p[:, 2]
    su, sv = (u / 0.022) % 1 - 0.5, (z / 0.022) % 1 - 0.5
    key = np.stack([np.floor(u / 0.022), np.floor(z / 0.022), u * 0], 1).astype(np.float32)
    dot = np.hypot(su, sv) < 0.22 + 0.2 * tx.cell(key, 241)
    tint = tx.mix((0.72, 0.20, 0.16), (0.16, 0.30, 0.46), tx.step(tx.cell(key, 242), 0.49, 0.51))
    body = np.where(dot[:, None], tint, tx.vec((0.90, 0.86, 0.78)))
    body *= (0.90 + 0.15 * tx.fbm(p * 120, 243, 3))[:, None]
    rim = np.hypot(p[:, 0], p[:, 1])
    coffee = tx.mix((0.16, 0.08, 0.04), (0.55, 0.36, 0.20), tx.step(tx.fbm(p * 90, 244, 4), 0.42, 0.68))
    top = np.where((rim < 0.043)[:, None], coffee, tx.vec((0.90, 0.86, 0.78)))
    return np.where((n[:, 2] > 0.5)[:, None], top, body)


def orange_colour(p: Array, n: Array) -> Array:
    peel = tx.mix((0.95, 0.52, 0.10), (0.78, 0.30, 0.04), tx.fbm(p * 55, 251, 3))
    pores = tx.step(tx.noise(p * 420, 252), 0.62, 0.85)
    stalk = np.hypot(p[:, 0], p[:, 1]) + 2 * np.maximum(0, -p[:, 2])
    peel = np.where((stalk < 0.007)[:, None], tx.vec((0.25, 0.32, 0.12)), peel)
    return peel * (1 - 0.35 * pores)[:, None]


def ring_colour(p: Array, n: Array) -> Array:
    angle = np.arctan2(p[:, 1], p[:, 0])
    around = np.arctan2(p[:, 2], np.hypot(p[:, 0], p[:, 1]) - 0.068)
    sector = np.floor((angle / np.pi + 1) * 7 + 0.6 * np.sin(around))
    colours = tx.vec([(0.85, 0.30, 0.30), (0.95, 0.84, 0.55), (0.25, 0.50, 0.55), (0.93, 0.90, 0.84)])
    knit = 0.5 + 0.5 * np.sin(angle * 90) * np.sin(around * 16)
    return colours[(sector % 4).astype(int)] * (0.62 + 0.42 * knit)[:, None]


def sheet_colour(p: Array, n: Array) -> Array:
    u, v = p[:, 0], p[:, 1]
    column = (np.abs((u + 0.125) % 0.0833 - 0.0417) < 0.037) & (np.abs(v) < 0.078)
    headline = (v > 0.052) & (np.abs(u) < 0.11)
    ink = tx.lines_of_text(u, v, 261, 0.0062) * column * ~headline
    ink = np.maximum(ink, tx.lines_of_text(u, v, 265, 0.024) * headline * 0.95)
    photo = (np.abs(u - 0.045) < 0.034) & (np.abs(v + 0.015) < 0.03)
    grey = tx.fbm(_flat(u * 60, v * 60), 266, 5)
    paper = tx.vec((0.89, 0.87, 0.81)) * (0.93 + 0.1 * tx.fbm(p * 80, 267, 3))[:, None]
    colour = tx.mix(paper, (0.13, 0.13, 0.15), ink * 0.9)
    return np.where(photo[:, None], (0.08 + 1.1 * (grey - 0.15))[:, None] * tx.vec((1, 0.97, 0.92)), colour)


def book_colour(seed: int, cover: object, ink: object, half: tuple[float, float, float]):
    def colour(p: Array, n: Array) -> Array:
        u, v = p[:, 0] / half[0], p[:, 1] / half[1]
        art = tx.marble(np.stack([p[:, 0], p[:, 1], p[:, 2] * 0], 1).astype(np.float32) * 1.6, seed, cover, ink)
        title = (v > 0.35) & (v < 0.8) & (np.abs(u) < 0.75)
        art = tx.mix(art, (0.95, 0.92, 0.82), title.astype(np.float32))
        art = tx.mix(art, tx.vec(cover) * 0.7, title * tx.lines_of_text(p[:, 0], p[:, 1], seed + 5, 0.019))
        border = np.maximum(np.abs(u), np.abs(v)) > 0.93
        art = np.where(border[:, None], np.asarray(cover, np.float32) * 0.6, art)
        pages = tx.vec((0.90, 0.86, 0.74)) * (0.72 + 0.4 * tx.noise(tx.scaled(p, 3, 3, 1400), seed + 6))[:, None]
        board = np.abs(p[:, 2]) > half[2] * 0.80
        spine = n[:, 1] < -0.5
        label = tx.lines_of_text(p[:, 0], p[:, 2], seed + 7, half[2] * 0.9) * (np.abs(u) < 0.7)
        side = np.where((board | spine)[:, None], np.asarray(cover, np.float32) * 0.85, pages)
        side = np.where((spine & (label > 0))[:, None], tx.vec((0.94, 0.88, 0.68)), side)
        return np.where((np.abs(n[:, 2]) > 0.5)[:, None], art, side)

    return colour


def shelf_colour(p: Array, n: Array) -> Array:
    row = np.floor((p[:, 2] + 0.5) / 0.25)
    v = ((p[:, 2] + 0.5) / 0.25) % 1
    u = p[:, 0] + 5 * row
    spines = tx.book_spines(u.astype(np.float32), ((v - 0.10) / 0.9).astype(np.float32), 281, 0.034)
    board = tx.wood(p, 285, (0.50, 0.33, 0.19), (0.30, 0.18, 0.10))
    on_board = (v < 0.10) | (np.abs(p[:, 0]) > 0.42) | (np.abs(n[:, 1]) < 0.5)
    return np.where(on_board[:, None], board, spines)


def build() -> list[Shape]:
    """All shapes; the room is the last one."""
    oak, oak_dark = (0.74, 0.52, 0.31), (0.46, 0.27, 0.13)
    top = Box(
        "table",
        lambda p, n: tx.wood(p, 101, oak, oak_dark, 0.14),
        (0, 0, -0.02),
        half=(0.62, 0.42, 0.02),
        gloss=0.10,
        shine=45,
        is_object=False,
        mean=(0.5, 0.32, 0.18),
    )
    legs = [
        Box(
            "leg",
            lambda p, n: tx.wood(p[:, [2, 1, 0]], 105, oak, oak_dark),
            (x, y, -0.38),
            half=(0.03, 0.03, 0.34),
            is_object=False,
        )
        for x in (-0.55, 0.55)
        for y in (-0.35, 0.35)
    ]
    covers = (
        ((0.16, 0.28, 0.40), (0.74, 0.62, 0.36)),
        ((0.58, 0.17, 0.14), (0.92, 0.82, 0.60)),
        ((0.20, 0.40, 0.28), (0.86, 0.88, 0.66)),
    )
    books: list[Shape] = []
    z = 0.0
    for i, (half, turn) in enumerate(
        (((0.145, 0.105, 0.019), 18.0), ((0.130, 0.092, 0.014), 31.0), ((0.112, 0.080, 0.017), 5.0))
    ):
        books.append(
            Box(
                f"book{i}",
                book_colour(110 + 20 * i, *covers[i], half),
                (-0.36, 0.13, z + half[2]),
                turn,
                half=half,
                gloss=0.07,
            )
        )
        z += 2 * half[2]
    still_life = [
        Sphere("globe", globe_colour, (0.29, 0.16, 0.20), size=0.125, gloss=0.22, shine=60, mean=(0.2, 0.35, 0.4)),
        Cylinder(
            "globe foot",
            lambda p, n: tx.wood(p, 191, (0.40, 0.24, 0.13), (0.2, 0.1, 0.05)),
            (0.29, 0.16, 0.012),
            size=0.075,
            half_height=0.012,
            gloss=0.15,
        ),
        Cylinder(
            "globe rod",
            lambda p, n: np.full_like(p, 0.62) * tx.vec((1, 0.86, 0.55)),
            (0.29, 0.16, 0.05),
            size=0.012,
            half_height=0.04,
            gloss=0.5,
            shine=80,
        ),
        Marched(
            "vase",
            vase_colour,
            (-0.03, 0.17, 0.0),
            distance=lathe_distance(0.27, vase_profile, 1.32),
            reach=0.29,
            gloss=0.25,
            shine=60,
        ),
        Box("cube", cube_colour, (0.06, -0.15, 0.055), 27.0, half=(0.055, 0.055, 0.055), gloss=0.18, shine=50),
        Sphere(
            "marble",
            lambda p, n: tx.marble(p, 211, (0.90, 0.88, 0.84), (0.24, 0.30, 0.30)),
            (-0.15, -0.17, 0.062),
            size=0.062,
            gloss=0.35,
            shine=120,
            mean=(0.6, 0.6, 0.57),
        ),
        Cylinder("mug", mug_colour, (0.40, -0.13, 0.052), size=0.05, half_height=0.052, gloss=0.22, shine=70),
        Marched(
            "handle",
            lambda p, n: np.full_like(p, 0.88) * tx.vec((1, 0.96, 0.87)),
            (0.455, -0.13, 0.052),
            distance=torus_distance(0.028, 0.008, True),
            reach=0.04,
            gloss=0.2,
        ),
        Marched("ring", ring_colour, (-0.42, -0.19, 0.03), distance=torus_distance(0.068, 0.030, False), reach=0.10),
        Sphere("orange", orange_colour, (-0.06, -0.02, 0.040), size=0.040, gloss=0.14, shine=25, mean=(0.8, 0.4, 0.08)),
        Sphere(
            "orange2",
            orange_colour,
            (0.03, 0.01, 0.037),
            size=0.037,
            gloss=0.14,
            shine=25,
            mean=(0.8, 0.4, 0.08),
            turn_deg=140,
        ),
        Box("sheet", sheet_colour, (0.20, -0.285, 0.0012), -14.0, half=(0.125, 0.088, 0.0012), gloss=0.01),
    ]
    warm = ((0.90, 0.72, 0.48), (0.42, 0.55, 0.70), (0.36, 0.42, 0.34), (0.20, 0.22, 0.14))
    cool = ((0.62, 0.76, 0.86), (0.24, 0.40, 0.62), (0.50, 0.44, 0.52), (0.16, 0.26, 0.30))
    dusk = ((0.95, 0.60, 0.36), (0.40, 0.30, 0.52), (0.46, 0.28, 0.34), (0.14, 0.12, 0.20))
    furniture = [
        Box("picture back", framed(301, 0.42, 0.30, 0, warm), (-0.75, BACK_Y - 0.02, 0.75), half=(0.42, 0.02, 0.30)),
        Box("picture left", framed(311, 0.52, 0.36, 1, cool), (-2.08, 0.45, 0.72), half=(0.02, 0.52, 0.36)),
        Box("picture left2", framed(321, 0.26, 0.34, 1, dusk), (-2.08, -0.85, 0.70), half=(0.02, 0.26, 0.34)),
        Box("picture right", framed(331, 0.50, 0.34, 1, dusk), (2.08, 0.55, 0.74), half=(0.02, 0.50, 0.34)),
        Box("picture right2", framed(341, 0.28, 0.36, 1, warm), (2.08, -0.75, 0.70), half=(0.02, 0.28, 0.36)),
        Box("bookcase", shelf_colour, (0.55, BACK_Y - 0.14, 0.04), half=(0.45, 0.14, 0.76)),
        Box(
            "chest",
            lambda p, n: tx.wood(p, 401, (0.56, 0.37, 0.24), (0.30, 0.17, 0.09), 0.09),
            (-1.75, 0.35, FLOOR_Z + 0.3),
            half=(0.25, 0.55, 0.30),
        ),
        Box(
            "ottoman",
            lambda p, n: tx.fabric(
                p[:, [1, 2, 0]] + p[:, [0, 0, 1]],
                411,
                ((0.30, 0.38, 0.46), (0.76, 0.70, 0.58), (0.66, 0.28, 0.20)),
                0.12,
            ),
            (1.62, 0.35, FLOOR_Z + 0.24),
            12.0,
            half=(0.30, 0.36, 0.24),
        ),
        Box(
            "rug",
            lambda p, n: tx.fabric(p, 421, ((0.52, 0.20, 0.17), (0.20, 0.22, 0.32), (0.84, 0.74, 0.54)), 0.26),
            (0, 0.1, FLOOR_Z + 0.006),
            half=(1.25, 0.95, 0.006),
        ),
    ]
    furniture = [_background(shape) for shape in furniture]
    room = Room("room", room_colour, ROOM_CENTRE, half=ROOM_HALF, gloss=0.02, mean=(0.55, 0.48, 0.38))
    return [*books, *still_life, top, *legs, *furniture, room]


def _background(shape: Shape) -> Shape:
    return replace(shape, is_object=False)

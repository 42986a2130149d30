# SPDX-License-Identifier: Apache-2.0
"""What was done to the values of a splat, as one row of 23 numbers that compose exactly.

A splat's values are always made anew from those it was read with and from the one row that all edits so far come to.
So many edits round once, undo restores every bit, and a history keeps rows instead of values.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.conventions import SH_C0
from sparse3d.formulas.turned_harmonics import band_rotations
from sparse3d.geometry.quaternions import quat_product, rotation_from_unit_quats
from sparse3d.splats import Splats

# colour' = COLOUR @ colour + OFFSET; world' = SCALE * R(TURN) @ world + SHIFT;
# opacity' = clip(FADE * opacity, LOW, HIGH).
COLOUR, OFFSET, TURN, SCALE, SHIFT = slice(0, 9), slice(9, 12), slice(12, 16), 16, slice(17, 20)
FADE, LOW, HIGH = 20, 21, 22
WIDTH = 23
# An opacity of exactly 0 or 1 has no finite logit.
_LEAST_OPACITY = 1e-6
# Splats whose harmonics are turned at a time, so that they stay in the cache.
_BLOCK = 4096
Rows = NDArray[np.float64]


def identity() -> Rows:
    """[23] the row that changes nothing."""
    row = np.zeros(WIDTH)
    row[COLOUR] = np.eye(3).ravel()
    row[[TURN.start, SCALE, FADE, HIGH]] = 1.0
    return row


def motion(*, quat_wxyz: tuple[float, ...] = (1, 0, 0, 0), factor: float = 1.0, shift: tuple[float, ...] = (0, 0, 0),
           center: tuple[float, ...] = (0, 0, 0)) -> Rows:  # fmt: skip
    """[23] turn and scale about `center`, then shift; world units, a quaternion of any length but 0."""
    row, quat = identity(), np.asarray(quat_wxyz, np.float64)
    row[TURN] = quat / np.sqrt((quat * quat).sum())
    row[SCALE] = factor
    middle = np.asarray(center, np.float64)
    row[SHIFT] = middle + np.asarray(shift, np.float64) - factor * _turned(row[None], middle[None])[0]
    return row


def recolouring(matrix: NDArray[np.float64], offset: NDArray[np.float64]) -> Rows:
    """[23] colour' = matrix [3,3] @ colour + offset [3], of sRGB colours in 0..1."""
    row = identity()
    row[COLOUR], row[OFFSET] = matrix.ravel(), offset
    return row


def fading(factor: float, low: float = 0.0, high: float = 1.0) -> Rows:
    """[23] opacity' = clip(factor * opacity, low, high)."""
    row = identity()
    row[[FADE, LOW, HIGH]] = factor, low, high
    return row


def compose(after: Rows, before: Rows) -> Rows:
    """[G,23] the rows of `before` [G,23], then `after` [23]."""
    out = before.copy()
    matrix, was = after[COLOUR].reshape(3, 3), before[:, COLOUR].reshape(-1, 3, 3)
    parts = [matrix[None, :, k, None] * was[:, k, None, :] for k in range(3)]
    out[:, COLOUR] = (parts[0] + parts[1] + parts[2]).reshape(-1, 9)
    out[:, OFFSET] = sum(matrix[None, :, k] * before[:, OFFSET][:, k, None] for k in range(3)) + after[OFFSET]
    # A turn by nothing keeps every bit of the turn before it.
    if not np.array_equal(after[TURN], identity()[TURN]):
        turn = _quat_products(after[TURN], before[:, TURN])
        out[:, TURN] = turn / np.sqrt((turn * turn).sum(axis=1, keepdims=True))
    out[:, SCALE] = after[SCALE] * before[:, SCALE]
    turned = _turned(np.broadcast_to(after, before.shape), before[:, SHIFT])
    out[:, SHIFT] = after[SCALE] * turned + after[SHIFT]
    out[:, FADE] = after[FADE] * before[:, FADE]
    for bound in (LOW, HIGH):
        out[:, bound] = np.clip(after[FADE] * before[:, bound], after[LOW], after[HIGH])
    return out


def applied(base: Splats, rows: Rows, inverse: NDArray[np.integer]) -> Splats:
    """The values of `base` [n splats] after `rows[inverse]`, rows [G,23]; what a row leaves alone keeps its bits.

    numpy and in a fixed order throughout: the same bits on any number of threads, for one splat or for all.
    """
    nothing = identity()
    values = {name: tensor.detach().cpu().numpy().copy() for name, tensor in base.named()}
    for part, change in (
        (slice(COLOUR.start, OFFSET.stop), _recolour),
        (slice(TURN.start, SHIFT.stop), _move),
        (slice(FADE, WIDTH), _fade),
    ):
        touched = (rows[:, part] != nothing[part]).any(axis=1)
        if not touched.any():
            continue
        where = np.flatnonzero(touched[inverse])
        kept = np.cumsum(touched) - 1
        chosen = {name: value[where] for name, value in values.items()}
        change(chosen, rows[touched], kept[inverse[where]])
        for name, value in chosen.items():
            values[name][where] = value
    device = base.means.device
    return replace(base, **{name: torch.from_numpy(value).to(device) for name, value in values.items()})


def _recolour(values: dict[str, NDArray[np.float32]], rows: Rows, of: NDArray[np.integer]) -> None:
    each = rows[of] if len(rows) > 1 else rows
    old = 0.5 + SH_C0 * values["sh0"][:, 0].astype(np.float64)
    colour = sum(each[:, COLOUR].reshape(-1, 3, 3)[:, :, k] * old[:, k, None] for k in range(3)) + each[:, OFFSET]
    values["sh0"][:, 0] = (colour - 0.5) / SH_C0
    factors, rest = each[:, COLOUR].astype(np.float32), values["shN"]
    new = np.empty_like(rest)
    for c in range(3):
        mixed = factors[:, 3 * c, None] * rest[:, :, 0]
        mixed += factors[:, 3 * c + 1, None] * rest[:, :, 1]
        mixed += factors[:, 3 * c + 2, None] * rest[:, :, 2]
        new[:, :, c] = mixed
    values["shN"] = new


def _move(values: dict[str, NDArray[np.float32]], rows: Rows, of: NDArray[np.integer]) -> None:
    each = rows[of] if len(rows) > 1 else rows
    means = values["means"].astype(np.float64)
    values["means"] = (each[:, SCALE, None] * _turned(each, means) + each[:, SHIFT]).astype(np.float32)
    values["log_scales"] = (values["log_scales"] + np.log(each[:, SCALE, None])).astype(np.float32)
    turning = (rows[:, TURN] != identity()[TURN]).any(axis=1)
    if not turning.any():
        return
    where = np.flatnonzero(turning[of])
    some = each[where] if len(rows) > 1 else each
    values["quats_wxyz"][where] = _quat_products(some[:, TURN], values["quats_wxyz"][where].astype(np.float64))
    values["shN"][where] = _turned_harmonics(rows[turning], (np.cumsum(turning) - 1)[of[where]], values["shN"][where])


def _fade(values: dict[str, NDArray[np.float32]], rows: Rows, of: NDArray[np.integer]) -> None:
    each = rows[of] if len(rows) > 1 else rows
    opacity = 1.0 / (1.0 + np.exp(-values["logit_opacities"].astype(np.float64)))
    opacity = np.clip(each[:, FADE] * opacity, each[:, LOW], each[:, HIGH])
    opacity = np.clip(opacity, _LEAST_OPACITY, 1.0 - _LEAST_OPACITY)
    values["logit_opacities"] = np.log(opacity / (1.0 - opacity)).astype(np.float32)


def _turned_harmonics(rows: Rows, of: NDArray[np.integer], rest: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n,K,3] the coefficients `rest` turned by the rotation of each one's row."""
    degree = round((rest.shape[1] + 1) ** 0.5) - 1
    each = [band_rotations(rotation, degree) for rotation in rotation_from_unit_quats(rows[:, TURN])]
    out = np.empty_like(rest)
    for order in range(1, degree + 1):
        matrices = np.stack([bands[order - 1] for bands in each]).astype(np.float32)
        band = slice(order**2 - 1, (order + 1) ** 2 - 1)
        for begin in range(0, len(rest), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            out[block, band] = _mixed(matrices, of[block], rest[block, band])
    return out


def _mixed(matrices: NDArray[np.float32], of: NDArray[np.integer], band: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n,S,3] the coefficients `band` of one degree times the matrix [S,S] of each one's row."""
    size = band.shape[1]
    parts = np.ascontiguousarray(band.transpose(1, 0, 2))
    out = np.zeros_like(parts)
    for i in range(size):
        for j in range(size):
            factor = matrices[:, i, j][of][:, None] if len(matrices) > 1 else matrices[:, i, j, None]
            out[i] += factor * parts[j]
    return out.transpose(1, 0, 2)


def _turned(rows: Rows, points: Rows) -> Rows:
    """[n,3] the points [n,3] turned by TURN of the rows [n or 1,23]; no BLAS, so that bits do not depend on threads."""
    matrices = rotation_from_unit_quats(rows[:, TURN])
    return matrices[:, :, 0] * points[:, :1] + matrices[:, :, 1] * points[:, 1:2] + matrices[:, :, 2] * points[:, 2:]


def _quat_products(a: Rows, b: Rows) -> Rows:
    """[n,4] of a [4] or [n or 1,4] and b [n,4]: first b turns, then a."""
    return quat_product(torch.from_numpy(np.ascontiguousarray(a)), torch.from_numpy(np.ascontiguousarray(b))).numpy()

# SPDX-License-Identifier: Apache-2.0
"""The .splat of antimatter15/splat: 32 bytes a splat, no header, no view-dependent colour.

Position 3 f32, standard deviations 3 f32 (linear), colour and opacity 4 u8, quaternion w x y z 4 u8 of 128 q + 128.
Written with the splats that cover most first, as viewers that show a file while it loads expect.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.conventions import SH_C0
from sparse3d.errors import DataError
from sparse3d.formats.checks import (
    alpha_bytes,
    check_count,
    damaged,
    logits_of_alpha,
    numpy_of,
    remaining_bytes,
    to_splats,
    unit_quats,
)
from sparse3d.formats.cuts import check_writable, cut_note, size_notes
from sparse3d.formats.format import Knob, Limits, WriteOptions, degree_note, register
from sparse3d.formats.losses import Losses
from sparse3d.splats import Splats

_ROW = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])
# A scale of exactly 0, which some files hold for flat splats, gets this finite logarithm (1e-9 of a unit).
_LEAST_LOG_SCALE = -20.7
_MOST_LOG_SCALE = 88.0


@register
class SplatFile:
    """.splat: known by its suffix only."""

    name = "splat"
    suffixes: tuple[str, ...] = (".splat",)
    limits = Limits(
        lossy=True, max_sh_degree=0, activated=("log_scales", "logit_opacities", "sh0"), keeps_antialias=False,
        has_magic=False,
    )  # fmt: skip
    knobs: tuple[Knob, ...] = ()
    losses = Losses()
    versions: tuple[int, ...] = ()

    def sniff(self, head: bytes) -> bool:
        return False

    def read(self, file: BinaryIO) -> Splats:
        size = remaining_bytes(file)
        if size % _ROW.itemsize:
            raise damaged(
                f".splat of {size} bytes is cut off or not one: splats have 32 bytes, {size % 32} are left over "
                f"from byte {size - size % 32} on"
            )
        check_count(size // _ROW.itemsize, ".splat")
        return _unpack(np.frombuffer(file.read(size), dtype=_ROW))

    def write(self, file: BinaryIO, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
        rows, notes = _pack(splats)
        file.write(rows.tobytes())
        return (*degree_note(self, splats, opts), *notes)

    def quantised(self, splats: Splats, opts: WriteOptions) -> Splats:
        """In the order of the file: by opacity times volume."""
        return _unpack(_pack(splats)[0])

    def file_order(self, splats: Splats) -> Tensor:
        arrays = numpy_of(splats, 0)
        return torch.from_numpy(_order(_log_scales(arrays["log_scales"]), alpha_bytes(arrays["logit_opacities"])))


def _unpack(rows: NDArray[np.void]) -> Splats:
    scales = rows["scale"]
    if (scales < 0).any():
        first = int((scales < 0).any(axis=1).argmax())
        raise DataError(
            f".splat: splat {first}, byte {32 * first + 12}: a scale is negative: {scales[first].tolist()}; export it "
            "again"
        )
    with np.errstate(divide="ignore"):
        log_scales = np.maximum(np.log(scales), np.float32(_LEAST_LOG_SCALE))
    sh0 = (rows["rgba"][:, :3].astype(np.float32) / 255 - np.float32(0.5)) / np.float32(SH_C0)
    quats = unit_quats(((rows["quat"].astype(np.float32) - 128) / 128).astype(np.float32, copy=False), keep_zero=True)
    logits = logits_of_alpha(rows["rgba"][:, 3])
    means = rows["mean"]
    return to_splats(means, quats, log_scales, logits, sh0, np.zeros((len(rows), 0, 3), np.float32))


def _pack(splats: Splats) -> tuple[NDArray[np.void], tuple[str, ...]]:
    if splats.num_splats == 0:
        raise DataError("there are no splats to write; give a scene that has some")
    arrays = numpy_of(splats, 0)
    check_writable(arrays)
    log_scales = _log_scales(arrays["log_scales"])
    alphas = alpha_bytes(arrays["logit_opacities"])
    order = _order(log_scales, alphas)
    colour = arrays["sh0"] * np.float32(SH_C0) + np.float32(0.5)
    rows = np.empty(splats.num_splats, dtype=_ROW)
    rows["mean"] = arrays["means"][order]
    rows["scale"] = np.exp(log_scales[order])
    rows["rgba"][:, :3] = np.rint(colour.clip(0, 1) * 255)[order]
    rows["rgba"][:, 3] = alphas[order]
    rows["quat"] = _quat_bytes(arrays["quats_wxyz"][order])
    notes = cut_note(colour, 0, 1, "colours", step=0.002)
    return rows, (*notes, *size_notes(arrays["log_scales"], _LEAST_LOG_SCALE, _MOST_LOG_SCALE))


def _log_scales(log_scales: NDArray[np.float32]) -> NDArray[np.float32]:
    return log_scales.clip(_LEAST_LOG_SCALE, _MOST_LOG_SCALE)


def _order(log_scales: NDArray[np.float32], alphas: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.argsort(-(log_scales.sum(axis=1) + np.log(alphas + np.float32(1e-3))), kind="stable")


def _quat_bytes(quats: NDArray[np.float32]) -> NDArray[np.float32]:
    # q and -q turn alike. 128 q + 128 holds -1 but not 1, so the largest component is made negative.
    unit = unit_quats(quats)
    largest = np.take_along_axis(unit, np.abs(unit).argmax(axis=1)[:, None], axis=1)
    return np.rint(np.where(largest > 0, -unit, unit) * 128 + 128).clip(0, 255)

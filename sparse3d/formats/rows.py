# SPDX-License-Identifier: Apache-2.0
"""What odd rows of a file of splats mean, for every format alike.

A quaternion of exactly zero is no splat (programs leave such rows where they deleted splats). A row with NaN is
refused, or left out on request; so is one with an infinity, but that of an opacity (opaque, or transparent where it is
negative) and that of a scale of zero (flat).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sparse3d.errors import DataError
from sparse3d.splats import Splats

# Squared lengths of quaternions between which every kernel takes them as they are.
_SHORT, _LONG = 1e-12, 1e12
_NAMES = {
    "means": "x y z", "quats_wxyz": "rot", "log_scales": "scale", "logit_opacities": "opacity", "sh0": "f_dc",
    "shN": "f_rest",
}  # fmt: skip


def settled(splats: Splats, *, drop_invalid: bool = False) -> tuple[Splats, tuple[str, ...]]:
    """The splats that a file's rows are, and one sentence for each kind of row that was left out.

    Raises DataError that counts the rows which are no numbers, over all columns, unless `drop_invalid`; and where no
    splat is left.
    """
    notes: list[str] = []
    usual = _usual_rotations(splats.quats_wxyz)
    if not usual:
        empty = (splats.quats_wxyz == 0).all(dim=1)
        splats = _without(splats, empty, "have a rotation of exactly zero and are no splats", notes)
    bad = {
        name: rows for name, rows in ((name, _bad_rows(name, values)) for name, values in splats.named()) if len(rows)
    }
    if not bad:
        return splats if usual else _with_usual_rotations(splats), tuple(notes)
    rows = torch.zeros(splats.num_splats, dtype=torch.bool)
    for found in bad.values():
        rows[found] = True
    where = ", ".join(f"{_NAMES[name]} in {len(found)}" for name, found in bad.items())
    if not drop_invalid:
        raise DataError(
            f"{int(rows.sum())} of {splats.num_splats} splats hold NaN or infinite values ({where}), the first is "
            f"splat {int(rows.int().argmax())}; add --drop-invalid to go on without them"
        )
    splats = _without(splats, rows, f"hold NaN or infinite values ({where})", notes)
    return splats if usual else _with_usual_rotations(splats), tuple(notes)


def _usual_rotations(quats_wxyz: Tensor) -> bool:
    """Whether every quaternion [N,4] has a length that kernels take as it is."""
    square = torch.linalg.vecdot(quats_wxyz, quats_wxyz)
    return square.numel() > 0 and _SHORT < float(square.min()) <= float(square.max()) < _LONG


def _with_usual_rotations(splats: Splats) -> Splats:
    """The splats with quaternions of length 1 where the squared length would leave float32 in a kernel."""
    square = splats.quats_wxyz.square().sum(dim=1)
    odd = ~((square > _SHORT) & (square < _LONG))
    quats = splats.quats_wxyz.clone()
    quats[odd] = torch.nn.functional.normalize(quats[odd].double(), dim=1, eps=1e-300).float()
    return replace(splats, quats_wxyz=quats)


def _without(splats: Splats, rows: Tensor, what: str, notes: list[str]) -> Splats:
    count = int(rows.sum())
    if not count:
        return splats
    if count == splats.num_splats:
        raise DataError(f"all {count} rows {what}, so nothing is left; export the scene again")
    notes.append(f"{count} of {splats.num_splats} rows {what}: they were left out")
    return splats.select(~rows)


def _bad_rows(name: str, values: Tensor) -> Tensor:
    """Indices of the rows of one parameter that are not what a splat can be."""
    # A sum is finite only where every term is, or where huge terms add up: then the slow way decides.
    if not values.numel() or bool(values.sum().isfinite()):
        return torch.zeros(0, dtype=torch.int64)
    wrong = values.isnan() if name == "logit_opacities" else ~values.isfinite()
    if name == "log_scales":
        wrong &= values != -torch.inf
    return wrong.flatten(1).any(dim=1).nonzero()[:, 0] if wrong.ndim > 1 else wrong.nonzero()[:, 0]

# SPDX-License-Identifier: Apache-2.0
"""What readers share: refusing numbers that are not numbers, and counts that the bytes cannot hold."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.splats import Splats

# No reader accepts more splats than this: some 8 GB as float32 with harmonics of degree 3.
MAX_SPLATS = 1 << 25
# A byte of alpha 0 or 255 stands for opacities within a quarter of a step of 0 or 1, so that logits stay finite.
_ALPHA_EDGE = 0.25
# Squared lengths of quaternions between which float32 knows them well.
_SHORT, _LONG = 1e-30, 1e30
_BLOCK = 1 << 15


def finite(values: NDArray[Any], what: str) -> NDArray[Any]:
    """`values` [N, ...] unchanged. Raises DataError with the first splat where one is NaN or infinite."""
    # A sum is finite only if every term is, or if huge terms cancel: then the slow way decides.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum(dtype=np.float32)):
            return values
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if bad.any():
        raise DataError(
            f"{what} is NaN or infinite in {int(bad.sum())} splats, the first is splat {int(bad.argmax())}; remove "
            "them "
            "first (--drop-invalid leaves them out of a file that is read)"
        )
    return values


def damaged(what: str) -> DataError:
    """The error for bytes that contradict each other, whatever program wrote them. what: the sentence that says "
    "where."""
    return DataError(f"{what}; copy or download the file again, or export it anew")


def check_count(count: int, what: str) -> None:
    """Raises DataError for no splats and for more than MAX_SPLATS."""
    if count == 0:
        raise DataError(f"{what} holds 0 splats; export the scene again")
    if count > MAX_SPLATS:
        raise DataError(f"{what} says {count} splats; at most {MAX_SPLATS} are read; cut the scene into parts")


def remaining_bytes(file: BinaryIO) -> int:
    """Bytes between where `file` stands and its end."""
    here = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(here)
    return end - here


def alpha_bytes(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Opacity logits [N] -> 0..255, the nearest of 255ths; NaN is 0, infinities are the ends."""
    with np.errstate(over="ignore"):
        opacities = 1.0 / (1.0 + np.exp(-np.nan_to_num(logits, nan=-np.inf, posinf=np.inf, neginf=-np.inf)))
    return np.rint(opacities * np.float32(255)).astype(np.uint8)


def logits_of_alpha(alphas: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Opacity logits [N] of 0..255, finite at both ends."""
    steps = np.arange(256, dtype=np.float64)
    steps[0], steps[255] = _ALPHA_EDGE, 255 - _ALPHA_EDGE
    return np.log(steps / (255 - steps)).astype(np.float32)[alphas]


def numpy_of(splats: Splats, degree: int) -> dict[str, NDArray[np.float32]]:
    """The parameters as float32 arrays on the CPU, `shN` cut at `degree`, `sh0` as [N,3]."""
    out = {name: tensor.detach().to("cpu", torch.float32).numpy() for name, tensor in splats.named()}
    out["shN"] = out["shN"][:, : (degree + 1) ** 2 - 1]
    out["sh0"] = out["sh0"][:, 0]
    return out


def in_blocks(count: int) -> Iterator[slice]:
    """Slices that cover 0..count: what is done to each in turn needs memory for one only."""
    for start in range(0, count, _BLOCK):
        yield slice(start, min(start + _BLOCK, count))


def unit_quats(quats_wxyz: NDArray[np.float32], *, keep_zero: bool = False) -> NDArray[np.float32]:
    """Quaternions [N,4] of length 1; a zero one becomes no rotation, or stays (readers: such a row is no splat)."""
    with np.errstate(over="ignore", under="ignore"):
        square = np.einsum("ij,ij->i", quats_wxyz, quats_wxyz)[:, None]
    none = ~(square > 0)
    out = quats_wxyz / np.sqrt(np.where(none, 1, square))
    # Squares of very long and very short ones leave the range of float32.
    odd = ~((square[:, 0] > _SHORT) & (square[:, 0] < _LONG))
    if odd.any():
        exact = quats_wxyz[odd].astype(np.float64)
        length = np.linalg.norm(exact, axis=1, keepdims=True)
        none[odd] = ~(length > 0)
        out[odd] = exact / np.where(none[odd], 1, length)
    if keep_zero:
        return out.astype(np.float32, copy=False)
    return np.where(none, np.array([1, 0, 0, 0], np.float32), out).astype(np.float32, copy=False)


def to_splats(means: NDArray[Any], quats_wxyz: NDArray[Any], log_scales: NDArray[Any], logits: NDArray[Any],
              sh0: NDArray[Any], shN: NDArray[Any], *, antialias: bool = False) -> Splats:  # fmt: skip
    """Splats of float32 arrays; sh0 [N,3], shN [N,K,3]."""

    def tensor(values: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

    return Splats(
        tensor(means), tensor(quats_wxyz), tensor(log_scales), tensor(logits), tensor(sh0)[:, None, :], tensor(shN),
        antialias,
    )  # fmt: skip

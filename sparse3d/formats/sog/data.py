# SPDX-License-Identifier: Apache-2.0
"""What a SOG file holds once its images are open, and what splats that means (SOG v2; PlayCanvas, "The SOG format")."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.geometry.places import Origin
from sparse3d.splats import Splats

# The alpha channel of the quaternions' image names the largest component: 252 to 255 for w, x, y, z.
QUAT_TAG = 252
# The three components that are stored when component i is the largest, in the order w x y z.
QUAT_REST = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
# Opacity 0 and 1 have no finite logit; programs that read SOG clamp here too.
_OPACITY_EDGE = 1e-6


@dataclass(frozen=True)
class SogPalette:
    """Spherical harmonics above degree 0. centroids [P,K,3] uint8 and labels [N] uint16 as stored (K coefficients of
    the three channels); codebook [256] float32, the value of each byte."""

    centroids: NDArray[np.uint8]
    labels: NDArray[np.uint16]
    codebook: NDArray[np.float32]


@dataclass(frozen=True)
class SogData:
    """N splats in the order of the pixels. means [N,3] uint16 between `mins` and `maxs` [3] (after the symmetric log);
    quats [N,4] uint8 (three components, then the tag of the largest); scales [N,3] uint8 with `scale_codebook` [256];
    colour [N,4] uint8: three indices into `colour_codebook` [256], then the opacity in 1/255.
    origin: the place in the world that means are counted from."""

    means: NDArray[np.uint16]
    mins: NDArray[np.float64]
    maxs: NDArray[np.float64]
    quats: NDArray[np.uint8]
    scales: NDArray[np.uint8]
    scale_codebook: NDArray[np.float32]
    colour: NDArray[np.uint8]
    colour_codebook: NDArray[np.float32]
    palette: SogPalette | None
    antialias: bool
    origin: Origin = (0.0, 0.0, 0.0)


def permuted(data: SogData, order: NDArray[np.int64]) -> SogData:
    """The same splats in another order; entries of the palette stand in the order in which the pixels first use them,
    so that neighbours have near labels, and entries that none uses are dropped."""
    palette = None
    if data.palette is not None:
        labels = data.palette.labels[order]
        old, first, own = np.unique(labels, return_index=True, return_inverse=True)
        rank = np.argsort(first, kind="stable")
        place = np.empty(len(old), dtype=np.uint16)
        place[rank] = np.arange(len(old))
        palette = replace(data.palette, centroids=data.palette.centroids[old[rank]], labels=place[own.reshape(-1)])
    return replace(
        data, means=data.means[order], quats=data.quats[order], scales=data.scales[order], colour=data.colour[order],
        palette=palette,
    )  # fmt: skip


def splats_from_sog(data: SogData) -> Splats:
    """The splats [N] that a reader of the file gets."""
    opacity = data.colour[:, 3].astype(np.float64) / 255.0
    return Splats(
        means=_tensor(means_from_codes(data.means, data.mins, data.maxs)),
        quats_wxyz=_tensor(quats_from_codes(data.quats)),
        log_scales=_tensor(data.scale_codebook[data.scales]),
        logit_opacities=_tensor(logit(opacity)),
        sh0=_tensor(data.colour_codebook[data.colour[:, :3]][:, None, :]),
        shN=_tensor(_harmonics(data)),
        antialias=data.antialias,
        origin=data.origin,
    )


def means_from_codes(
    codes: NDArray[np.uint16], mins: NDArray[np.float64], maxs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Positions [N,3] of 16-bit codes: a linear step between mins and maxs, then the inverse of sign(x) ln(1+|x|)."""
    logs = mins + (maxs - mins) * (codes / 65535.0)
    return np.sign(logs) * np.expm1(np.abs(logs))


def quats_from_codes(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Unit quaternions wxyz [N,4] of the smallest three components; a tag below 252 is no rotation."""
    tag = codes[:, 3].astype(np.int64) - QUAT_TAG
    valid = tag >= 0
    largest = np.where(valid, tag, 0)
    rows = np.arange(len(codes))
    three = (codes[:, :3] / 255.0 * 2.0 - 1.0) / np.sqrt(2.0)
    quats = np.zeros((len(codes), 4))
    quats[rows[:, None], QUAT_REST[largest]] = three
    quats[rows, largest] = np.sqrt(np.maximum(0.0, 1.0 - (three * three).sum(axis=1)))
    quats[~valid] = (1.0, 0.0, 0.0, 0.0)
    return quats


def logit(opacity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of the sigmoid, finite for 0 and 1 too."""
    inside = np.clip(opacity, _OPACITY_EDGE, 1.0 - _OPACITY_EDGE)
    return np.log(inside / (1.0 - inside))


def _harmonics(data: SogData) -> NDArray[np.float32]:
    if data.palette is None:
        return np.zeros((len(data.means), 0, 3), dtype=np.float32)
    return data.palette.codebook[data.palette.centroids][data.palette.labels]


def _tensor(values: NDArray[np.floating]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

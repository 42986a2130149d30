# SPDX-License-Identifier: Apache-2.0
"""SOG version 1, read only: values lie linearly between a minimum and a maximum a channel; the opacity is a logit."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.formats.sog.data import means_from_codes, quats_from_codes
from sparse3d.formats.sog.meta import SogMeta
from sparse3d.splats import Splats


def splats_from_v1(
    meta: SogMeta,
    means: NDArray[np.uint16],
    quats: NDArray[np.uint8],
    scales: NDArray[np.uint8],
    colour: NDArray[np.uint8],
    centroids: NDArray[np.uint8] | None,
    labels: NDArray[np.uint16] | None,
) -> Splats:
    """Splats [N] of planes [N,4] and, with harmonics, of centroids [P,K,3] and labels [N]."""
    raw = _lerp(meta, "sh0", colour)
    rest = np.zeros((len(means), 0, 3))
    if centroids is not None and labels is not None:
        rest = _lerp(meta, "shN", centroids)[labels]
    return Splats(
        means=_tensor(means_from_codes(means, meta.tables["means_mins"], meta.tables["means_maxs"])),
        quats_wxyz=_tensor(quats_from_codes(quats)),
        log_scales=_tensor(_lerp(meta, "scales", scales[:, :3])),
        logit_opacities=_tensor(raw[:, 3]),
        sh0=_tensor(raw[:, None, :3]),
        shN=_tensor(rest),
    )


def _lerp(meta: SogMeta, role: str, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    low, high = meta.tables[f"{role}_mins"], meta.tables[f"{role}_maxs"]
    return low + (high - low) * (codes / 255.0)


def _tensor(values: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

# SPDX-License-Identifier: Apache-2.0
"""Which splats to keep."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sparse3d.compress.importance import Importance
from sparse3d.conventions import ALPHA_MIN
from sparse3d.errors import UsageError
from sparse3d.splats import Splats

Criterion = Literal["sensitivity", "contribution", "fisher", "opacity"]


def scores(splats: Splats, found: Importance, criterion: Criterion = "contribution") -> Tensor:
    """[N] the higher, the more a splat is worth: by squared change of the pictures without it (sensitivity), by summed
    blending weight (contribution), by log-determinant of Fisher information (fisher: PUP-3DGS, Hanson et al. 2024) or
    by opacity alone. Raises UsageError for `fisher` where it was not measured."""
    if criterion == "sensitivity":
        return found.sensitivity
    if criterion == "contribution":
        return found.weight
    if criterion == "opacity":
        return splats.logit_opacities.detach()
    if found.fisher is None:
        raise UsageError("pruning by Fisher information: it was not measured; ask `importance` for it (fisher=True)")
    return found.fisher


def keep_most(score: Tensor, count: int) -> Tensor:
    """Rows [min(count, N)], ascending, of the highest of the scores [N]; of equals the first. Raises UsageError for a
    negative count."""
    if count < 0:
        raise UsageError(f"--max-splats {count}: give a positive number")
    order = np.argsort(-score.numpy(), kind="stable")[:count]
    return torch.from_numpy(np.sort(order))


def visible_rows(found: Importance) -> Tensor:
    """Rows, ascending, of the splats that reach the blending weight 1/255 in a pixel of some view: the others change no
    8-bit picture by a grey level."""
    return torch.nonzero(found.peak >= ALPHA_MIN)[:, 0]


def rows_within(
    splats: Splats, *, min_opacity: float = 0.0, min_scale: float = 0.0, max_scale: float = float("inf")
) -> Tensor:
    """Rows, ascending, of the splats with at least this opacity (0..1) whose longest standard deviation lies within
    these bounds (world units). Splats with anything not finite are left out. Raises UsageError for bounds that leave
    nothing by themselves."""
    if not 0.0 <= min_opacity <= 1.0 or not min_scale <= max_scale:
        raise UsageError(
            f"pruning by size: opacity {min_opacity:g} must be within 0 to 1 and the scales {min_scale:g} to "
            f"{max_scale:g} in order"
        )
    finite = finite_rows(splats)
    opacity = 1.0 / (1.0 + np.exp(-splats.logit_opacities.detach().numpy().astype(np.float64)))
    longest = np.exp(splats.log_scales.detach().numpy().max(axis=1, initial=-np.inf).astype(np.float64))
    inside = (opacity >= min_opacity) & (longest >= min_scale) & (longest <= max_scale)
    return torch.nonzero(finite & torch.from_numpy(inside))[:, 0]


def finite_rows(splats: Splats) -> Tensor:
    """[N] bool: every parameter of the splat is a number."""
    finite = torch.isfinite(splats.logit_opacities)
    for name, tensor in splats.named():
        if name != "logit_opacities":
            finite = finite & torch.isfinite(tensor).flatten(1).all(dim=1)
    return finite


def prune(splats: Splats, found: Importance, count: int, criterion: Criterion = "contribution") -> Splats:
    """The `count` splats worth most, in their order; fewer where fewer are visible."""
    visible = visible_rows(found)
    rows = visible[keep_most(scores(splats, found, criterion)[visible], count)]
    return splats.select(rows)

# SPDX-License-Identifier: Apache-2.0
"""What other programs do to the properties of a splat PLY: other names, and a filter beside the splats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FILTER = "filter_3D"


def own_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names without the `scalar_` that CloudCompare puts before what it does not know. A name stays as it is where
    the bare one is there too."""
    return tuple(name if (bare := name.removeprefix("scalar_")) in names or not bare else bare for name in names)


def with_filter(
    log_scales: NDArray[np.float32], logits: NDArray[np.float32], deviations: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Log scales [N,3] and opacity logits [N] with Mip-Splatting's 3D filter worked in (Yu et al. 2024, equation 9).

    deviations [N]: the filter's standard deviation of each splat, in world units. A splat is convolved with the filter,
    and its opacity falls as its volume grows.
    """
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        before = log_scales.astype(np.float64)
        after = 0.5 * np.logaddexp(2 * before, 2 * np.log(np.abs(deviations.astype(np.float64)))[:, None])
        opacity = np.exp((before - after).sum(axis=1)) / (1 + np.exp(-logits.astype(np.float64)))
        # Without a filter nothing changes, not even a bit.
        same = deviations == 0
        changed = np.where(same, logits, np.log(opacity) - np.log1p(-opacity))
        scales = np.where(same[:, None], log_scales, after)
    return scales.astype(np.float32), changed.astype(np.float32)

# SPDX-License-Identifier: Apache-2.0
"""In which order splats become pixels: the one of a few that gives the fewest bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparse3d.compress.order import grid_order, image_features, morton_order
from sparse3d.formats.sog.data import SogData, permuted
from sparse3d.formats.sog.files import files_from_sog, image_size
from sparse3d.splats import Splats

# Beyond, a splat is of no picture; infinities would leave the sorter nothing to compare.
_LOG_SCALES, _LOGITS = (-30.0, 30.0), (-20.0, 20.0)


def smallest(splats: Splats, data: SogData) -> tuple[SogData, dict[str, bytes]]:
    """`data`, the quantised `splats` [N] in their order, reordered, and its files by name."""
    best = None
    for order in _orders(splats):
        tried = permuted(data, order)
        files = files_from_sog(tried)
        if best is None or _size(files) < _size(best[1]):
            best = (tried, files)
    assert best is not None
    return best


def _size(files: dict[str, bytes]) -> int:
    return sum(map(len, files.values()))


def _orders(splats: Splats) -> Iterator[NDArray[np.int64]]:
    """Sorted on the images' grid; along a Z-order curve; as they come, for what is sorted already stays so."""
    bounded = replace(
        splats, log_scales=splats.log_scales.clamp(*_LOG_SCALES), logit_opacities=splats.logit_opacities.clamp(*_LOGITS)
    )
    yield grid_order(image_features(bounded), *image_size(splats.num_splats)).numpy()
    yield morton_order(splats.means).numpy()
    yield np.arange(splats.num_splats)

# SPDX-License-Identifier: Apache-2.0
"""What a SOG file could not keep of splats: how many differ by more than can pass for rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparse3d.conventions import SH_C0
from sparse3d.formats.checks import in_blocks
from sparse3d.formats.cuts import size_notes
from sparse3d.formats.sog.data import SogData
from sparse3d.formats.sog.quantise import LOG_SCALE_RANGE
from sparse3d.splats import Splats

# A third of a size; a tenth of white, for base colours and for each harmonic.
_MOST_SCALE, _MOST_COLOUR = 0.3, 0.1
# What values beyond these become is so far beyond white or black that nobody sees the difference.
_SEEN = 1.5


def rounding_notes(splats: Splats, data: SogData) -> tuple[str, ...]:
    """Sentences on splats [N] whose sizes, colours or harmonics the codebooks of `data`, of the same splats in the same
    order, are far from."""
    log_scales = splats.log_scales.detach().numpy()
    notes = size_notes(log_scales, *LOG_SCALE_RANGE)
    wrong = np.abs(data.scale_codebook[data.scales] - log_scales.clip(*LOG_SCALE_RANGE)) > _MOST_SCALE
    if count := int(wrong.any(axis=1).sum()):
        notes += (f"sizes of {count} splats are off by more than a third, for a SOG has only 256 different ones",)
    found = _seen(data.colour_codebook[data.colour[:, :3]])
    wrong = np.abs(found - _seen(splats.sh0[:, 0].detach().numpy())) > _MOST_COLOUR
    if count := int(wrong.any(axis=1).sum()):
        notes += (
            f"base colours of {count} splats are off by more than a tenth, for a SOG has only 256 different ones",
        )
    return notes + _palette_notes(splats, data)


def _palette_notes(splats: Splats, data: SogData) -> tuple[str, ...]:
    if data.palette is None:
        return ()
    entries = data.palette.codebook[data.palette.centroids]
    shN = splats.shN.detach().numpy()[:, : entries.shape[1]]
    count = 0
    for rows in in_blocks(len(shN)):
        wrong = np.abs(entries[data.palette.labels[rows]] - shN[rows]) * np.float32(SH_C0) > _MOST_COLOUR
        count += int(wrong.any(axis=(1, 2)).sum())
    if not count:
        return ()
    return (f"harmonics of {count} splats are off by more than a tenth, for they share {len(entries)} sets of them",)


def _seen(sh0: NDArray[np.float32]) -> NDArray[np.float32]:
    """Base colours [N,3], about 0..1, cut at what can be told apart."""
    return (sh0 * np.float32(SH_C0)).clip(-_SEEN, _SEEN)

# SPDX-License-Identifier: Apache-2.0
"""Colours of vertices as red, green and blue, of whatever type."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Floats are 0..1 (Open3D, Blender), or 0..255 in some programs. What goes beyond 0..1 a little is still the former;
# a cloud of 0..255 that stays below this is black all over.
_MOST_AS_UNIT = 4.0


def unit_colours(vertices: NDArray[np.void], names: tuple[str, ...]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """[N,3] of the three properties `names` with white at 1, not cut; a note where their range had to be guessed."""
    with np.errstate(over="ignore"):
        rgb = np.stack([vertices[name].astype(np.float32) for name in names], axis=1)
    for column, name in enumerate(names):
        kind = vertices.dtype[name]
        if kind.kind in "iu":
            rgb[:, column] /= np.float32(np.iinfo(kind).max)
    if all(vertices.dtype[name].kind == "f" for name in names) and (rgb[np.isfinite(rgb)] > _MOST_AS_UNIT).any():
        note = f"{' '.join(names)} are floats beyond {_MOST_AS_UNIT:g} and were taken as 0..255"
        rgb /= np.float32(255)
        return rgb, (note,)
    return rgb, ()

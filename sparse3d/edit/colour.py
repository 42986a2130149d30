# SPDX-License-Identifier: Apache-2.0
"""Changes of colour as one matrix and one offset, which act on every band of the harmonics alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparse3d.edit import transform
from sparse3d.edit.values import LUMA


def recolouring(
    *,
    white: tuple[float, ...] | None = None,
    tint: tuple[float, ...] = (1, 1, 1),
    saturation: float = 1.0,
    contrast: float = 1.0,
    brightness: float = 0.0,
) -> NDArray[np.float64]:
    """[23] row of transform.py; done in the order of the parameters, on sRGB values.

    white: a colour of the scene, above 0, that becomes grey of its own brightness. tint: factors of red, green, blue.
    saturation: 0 is grey, 1 as it was. contrast: about middle grey, 0.5. brightness: added. Colours are not clipped
    here, so what leaves 0..1 comes back with the next edit; pictures clip it.
    """
    luma = np.asarray(LUMA)
    matrix = np.diag(np.asarray(tint, np.float64))
    if white is not None:
        colour = np.asarray(white, np.float64)
        matrix = matrix * (float((luma * colour).sum()) / colour)[None, :]
    grey = saturation * np.eye(3) + (1.0 - saturation) * np.tile(luma, (3, 1))
    # Nine sums in a fixed order, no BLAS.
    red, green, blue = (grey[:, k, None] * matrix[None, k, :] for k in range(3))
    return transform.recolouring(contrast * (red + green + blue), np.full(3, 0.5 * (1.0 - contrast) + brightness))

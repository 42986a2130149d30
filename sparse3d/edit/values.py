# SPDX-License-Identifier: Apache-2.0
"""One number a splat, to select by range or to draw a histogram of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sparse3d.conventions import SH_C0
from sparse3d.edit.history import Bits
from sparse3d.edit.volumes import distances
from sparse3d.errors import UsageError
from sparse3d.splats import Splats

# Rec. 709 weights of red, green and blue in how bright a colour looks.
LUMA = (0.2126, 0.7152, 0.0722)
NAMES = ("opacity", "size", "red", "green", "blue", "brightness", "distance", "x", "y", "z")


def base_colours(splats: Splats) -> NDArray[np.float64]:
    """[N,3] sRGB without what depends on the view; 0..1 for what a screen can show."""
    return 0.5 + SH_C0 * splats.sh0[:, 0].detach().cpu().numpy().astype(np.float64)


def values_of(
    splats: Splats, name: str, *, point: tuple[float, ...] = (0, 0, 0), given: Mapping[str, NDArray] | None = None
) -> NDArray[np.float64]:
    """[N] values by name: opacity 0..1; size, the longest standard deviation in world units; red, green, blue,
    brightness of the base colour; distance from `point`; x, y, z; or one of `given` (as confidence, coverage).

    Raises UsageError for an unknown name and for an array of another length.
    """
    if given is not None and name in given:
        array = np.asarray(given[name], np.float64)
        if array.shape != (splats.num_splats,):
            raise UsageError(f"{name} has {array.shape} values for {splats.num_splats} splats; give one for each")
        return array
    if name == "opacity":
        return 1.0 / (1.0 + np.exp(-splats.logit_opacities.detach().cpu().numpy().astype(np.float64)))
    if name == "size":
        return np.exp(splats.log_scales.detach().cpu().numpy().astype(np.float64).max(axis=1))
    if name in ("red", "green", "blue"):
        return base_colours(splats)[:, ("red", "green", "blue").index(name)]
    if name == "brightness":
        red, green, blue = base_colours(splats).T
        return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    if name == "distance":
        return distances(splats, point)
    if name in ("x", "y", "z"):
        return splats.means[:, "xyz".index(name)].detach().cpu().numpy().astype(np.float64)
    known = ", ".join([*NAMES, *(given or ())])
    raise UsageError(f"there are no values {name!r} of splats here; choose one of {known}")


def in_range(values: NDArray[np.floating], low: float | None, high: float | None) -> Bits:
    """[N] low <= value <= high; None: no bound. NaN is in no range."""
    inside = ~np.isnan(values)
    if low is not None:
        inside &= values >= low
    if high is not None:
        inside &= values <= high
    return inside

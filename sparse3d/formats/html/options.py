# SPDX-License-Identifier: Apache-2.0
"""What an HTML page shows around its scene, and where its viewer stands at first."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import UsageError
from sparse3d.splats import Splats

Vector = tuple[float, float, float]

_DEFAULT_FOV = 50.0


@dataclass(frozen=True)
class StartCamera:
    """Where the viewer of a page stands at first and what it turns about, in the splats' world units.

    up: what the page keeps upright. fov: degrees across a square of the window's area (a photo's: of the photo's area),
    5 to 150, so that windows of any shape show about as much. Raises UsageError where the values give no view.
    """

    position: Vector
    target: Vector
    up: Vector
    fov: float = _DEFAULT_FOV

    def __post_init__(self) -> None:
        numbers = (*self.position, *self.target, *self.up, self.fov)
        if len(numbers) != 10 or not all(math.isfinite(value) for value in numbers):
            raise UsageError(f"the page's first camera must be three finite vectors and an angle, found {numbers}")
        if math.dist(self.position, self.target) == 0 or not any(self.up):
            raise UsageError("the page's first camera stands in its target, or has no up direction")
        if not 5 <= self.fov <= 150:
            raise UsageError(f"the field of view of the page's first camera is {self.fov} degrees, expected 5 to 150")


@dataclass(frozen=True)
class Reach:
    """How far photos looked about the target of a page's first camera: beyond it the view springs back.

    yaw: degrees to the left (below 0) and right that the view may turn from the first one, None for all around; pitch:
    of the line of sight over the horizon that `up` makes, degrees. distance: least and most to what it turns about;
    shift: how far that may be moved; both in world units. Raises UsageError where nothing lies between the bounds.
    """

    yaw: tuple[float, float] | None
    pitch: tuple[float, float]
    distance: tuple[float, float]
    shift: float

    def __post_init__(self) -> None:
        bounds = [*(self.yaw or (0.0, 0.0)), *self.pitch, *self.distance, self.shift]
        if not all(math.isfinite(value) for value in bounds):
            raise UsageError(f"the page's reach must be finite, found {bounds}")
        if any(least > most for least, most in (self.yaw or (0.0, 0.0), self.pitch, self.distance)):
            raise UsageError(f"the page's reach has a lower bound above its upper one: {bounds}")
        if self.distance[0] <= 0 or self.shift < 0:
            raise UsageError(f"the page's reach needs distances above 0 and a shift of 0 or more, found {bounds}")


@dataclass(frozen=True)
class Below:
    """What stands under the scene, and makes the page one that scrolls: HTML of ours (every foreign text in it already
    escaped) and its CSS. No script of it runs, and it can load pictures from data: addresses only."""

    markup: str
    style: str


@dataclass(frozen=True)
class PageOptions:
    """title: any text. poster: bytes of a picture shown while the scene is unpacked, in a format that Pillow reads; it
    is made small and loses its metadata. camera: None stands where most splats are in view; reach: None lets the view
    go anywhere. below: None for the scene alone."""

    title: str = "Splat scene"
    poster: bytes | None = None
    camera: StartCamera | None = None
    reach: Reach | None = None
    below: Below | None = None


def start_of_splats(splats: Splats) -> StartCamera:
    """A first view for splats without cameras: from the side that photos are mostly taken from (looking along +z, -y
    up), far enough to see the middle four fifths of them."""
    means = splats.means.detach().cpu().numpy().astype(np.float64)
    weights = _opacities(splats)
    low, middle, high = (
        np.array([_weighted_quantile(means[:, k], weights, q) for k in range(3)]) for q in (0.1, 0.5, 0.9)
    )
    radius = float(np.linalg.norm(high - low)) / 2 or 1.0
    distance = radius / math.tan(math.radians(_DEFAULT_FOV) / 2)
    return StartCamera(_vector(middle - (0, 0, distance)), _vector(middle), (0.0, -1.0, 0.0))


def _opacities(splats: Splats) -> NDArray[np.float64]:
    return splats.opacities.detach().cpu().numpy().astype(np.float64)


def _weighted_quantile(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> float:
    order = np.argsort(values, kind="stable")
    sums = np.cumsum(weights[order])
    if sums[-1] <= 0:
        return float(np.quantile(values, share))
    return float(values[order][min(int(np.searchsorted(sums, share * sums[-1])), len(values) - 1)])


def _vector(values: NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z

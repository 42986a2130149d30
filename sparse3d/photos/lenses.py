# SPDX-License-Identifier: Apache-2.0
"""Lens models: where a lens puts a pinhole direction. One formula each, with where it is defined.

A lens maps (x/z, y/z) to the same plane; focal lengths and the principal point come after it. The names are this
project's. COLMAP's models are defined in its sensor/models.h; a test compares each of them with pycolmap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError

Plane = NDArray[np.float64]
# Where a formula divides by the radius, or by a coefficient, and the limit at 0 is 1.
_TINY = 1e-12


@dataclass(frozen=True)
class Lens:
    """One model. bend: x [N], y [N] and `count` coefficients -> where they are seen (NaN where the lens shows nothing).
    sideways: positions of the coefficients that bend unevenly around the axis. wide: for lenses of 180 degrees."""

    count: int
    bend: Callable[[Plane, Plane, tuple[float, ...]], tuple[Plane, Plane]]
    sideways: tuple[int, ...] = ()
    wide: bool = False

    def padded(self, coefficients: tuple[float, ...]) -> tuple[float, ...]:
        """The coefficients, with zeros for those left out. Raises DataError where there are too many."""
        if len(coefficients) > self.count:
            raise DataError(
                f"a camera has {len(coefficients)} distortion coefficients; at most {self.count} are supported"
            )
        return coefficients + (0.0,) * (self.count - len(coefficients))

    def radial_only(self, coefficients: tuple[float, ...]) -> tuple[float, ...]:
        """The same lens without what bends unevenly around the axis."""
        return tuple(0.0 if i in self.sideways else k for i, k in enumerate(self.padded(coefficients)))


def _opencv(x: Plane, y: Plane, k: tuple[float, ...]) -> tuple[Plane, Plane]:
    """k1 k2 p1 p2 k3 k4 k5 k6: Brown 1971 and the rational model, as in OpenCV's calib3d."""
    k1, k2, p1, p2, k3, k4, k5, k6 = k
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return xd, yd


def _radial4(x: Plane, y: Plane, k: tuple[float, ...]) -> tuple[Plane, Plane]:
    """k1 k2 k3 k4 p1 p2: four radial powers, as nerfstudio, Metashape and RealityScan count them."""
    k1, k2, k3, k4, p1, p2 = k
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
    return x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y


def _on_angle(x: Plane, y: Plane) -> tuple[Plane, Plane, Plane, Plane]:
    """The radius r, the angle to the axis, and the direction of the point around the axis times 1/r."""
    r = np.sqrt(x * x + y * y)
    safe = np.maximum(r, _TINY)
    return r, np.arctan(r), x / safe, y / safe


def _fisheye(x: Plane, y: Plane, k: tuple[float, ...]) -> tuple[Plane, Plane]:
    """k1 k2 k3 k4 on the angle (Kannala and Brandt 2006), as in OpenCV's fisheye; equidistant where all are 0."""
    k1, k2, k3, k4 = k
    r = np.sqrt(x * x + y * y)
    theta = np.arctan(r)
    t2 = theta * theta
    theta_d = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    scale = np.where(r > _TINY, theta_d / np.maximum(r, _TINY), 1.0)
    return x * scale, y * scale


def _fov(x: Plane, y: Plane, k: tuple[float, ...]) -> tuple[Plane, Plane]:
    """omega: the field of view of Devernay and Faugeras 2001."""
    omega = abs(k[0])
    if omega < 1e-6:
        return x, y
    r = np.sqrt(x * x + y * y)
    bent = np.arctan(2 * r * np.tan(omega / 2)) / omega
    scale = np.where(r > 1e-9, bent / np.maximum(r, _TINY), 2 * np.tan(omega / 2) / omega)
    return x * scale, y * scale


def _thin_prism(x: Plane, y: Plane, k: tuple[float, ...]) -> tuple[Plane, Plane]:
    """k1 k2 p1 p2 k3 k4 sx1 sy1 on the angle: THIN_PRISM_FISHEYE."""
    k1, k2, p1, p2, k3, k4, sx, sy = k
    _, theta, ux, uy = _on_angle(x, y)
    u, v = ux * theta, uy * theta
    t2 = u * u + v * v
    radial = 1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))
    return (
        u * radial + 2 * p1 * u * v + p2 * (t2 + 2 * u * u) + sx * t2,
        v * radial + 2 * p2 * u * v + p1 * (t2 + 2 * v * v) + sy * t2,
    )


def _rad_tan_thin_prism(x: Plane, y: Plane, k: tuple[float, ...]) -> tuple[Plane, Plane]:
    """k0 to k5, p0 p1, s0 to s3 on the angle: Project Aria's Fisheye624, RAD_TAN_THIN_PRISM_FISHEYE."""
    p0, p1, s0, s1, s2, s3 = k[6:]
    _, theta, ux, uy = _on_angle(x, y)
    t2 = theta * theta
    radial = np.zeros_like(theta)
    for value in reversed(k[:6]):
        radial = t2 * (value + radial)
    u, v = ux * theta * (1 + radial), uy * theta * (1 + radial)
    r2 = u * u + v * v
    return (
        u + p0 * (r2 + 2 * u * u) + 2 * p1 * u * v + r2 * (s0 + s1 * r2),
        v + p1 * (r2 + 2 * v * v) + 2 * p0 * u * v + r2 * (s2 + s3 * r2),
    )


def _division(x: Plane, y: Plane, k: tuple[float, ...]) -> tuple[Plane, Plane]:
    """k of Fitzgibbon 2001: the radius of the pinhole picture is that of the photo over 1 + k times its square."""
    root = 1 - 4 * k[0] * (x * x + y * y)
    with np.errstate(invalid="ignore"):
        scale = 2 / (1 + np.sqrt(root))
    return x * scale, y * scale


def _eucm(x: Plane, y: Plane, k: tuple[float, ...]) -> tuple[Plane, Plane]:
    """alpha beta: the enhanced unified camera model of Khomutenko 2016."""
    alpha, beta = k
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = 1 / (alpha * np.sqrt(beta * (x * x + y * y) + 1) + 1 - alpha)
    return x * scale, y * scale


LENSES = {
    "opencv": Lens(8, _opencv, sideways=(2, 3)),
    "radial4": Lens(6, _radial4, sideways=(4, 5)),
    "fisheye": Lens(4, _fisheye, wide=True),
    "fov": Lens(1, _fov, wide=True),
    "thin_prism": Lens(8, _thin_prism, sideways=(2, 3, 6, 7), wide=True),
    "rad_tan_thin_prism": Lens(12, _rad_tan_thin_prism, sideways=(6, 7, 8, 9, 10, 11), wide=True),
    "division": Lens(1, _division),
    "eucm": Lens(2, _eucm, wide=True),
}

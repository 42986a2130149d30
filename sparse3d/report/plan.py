# SPDX-License-Identifier: Apache-2.0
"""The cameras drawn from above: those that trained, those that were held out, and where the next photos would help."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparse3d.render.camera_file import NamedCamera
from sparse3d.report.ring import Ring
from sparse3d.splats import Splats

_Array = NDArray[np.float64]

_WIDTH, _HEIGHT, _MARGIN = 640.0, 420.0, 44.0
# Length of a camera's wedge, and half its opening at most, radians: a wider one does not point anywhere.
_WEDGE, _WIDEST = 40.0, 0.36
_MOST_DOTS = 1500
_WORDS = {"train": "trained on", "test": "held out", "unused": "not used", "next": "photograph next"}


def plan(cameras: Sequence[NamedCamera], splats: Splats, ring: Ring, angles: Sequence[float]) -> str:
    """An SVG element; its colours are classes of the page's style. angles: where the next photos would be taken."""
    spots = ring.plan(np.stack([item.camera.position for item in cameras]))
    ahead = ring.plan(np.stack([item.camera.position + item.camera.cam_from_world[2, :3] for item in cameras])) - spots
    nexts = np.array([ring.place(angle) for angle in angles]).reshape(-1, 2)
    dots = _dots(splats, ring)
    fit = _Fit(np.concatenate([spots, nexts, np.zeros((1, 2))]))
    parts = [f'<path class="dots" d="{"".join(f"M{x:.1f} {y:.1f}h0" for x, y in fit.inside(dots))}"/>']
    x, y = fit(np.zeros((1, 2)))[0]
    parts.append(f'<path class="target" d="M{x - 7:.1f} {y:.1f}h14M{x:.1f} {y - 7:.1f}v14"/>')
    parts += [_wedge(fit(spot[None])[0], -spot, _WIDEST, "next", _WORDS["next"]) for spot in nexts]
    order = sorted(range(len(cameras)), key=lambda i: ("unused", "test", "train", "").index(cameras[i].split))
    for i in order:
        camera, kind = cameras[i].camera, cameras[i].split or "train"
        half = math.atan(camera.width / (2 * camera.fx))
        parts.append(_wedge(fit(spots[i][None])[0], ahead[i], half, kind, f"{camera.name}: {_WORDS[kind]}"))
    return (
        f'<svg class="plan" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" '
        f'aria-label="The cameras seen from above">{"".join(parts)}</svg>'
    )


def legend(cameras: Sequence[NamedCamera], has_next: bool) -> str:
    """What the colours of the plan mean, those that are there only."""
    kinds = [kind for kind in ("train", "test", "unused") if any((item.split or "train") == kind for item in cameras)]
    kinds += ["next"] * has_next
    return '<p class="legend">' + "".join(f'<span class="{kind}">{_WORDS[kind]}</span>' for kind in kinds) + "</p>"


class _Fit:
    """From the plan to pixels: right stays right, ahead is up, one scale for both."""

    def __init__(self, points: _Array) -> None:
        low, high = points.min(axis=0), points.max(axis=0)
        size = np.maximum(high - low, 1e-9)
        room = np.array([_WIDTH, _HEIGHT]) - 2 * _MARGIN
        self._scale = float((room / size).min())
        self._middle = (low + high) / 2

    def __call__(self, points: _Array) -> _Array:
        moved = (points - self._middle) * self._scale
        return np.stack([_WIDTH / 2 + moved[:, 0], _HEIGHT / 2 - moved[:, 1]], axis=1)

    def inside(self, points: _Array) -> _Array:
        at = self(points)
        return at[((at > 2) & (at < (_WIDTH - 2, _HEIGHT - 2))).all(axis=1)]


def _dots(splats: Splats, ring: Ring) -> _Array:
    """[N,2] of some solid splats, evenly chosen."""
    means = splats.means[splats.opacities > 0.5].detach().cpu().numpy().astype(np.float64)
    return ring.plan(means[:: max(1, -(-len(means) // _MOST_DOTS))])


def _wedge(at: _Array, ahead: _Array, half: float, kind: str, title: str) -> str:
    """A dot, and a wedge that opens where the camera looks; no wedge where it looks straight up or down."""
    words = f"<title>{html.escape(title)}</title>"
    dot = f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="4"/>'
    if float(np.linalg.norm(ahead)) < 0.05:
        return f'<g class="{kind}">{words}{dot}</g>'
    angle = math.atan2(-ahead[1], ahead[0])
    half = min(half, _WIDEST)
    corners = [at + _WEDGE * np.array([math.cos(angle + side), math.sin(angle + side)]) for side in (-half, half)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at, *corners))
    return f'<g class="{kind}">{words}<polygon points="{points}"/>{dot}</g>'

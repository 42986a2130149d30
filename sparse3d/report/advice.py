# SPDX-License-Identifier: Apache-2.0
"""What to photograph next: where neighbouring photos are far apart, and what no photo or only one has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from sparse3d.camera import Camera
from sparse3d.report.ring import Ring

# Photos nearer to each other than this, degrees, need none between them (docs/capture.md: 15 degrees a step).
_STEP = 15.0
_GAP = 1.5 * _STEP
# A wider gap is a side that was left out: more than one photo would be needed to get across.
_SIDE = 120.0
_MOST_GAPS = 2
# Shares of the picture below this are not worth a word.
_LITTLE = 0.03


@dataclass(frozen=True)
class Advice:
    """sentences: for the user, the most useful first. angles: where on the ring the photos would be taken, degrees."""

    sentences: tuple[str, ...]
    angles: tuple[float, ...]


def advise(
    cameras: Sequence[Camera], ring: Ring, coverage: dict[str, Any] | None, unused: Sequence[Camera] = ()
) -> Advice:
    """Of the training `cameras` (one at least), their ring, the coverage in metrics.json, and the cameras of photos
    that are there already and were neither trained on nor held out."""
    if len(cameras) == 1:
        text = (
            "Take a second photo a step to the side, with two thirds of the picture in common: one photo says little "
            "about depth."
        )
        return Advice((text,), (float(ring.angles[0]) + _STEP,))
    sentences, angles = _between(cameras, ring, unused) if ring.converge else ([], [])
    seen = _seen(coverage)
    if ring.converge:
        more, places = _onwards(cameras, ring)
        sentences += more
        angles += places
    if not sentences and not seen:
        sentences = ["The photos stand close to each other and cover what they look at. Nearer ones would add detail."]
    return Advice((*sentences, *seen), tuple(angles))


def _between(cameras: Sequence[Camera], ring: Ring, unused: Sequence[Camera]) -> tuple[list[str], list[float]]:
    """The widest gaps between neighbours."""
    found = [gap for gap in _gaps(ring) if _GAP <= gap[0] < _SIDE]
    sentences, angles = [], []
    for width, first, second in sorted(found, key=lambda gap: -gap[0])[:_MOST_GAPS]:
        pair = f"{_name(cameras[first])} and {_name(cameras[second])}"
        middle = float(ring.angles[first]) + width / 2
        said = f"Take one between {pair}: they look from {width:.0f}° apart, and about {_STEP:.0f}° is best."
        sentences.append(said + _already_there(ring, middle, width, unused))
        angles.append(middle)
    return sentences, angles


def _already_there(ring: Ring, angle: float, width: float, unused: Sequence[Camera]) -> str:
    """Names the photo that was not used nearest to `angle`, if it lies in the middle third of the gap."""
    if not unused:
        return ""
    apart = np.abs((ring.angles_of(np.stack([camera.position for camera in unused])) - angle + 180.0) % 360.0 - 180.0)
    nearest = int(apart.argmin())
    return f" {_name(unused[nearest])} is there already and was not used." if apart[nearest] < width / 6 else ""


def _onwards(cameras: Sequence[Camera], ring: Ring) -> tuple[list[str], list[float]]:
    """Beyond the two outermost, where the photos do not go all around."""
    open_gaps = [gap for gap in _gaps(ring) if gap[0] >= _SIDE]
    if len(open_gaps) != 1:
        return [], []
    width, last, first = open_gaps[0]
    names = _name(cameras[first]), _name(cameras[last])
    text = (
        f"The photos span {360 - width:.0f}° around what they look at. To show more of it, go on beyond {names[0]} and "
        f"{names[1]}, {_STEP:.0f}° from one photo to the next."
    )
    return [text], [float(ring.angles[first]) - _STEP, float(ring.angles[last]) + _STEP]


def _name(camera: Camera) -> str:
    """Of the photo, without the folders that a scene lists it under."""
    return PurePosixPath(camera.name).name


def _gaps(ring: Ring) -> list[tuple[float, int, int]]:
    """(degrees, photo, the next one to the right) all around."""
    order = np.argsort(ring.angles, kind="stable")
    following = np.roll(order, -1)
    widths = (ring.angles[following] - ring.angles[order]) % 360.0
    return [(float(w), int(a), int(b)) for w, a, b in zip(widths, order, following, strict=True)]


def _seen(coverage: dict[str, Any] | None) -> list[str]:
    if coverage is None or coverage.get("unseen") is None:
        return []
    where = "the held-out photos" if coverage["cameras"] == "held_out" else "views between the photos"
    out = []
    if coverage["unseen"] >= _LITTLE:
        out.append(
            f"{coverage['unseen']:.0%} of what {where} show was guessed: no photo saw it (red in the picture below)."
        )
    if coverage["one_view"] >= 0.1:
        out.append(
            f"{coverage['one_view']:.0%} rests on one photo alone (orange): a second one from the side makes its depth "
            "certain."
        )
    return out

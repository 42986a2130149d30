# SPDX-License-Identifier: Apache-2.0
"""Features of a photo as seen from other directions: matches between photos taken 60 to 100 degrees apart.

After ASIFT (Morel and Yu 2009): what a camera sees of a small patch from the side is nearly an affine picture of it,
and all of that but the direction and strength of the foreshortening ("tilt") is what SIFT ignores anyway. So each photo
is foreshortened in a fan of directions, features are found in each of these pictures, and all are compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse3d.sfm.features import detect

# Tilts in steps of sqrt 2, directions 72 degrees / tilt apart: the sampling of the paper.
_DIRECTION_STEP_DEG = 72.0
# Blur before an axis is shortened, over sqrt(tilt^2 - 1): 0.8 pixels is what a photo has by itself.
_BLUR = 0.8
_CONTRAST = 0.01
# Rows compared at once: few enough that the table of products stays in the processor's cache.
_CHUNK = 512
_RATIO = 0.82
# One corner is found in many of the tilted pictures, so this many of the best candidates are looked through for one at
# another place.
_LOOK_PAST = 12
_SAME_PLACE_PX = 4.0


@dataclass(frozen=True)
class TiltedFeatures:
    """xy [N,2] float64 in the photo's pixels (centres at +0.5), descriptors [N,128] float32 of length 1."""

    xy: NDArray[np.float64]
    descriptors: NDArray[np.float32]


def tilts_up_to(largest: float) -> list[tuple[float, float]]:
    """(tilt, direction in radians) of the simulated views, the photo itself first."""
    out = [(1.0, 0.0)]
    for k in range(1, round(2 * math.log2(largest)) + 1):
        tilt = 2.0 ** (k / 2)
        count = math.ceil(180.0 / (_DIRECTION_STEP_DEG / tilt) - 1e-9)
        out += [(tilt, math.pi * i / count) for i in range(count)]
    return out


def tilted_features(
    grey: NDArray[np.uint8], mask: NDArray[np.uint8] | None, *, tilt_max: float, count_max: int
) -> TiltedFeatures:
    """Features of the photo [H,W] and of its tilted pictures, about `count_max` in all, the strongest of each picture.
    mask [H,W]: non-zero where keypoints may lie."""
    views = tilts_up_to(tilt_max)
    # Every picture gets its share by area.
    shares = np.array([1.0 / tilt for tilt, _ in views])
    shares = shares / shares.sum()
    xy, descriptors = [], []
    for (tilt, direction), share in zip(views, shares, strict=True):
        picture, inside, photo_from_picture = _tilted(grey, mask, tilt, direction)
        found = detect(picture, contrast=_CONTRAST, count_max=max(20, round(count_max * share)), mask=inside)
        if len(found) == 0:
            continue
        xy.append((found.xy - 0.5) @ photo_from_picture[:, :2].T + photo_from_picture[:, 2] + 0.5)
        descriptors.append(found.descriptors / np.linalg.norm(found.descriptors, axis=1, keepdims=True))
    if not xy:
        return TiltedFeatures(np.zeros((0, 2)), np.zeros((0, 128), np.float32))
    return TiltedFeatures(np.concatenate(xy), np.concatenate(descriptors).astype(np.float32))


def _tilted(
    grey: NDArray[np.uint8], mask: NDArray[np.uint8] | None, tilt: float, direction: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, NDArray[np.float64]]:
    """The photo turned by `direction` and shortened by `tilt` along x, where in it features may lie, and the map
    [2,3] from its pixels to the photo's (both with centres at integers, as OpenCV has them)."""
    if tilt == 1.0:
        return grey, mask, np.eye(2, 3)
    height, width = grey.shape
    c, s = math.cos(direction), math.sin(direction)
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]]) @ np.array([[c, s], [-s, c]])
    low = corners.min(axis=0)
    size = np.ceil(corners.max(axis=0) - low).astype(int) + 1
    turn = np.array([[c, -s, -low[0]], [s, c, -low[1]]])
    turned = cv2.warpAffine(grey, turn, (int(size[0]), int(size[1])), borderMode=cv2.BORDER_REPLICATE)
    blurred = cv2.GaussianBlur(turned, (0, 0), sigmaX=_BLUR * math.sqrt(tilt * tilt - 1.0), sigmaY=0.01)
    squeeze = np.array([[1.0 / tilt, 0.0, 0.0], [0.0, 1.0, 0.0]])
    squeezed_size = (max(1, round(size[0] / tilt)), int(size[1]))
    picture = cv2.warpAffine(blurred, squeeze, squeezed_size, borderMode=cv2.BORDER_REPLICATE)
    both = turn.copy()
    both[0] /= tilt
    full = np.full_like(grey, 255) if mask is None else mask
    inside = cv2.warpAffine(full, both, squeezed_size, flags=cv2.INTER_NEAREST, borderValue=0)
    return (
        picture.astype(np.uint8, copy=False),
        inside.astype(np.uint8, copy=False),
        np.asarray(cv2.invertAffineTransform(both), np.float64),
    )


def match_tilted(a: TiltedFeatures, b: TiltedFeatures) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """xy_a [M,2] and xy_b [M,2] of matches, the most certain first: each other's best, clearly better than the best
    candidate at another place; one match a place."""
    if len(a.xy) == 0 or len(b.xy) <= _LOOK_PAST:
        return np.zeros((0, 2)), np.zeros((0, 2))
    best = np.empty(len(a.xy), np.int64)
    top = np.empty(len(a.xy), np.float32)
    other = np.empty(len(a.xy), np.float32)
    best_of_b = np.zeros(len(b.xy), np.int64)
    top_of_b = np.full(len(b.xy), -2.0, np.float32)
    for start in range(0, len(a.xy), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(a.xy)))
        cosine = a.descriptors[rows] @ b.descriptors.T
        here = cosine.argmax(axis=0)
        value = cosine[here, np.arange(len(b.xy))]
        better = value > top_of_b
        top_of_b[better], best_of_b[better] = value[better], rows[here[better]]
        chosen = np.argpartition(cosine, len(b.xy) - _LOOK_PAST, axis=1)[:, -_LOOK_PAST:]
        values = np.take_along_axis(cosine, chosen, axis=1)
        first = values.argmax(axis=1)
        best[rows] = chosen[np.arange(len(rows)), first]
        top[rows] = values[np.arange(len(rows)), first]
        away = np.abs(b.xy[chosen] - b.xy[best[rows]][:, None]).max(axis=2) > _SAME_PLACE_PX
        # Where all candidates lie at one place, the worst of them is an upper bound for what lies elsewhere.
        other[rows] = np.where(away.any(axis=1), np.where(away, values, -1.0).max(axis=1), values.min(axis=1))
    quotient2 = (1.0 - top) / np.maximum(1.0 - other, 1e-9)
    back = best_of_b[best]
    mutual = np.abs(a.xy[back] - a.xy).max(axis=1) <= _SAME_PLACE_PX
    good = np.flatnonzero(mutual & (quotient2 < _RATIO**2))
    good = good[np.argsort(quotient2[good], kind="stable")]
    xy_a, xy_b = a.xy[good], b.xy[best[good]]
    places = np.rint(np.concatenate([xy_a, xy_b], axis=1) / (0.5 * _SAME_PLACE_PX)).astype(np.int64)
    _, once = np.unique(places, axis=0, return_index=True)
    once.sort()
    return xy_a[once], xy_b[once]


def on_planes(
    xy_a: NDArray[np.float64], xy_b: NDArray[np.float64], *, error_px: float, count_min: int, more_min: int
) -> NDArray[np.bool_]:
    """Which matches [M] lie on one of a few planes seen by both photos: homographies, first the one with most matches
    (at least `count_min`, or none is kept), then others with at least `more_min` of what is left.

    A fundamental matrix constrains a match in one direction only: on a woven mat, where wrong matches lie in rows, it
    keeps more wrong ones than right ones (measured). A homography constrains both directions.
    """
    keep = np.zeros(len(xy_a), bool)
    least = count_min
    while (~keep).sum() >= least:
        left = np.flatnonzero(~keep)
        _, found = cv2.findHomography(
            xy_a[left], xy_b[left], cv2.USAC_MAGSAC, error_px, maxIters=5000, confidence=0.999
        )
        if found is None or int(found.sum()) < least:
            break
        keep[left[found[:, 0] > 0]] = True
        least = more_min
    return keep

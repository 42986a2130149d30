# SPDX-License-Identifier: Apache-2.0
"""Scale-invariant features of a photo, in a form whose comparison is exact.

Descriptors are RootSIFT (Arandjelovic and Zisserman 2012) rounded to whole numbers of norm about 512, kept as float32:
every partial sum of a dot product is then a whole number below 2^24, so that a matrix product gives the same bits
whatever the order and the number of threads in which the BLAS library sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# Length of a quantised descriptor. 512^2 = 2^18, far below the 2^24 up to which float32 counts exactly.
DESCRIPTOR_NORM = 512.0


@dataclass(frozen=True)
class Features:
    """N keypoints: xy [N,2] float64 pixels (centres at +0.5), size_px [N], angle_rad [N] (from x towards y),
    descriptors [N,128] float32 whole numbers. Sorted by y, x, size, angle. N may be 0."""

    xy: NDArray[np.float64]
    size_px: NDArray[np.float64]
    angle_rad: NDArray[np.float64]
    descriptors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.xy)


def empty_features() -> Features:
    return Features(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros((0, 128), np.float32))


def detect(
    grey: NDArray[np.uint8], *, contrast: float, count_max: int, mask: NDArray[np.uint8] | None = None
) -> Features:
    """SIFT keypoints of a grey photo [H,W].

    contrast: OpenCV's contrast threshold (its default is 0.04; lower finds more and weaker ones). count_max: the
    strongest ones are kept. mask: non-zero where keypoints may lie. Edge threshold 16 instead of 10: points that lie on
    an edge are badly placed along it, but the epipolar line of a known pose removes those that moved.
    """
    # OpenCV 5 ships no type for it.
    sift = cv2.SIFT_create(count_max, 3, contrast, 16.0, 1.6, True)  # pyright: ignore[reportAttributeAccessIssue]
    keypoints, descriptors = sift.detectAndCompute(grey, mask)
    if len(keypoints) == 0 or descriptors is None:
        return empty_features()
    table = np.array([(k.pt[0], k.pt[1], k.size, k.angle) for k in keypoints], dtype=np.float64)
    order = np.lexsort((table[:, 3], table[:, 2], table[:, 0], table[:, 1]))
    table, descriptors = table[order], np.asarray(descriptors, np.float32)[order]
    total = np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-12)
    rooted = np.rint(np.sqrt(descriptors / total) * DESCRIPTOR_NORM).astype(np.float32)
    return Features(table[:, :2] + 0.5, table[:, 2], np.deg2rad(table[:, 3]), rooted)

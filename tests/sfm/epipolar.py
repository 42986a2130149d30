# SPDX-License-Identifier: Apache-2.0
"""How well two cameras agree with what their photos show."""

from __future__ import annotations

import cv2
import numpy as np

from sparse3d.records.scene import Scene


def median_epipolar_px(scene: Scene, first: int, second: int) -> tuple[float, int]:
    """Median distance, in pixels, of SIFT matches from the epipolar lines of the scene's cameras, and how many matches.

    Matches pass the ratio test and are mutual; those more than 10 px off are wrong matches, as a good camera pair has
    its errors well below one pixel and a bad one has them spread far beyond the median's reach. Masks are respected.
    """
    sift = cv2.SIFT.create(4000)
    found = []
    for index in (first, second):
        mask = scene.images.mask(index)
        area = None if mask is None else (mask.numpy() * 255).astype(np.uint8)
        found.append(sift.detectAndCompute(cv2.cvtColor(scene.images.rgb8(index), cv2.COLOR_RGB2GRAY), area))
    (points_a, a), (points_b, b) = found
    matcher = cv2.BFMatcher()
    back = {m.queryIdx: m.trainIdx for m in matcher.match(b, a)}
    pairs = [
        m for m, n in matcher.knnMatch(a, b, k=2) if m.distance < 0.7 * n.distance and back[m.trainIdx] == m.queryIdx
    ]
    # Our pixel centres are at +0.5, OpenCV's keypoints at integers.
    xa = np.array([(*points_a[m.queryIdx].pt, 1.0) for m in pairs]) + np.array([0.5, 0.5, 0.0])
    xb = np.array([(*points_b[m.trainIdx].pt, 1.0) for m in pairs]) + np.array([0.5, 0.5, 0.0])
    one, two = scene.cameras[first], scene.cameras[second]
    move = two.cam_from_world @ one.world_from_cam
    r, t = move[:3, :3], move[:3, 3]
    cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
    fundamental = np.linalg.inv(two.K).T @ cross @ r @ np.linalg.inv(one.K)
    lines = xa @ fundamental.T
    distance = np.abs((lines * xb).sum(axis=1)) / np.hypot(lines[:, 0], lines[:, 1])
    near = distance < 10
    return float(np.median(distance[near])), int(near.sum())

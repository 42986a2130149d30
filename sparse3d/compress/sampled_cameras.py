# SPDX-License-Identifier: Apache-2.0
"""Cameras for a scene whose photos are not at hand: around its dense part, looking at it, where the view is free."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.camera import Camera
from sparse3d.compress.prune import finite_rows
from sparse3d.errors import DataError
from sparse3d.render.probe import Seeing, picture
from sparse3d.splats import Splats

Floats = NDArray[np.float64]

# Distances of the eye from the target, in radii of the dense part: from within it, and from outside.
_DISTANCES = (0.6, 1.2, 2.0, 3.0)
# Directions tried at each distance, for each camera asked for.
_CANDIDATES_EACH = 2
_TRIAL_SIDE_PX = 48
_FIELD_OF_VIEW = math.radians(60.0)
# The dense part: this share of the splats' mass along each axis, between equal tails.
_CORE = 0.8


def sample_cameras(splats: Splats, count: int = 24, *, side_px: int = 400, backend: str | None = None) -> list[Camera]:
    """`count` square cameras of 60 degrees that see the scene well; the same ones for the same splats.

    Eyes are tried on spheres around the dense part, within the scene's robust bounds (widened twofold), looking at
    places in it where splats lie. Of the trials those are taken that are most filled and not blocked right before the
    camera, spread over directions and distances. What they cannot know is where the photos were taken from: with the
    run at hand, its cameras are better. Raises DataError for a scene of no finite, visible splat.
    """
    splats = splats.select(finite_rows(splats))
    mass = _masses(splats)
    if not mass.sum() > 0.0:
        raise DataError("the scene has no visible splat to look at")
    means = splats.means.double().numpy()
    low, high = _core(means, mass)
    centre, radius = (low + high) / 2, max(float(np.linalg.norm(high - low)) / 2, 1e-6)
    targets = _targets(means, mass, low, high, count)
    tries = max(8, _CANDIDATES_EACH * count)
    directions = _fibonacci(tries)
    found: list[tuple[float, Camera]] = []
    for ring, distance in enumerate(_DISTANCES):
        for k, direction in enumerate(directions):
            target = targets[(k + ring) % len(targets)]
            # On the way from the target outwards; half of the way the target is the dense part's centre.
            target = target if k % 2 else centre
            eye = target + distance * radius * direction
            camera = _looking(eye, target, _TRIAL_SIDE_PX)
            found.append((_quality(splats, camera, distance * radius, backend), camera))
    return [camera.resized(side_px, side_px) for camera in _spread(found, count)]


def _masses(splats: Splats) -> Floats:
    """[N] opacity times the area of the two longer axes, no splat above the 99th percentile: sky does not rule."""
    opacity = 1.0 / (1.0 + np.exp(-splats.logit_opacities.double().numpy()))
    scales = np.sort(splats.log_scales.double().numpy(), axis=1)
    area = np.exp(np.clip(scales[:, 1] + scales[:, 2], -60.0, 60.0))
    mass = opacity * area
    return np.minimum(mass, np.quantile(mass, 0.99)) if len(mass) else mass


def _core(means: Floats, mass: Floats) -> tuple[Floats, Floats]:
    """Corners [3], [3] of the box between equal tails of mass along each axis."""
    # Half of it counts every splat alike: a scene's detail has many splats, its walls and sky few large ones.
    weight = mass / mass.sum() + 1.0 / len(mass)
    tail = (1.0 - _CORE) / 2
    low, high = np.empty(3), np.empty(3)
    for axis in range(3):
        order = np.argsort(means[:, axis], kind="stable")
        share = np.cumsum(weight[order]) / weight.sum()
        low[axis], high[axis] = means[order, axis][np.searchsorted(share, [tail, 1.0 - tail]).clip(max=len(order) - 1)]
    return low, high


def _targets(means: Floats, mass: Floats, low: Floats, high: Floats, count: int) -> Floats:
    """[count,3] places inside the box where mass lies: splats at equal steps of its sum, in the order of the rows."""
    inside = ((means >= low) & (means <= high)).all(axis=1)
    rows = np.flatnonzero(inside) if inside.any() else np.arange(len(means))
    share = np.cumsum(mass[rows] + mass[rows].mean())
    picks = np.searchsorted(share, (np.arange(count) + 0.5) / count * share[-1])
    return means[rows[picks.clip(max=len(rows) - 1)]]


def _fibonacci(count: int) -> Floats:
    """[count,3] unit vectors, evenly spread over the sphere."""
    k = np.arange(count) + 0.5
    height, angle = 1 - 2 * k / count, math.pi * (1 + math.sqrt(5)) * k
    ring = np.sqrt(1 - height * height)
    return np.stack([ring * np.cos(angle), height, ring * np.sin(angle)], axis=1)


def _looking(eye: Floats, target: Floats, side_px: int) -> Camera:
    forward = (target - eye) / np.linalg.norm(target - eye)
    # Which way is up does not matter here; any axis that is not the view's.
    helper = np.eye(3)[int(np.argmin(np.abs(forward)))]
    right = np.cross(helper, forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ eye
    focal = side_px / 2 / math.tan(_FIELD_OF_VIEW / 2)
    return Camera(side_px, side_px, focal, focal, side_px / 2, side_px / 2, pose)


def _quality(splats: Splats, camera: Camera, distance: float, backend: str | None) -> float:
    """0..1: the share of the picture that is filled by what is not right before the camera."""
    with torch.no_grad():
        seen = picture(splats, camera, Seeing(depth=True, backend=backend))
    free = (seen.alpha[0] > 0.5) & (seen.median_depth[0] > 0.25 * distance)
    return float(free.sum()) / free.numel()


def _spread(found: list[tuple[float, Camera]], count: int) -> list[Camera]:
    """The best one, then again and again the one that is good and whose eye is far from those chosen."""
    quality = np.array([q for q, _ in found])
    eyes = np.stack([camera.position for _, camera in found])
    span = max(float(np.linalg.norm(eyes - eyes.mean(axis=0), axis=1).max()), 1e-9)
    nearest = np.full(len(found), 2.0)
    chosen: list[int] = []
    for _ in range(min(count, len(found))):
        value = (quality + 0.05) * (0.2 + np.minimum(nearest, 1.0))
        value[chosen] = -1.0
        chosen.append(int(np.argmax(value)))
        nearest = np.minimum(nearest, np.linalg.norm(eyes - eyes[chosen[-1]], axis=1) / span)
    return [found[i][1] for i in chosen]

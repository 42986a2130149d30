# SPDX-License-Identifier: Apache-2.0
"""View-dependent colour cut where it changes the pictures little: a degree for each splat, by measured effect.

A splat's colour is one value over its whole footprint in a view, so when it changes by d the picture changes by d^2
times the sum of its squared blending weights there. Cutting the bands above a degree changes the colour in each view;
the part of that change that is the same in all views goes into the base colour, and what remains is the effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.conventions import SH_C0
from sparse3d.errors import UsageError
from sparse3d.formulas.harmonics import sh_basis
from sparse3d.render.probe import weight_squares
from sparse3d.splats import Splats, num_sh_rest


@dataclass(frozen=True)
class ShEffect:
    """Of cutting N splats to degree 0, 1, ... (their own minus one), L choices.

    change [N,L]: summed squared change of the pictures; it never grows with the degree kept. base [N,L,3]: what to add
    to the coefficient of degree 0 when cutting, by weighted least squares over the views.
    """

    change: Tensor
    base: Tensor


def sh_effect(
    splats: Splats,
    cameras: Sequence[Camera],
    *,
    probes: int = 2,
    seed: int = 0,
    backend: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> ShEffect:
    """What each cut of the splats' bands would change in the cameras' pictures. Squared weights are estimated with
    `probes` random maps a view. The same bits for any number of threads. Raises UsageError without a camera."""
    if not cameras:
        raise UsageError("the effect of view-dependent colour was asked for without a camera; give at least one view")
    count, choices = splats.num_splats, splats.sh_degree
    device = splats.means.device
    total = torch.zeros(count, device=device)
    first = torch.zeros(count, choices, 3, device=device)
    second = torch.zeros(count, choices, device=device)
    generator = torch.Generator().manual_seed(seed)
    for number, camera in enumerate(cameras):
        energy = weight_squares(splats, camera, probes=probes, generator=generator, backend=backend)
        lost = _lost_colours(splats, camera)
        total += energy
        first += energy[:, None, None] * lost
        r, g, b = lost.unbind(2)
        second += energy[:, None] * (r * r + g * g + b * b)
        if progress is not None:
            progress((number + 1) / len(cameras))
    mean = first / total.clamp(min=1e-12)[:, None, None]
    r, g, b = mean.unbind(2)
    change = (second - total[:, None] * (r * r + g * g + b * b)).clamp(min=0.0)
    # One base colour for all views can fit a higher degree worse than a lower one: keeping more never counts as more.
    change = torch.flip(torch.cummax(torch.flip(change, [1]), dim=1).values, [1])
    return ShEffect(change, mean / SH_C0)


def cut_sh(splats: Splats, effect: ShEffect, threshold: float) -> tuple[Splats, Tensor]:
    """The splats with their higher bands zero where that changes the pictures by at most `threshold` (summed squared
    change, all views and channels), base colours mended; and the degree [N] uint8 that each has left.

    Raises UsageError for a negative threshold.
    """
    if not threshold >= 0.0:
        raise UsageError(f"cutting SH bands: the threshold {threshold:g} must be 0 or more")
    highest = splats.sh_degree
    degree = torch.full((splats.num_splats,), highest, dtype=torch.uint8, device=splats.means.device)
    for choice in reversed(range(highest)):
        degree[effect.change[:, choice] <= threshold] = choice
    return with_degrees(splats, effect, degree), degree


def threshold_for(effect: ShEffect, coefficients: int) -> float:
    """The least threshold with which `cut_sh` leaves at most this many coefficients a colour, summed over splats."""
    # A cut from degree c + 1 to c saves 2 c + 3 coefficients, once the threshold has come to its change.
    count, choices = effect.change.shape
    saves = np.tile([2 * c + 3 for c in range(choices)], count)
    changes = effect.change.reshape(-1).numpy()
    order = np.argsort(changes, kind="stable")
    left = count * num_sh_rest(choices) - np.cumsum(saves[order])
    if count * num_sh_rest(choices) <= coefficients or not count:
        return 0.0
    return float(changes[order[int(np.argmax(left <= max(coefficients, 0)))]])


def with_degrees(splats: Splats, effect: ShEffect, degree: Tensor) -> Splats:
    """The splats with the bands above `degree` [N] zero and their base colours mended for it."""
    sh0, rest = splats.sh0.clone(), splats.shN.clone()
    for choice in range(splats.sh_degree):
        rows = degree == choice
        sh0[rows, 0] += effect.base[rows, choice]
        rest[rows, num_sh_rest(choice) :] = 0.0
    return replace(splats, sh0=sh0, shN=rest)


def kept_degrees(splats: Splats) -> Tensor:
    """[N] uint8 highest degree with a coefficient that is not 0."""
    degree = torch.zeros(splats.num_splats, dtype=torch.uint8, device=splats.means.device)
    for choice in range(splats.sh_degree):
        band = splats.shN[:, num_sh_rest(choice) : num_sh_rest(choice + 1)]
        degree[(band != 0).flatten(1).any(dim=1)] = choice + 1
    return degree


def _lost_colours(splats: Splats, camera: Camera) -> Tensor:
    """[N,L,3] colour minus the colour without the bands above degree 0, 1, ..., as seen from the camera."""
    offset = splats.means.double().cpu().numpy() - camera.position
    length = np.sqrt((offset * offset).sum(axis=1, keepdims=True))
    direction = torch.from_numpy((offset / np.maximum(length, 1e-12)).astype(np.float32)).to(splats.means.device)
    basis = sh_basis(direction, splats.sh_degree)
    lost = torch.zeros(splats.num_splats, splats.sh_degree, 3, device=splats.means.device)
    for choice in range(splats.sh_degree):
        # Every term on its own, in order: the same bits on any number of threads.
        for k in range((choice + 1) ** 2, (choice + 2) ** 2):
            lost[:, : choice + 1] += (basis[:, k, None] * splats.shN[:, k - 1])[:, None]
    return lost

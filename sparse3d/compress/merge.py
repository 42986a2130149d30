# SPDX-License-Identifier: Apache-2.0
"""Neighbouring splats that look alike become one: the mixture's moments, and the light that both held back together.

A splat's mass is the optical depth -ln(1 - opacity) at its centre times the area of its ellipsoid, the mean over the
directions up to a factor. The merged splat has the mass, mean and covariance of the mass-weighted mixture, so two equal
splats in one place become one of twice the optical depth, and two side by side one of their joint area.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.conventions import SH_C0
from sparse3d.errors import UsageError
from sparse3d.geometry.quaternions import rotation_from_unit_quats
from sparse3d.kernels.neighbours import nearest_rows
from sparse3d.splats import Splats

Floats = NDArray[np.float64]

_OPACITY_MAX = 0.999
# Neighbours of each splat that it may merge with.
_NEIGHBOURS = 8
# At most this share of the splats goes in one sweep; then neighbours are found anew.
_SWEEP_SHARE = 0.25


def masses(splats: Splats) -> Floats:
    """[N] optical depth times area (world units squared), what merging keeps in sum unless opacity reaches 0.999."""
    return _optical_depth(splats) * _areas(np.exp(splats.log_scales.double().numpy()))


def merge_pairs(splats: Splats, first: NDArray[np.int64], second: NDArray[np.int64]) -> Splats:
    """One splat for each pair of rows (first[k], second[k]), in their order: M splats.

    Colours are averaged with the masses as weights, view-dependent ones too.
    """
    rotation = _rotations(splats.quats_wxyz.double().numpy())
    scales = np.exp(splats.log_scales.double().numpy())
    covariance = np.einsum("nij,nj,nkj->nik", rotation, scales**2, rotation)
    means, mass = splats.means.double().numpy(), np.maximum(masses(splats), 1e-30)
    total = mass[first] + mass[second]
    share = mass[first] / total
    mean = share[:, None] * means[first] + (1 - share)[:, None] * means[second]
    apart = means[first] - means[second]
    joint = (
        share[:, None, None] * covariance[first]
        + (1 - share)[:, None, None] * covariance[second]
        + (share * (1 - share))[:, None, None] * apart[:, :, None] * apart[:, None, :]
    )
    values, axes = np.linalg.eigh(joint)
    axes[np.linalg.det(axes) < 0, :, 0] *= -1.0
    # A flat splat has a thinnest axis of nearly no length, which rounding may turn negative.
    deviations = np.sqrt(np.maximum(values, 1e-12 * np.maximum(values[:, -1:], 1e-30)))
    opacity = np.minimum(-np.expm1(-total / np.maximum(_areas(deviations), 1e-30)), _OPACITY_MAX)
    opacity = np.maximum(opacity, 1e-12)

    def mixed(values: torch.Tensor) -> torch.Tensor:
        a, b = values[first].double(), values[second].double()
        w = torch.from_numpy(share)[:, None, None]
        return (w * a + (1 - w) * b).float()

    return replace(
        splats,
        means=torch.from_numpy(mean.astype(np.float32)),
        quats_wxyz=torch.from_numpy(_quaternions(axes).astype(np.float32)),
        log_scales=torch.from_numpy(np.log(deviations).astype(np.float32)),
        logit_opacities=torch.from_numpy((np.log(opacity) - np.log1p(-opacity)).astype(np.float32)),
        sh0=mixed(splats.sh0),
        shN=mixed(splats.shN),
    )


def pair_costs(splats: Splats, first: NDArray[np.int64], second: NDArray[np.int64], weight: Floats) -> Floats:
    """[M] what merging each pair costs: the splats' weights [N] (say, summed blending weights) times how far each is
    from the other, in colour and in place; the lesser of a pair can cost no more than it is worth.

    Distance in place is in standard deviations of the pair together, so splats inside of each other are near; colour is
    the base colour's difference squared, over the three channels (1 where one channel is off by all of it).
    """
    means = splats.means.double().numpy()
    variance = np.exp(2.0 * splats.log_scales.double().numpy())
    rotation = _rotations(splats.quats_wxyz.double().numpy())
    apart = means[first] - means[second]

    def spread_along(rows: NDArray[np.int64]) -> Floats:
        local = np.einsum("nij,ni->nj", rotation[rows], apart)
        return (local * local * variance[rows]).sum(axis=1)

    square = (apart * apart).sum(axis=1)
    # The variance of either along the way between them; a splat across the way is far although it is large.
    along = (spread_along(first) + spread_along(second)) / np.maximum(square, 1e-30)
    place = square / np.maximum(along + 1e-30, 1e-30)
    sizes = splats.log_scales.double().numpy()
    shape = (np.sort(sizes[first], axis=1) - np.sort(sizes[second], axis=1)) ** 2
    colour = SH_C0 * (splats.sh0[first] - splats.sh0[second]).double().numpy()[:, 0]
    lesser = np.minimum(weight[first], weight[second])
    return lesser * ((colour * colour).sum(axis=1) + 0.02 * np.minimum(place, 50.0) + 0.01 * shape.sum(axis=1))


def merge_to(splats: Splats, count: int, weight: Floats | None = None) -> Splats:
    """At most `count` splats, neighbours merged where it costs least (`pair_costs`), in sweeps of disjoint pairs.

    weight [N]: what splats are worth, for example `Importance.weight`; masses by default. A merged splat is worth what
    both were. Splats that merge stand where the first of the pair stood. The result does not depend on threads.
    Raises UsageError for a count below 1.
    """
    if count < 1:
        raise UsageError(f"--max-splats {count}: give a positive number")
    worth = masses(splats) if weight is None else np.asarray(weight, np.float64)
    while splats.num_splats > count:
        number = splats.num_splats
        first, second = _candidates(splats)
        if len(first) == 0:
            break
        order = np.argsort(pair_costs(splats, first, second, worth), kind="stable")
        wanted = min(number - count, max(1, int(_SWEEP_SHARE * number)))
        a, b = _disjoint(first[order], second[order], number, wanted)
        merged = merge_pairs(splats, a, b)
        worth[a] += worth[b]
        keep = np.ones(number, bool)
        keep[b] = False
        tensors = {}
        for name, tensor in splats.named():
            changed = tensor.clone()
            changed[torch.from_numpy(a)] = getattr(merged, name)
            tensors[name] = changed[torch.from_numpy(keep)].contiguous()
        splats, worth = replace(splats, **tensors), worth[keep]
    return splats


def _candidates(splats: Splats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of neighbours, each once, the lower row first."""
    if splats.num_splats < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    near = nearest_rows(splats.means.numpy(), min(_NEIGHBOURS, splats.num_splats - 1))
    rows = np.repeat(np.arange(len(near)), near.shape[1])
    pairs = np.stack([np.minimum(rows, near.reshape(-1)), np.maximum(rows, near.reshape(-1))], axis=1)
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    return pairs[:, 0], pairs[:, 1]


def _disjoint(
    first: NDArray[np.int64], second: NDArray[np.int64], number: int, wanted: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first `wanted` pairs, in their order, of which none shares a splat with an earlier one that was taken."""
    taken, chosen = bytearray(number), []
    for k, (i, j) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        if not taken[i] and not taken[j]:
            taken[i] = taken[j] = 1
            chosen.append(k)
            if len(chosen) == wanted:
                break
    return first[chosen], second[chosen]


def _optical_depth(splats: Splats) -> Floats:
    opacity = 1.0 / (1.0 + np.exp(-splats.logit_opacities.double().numpy()))
    return -np.log1p(-np.minimum(opacity, _OPACITY_MAX))


def _areas(scales: Floats) -> Floats:
    """[N] root of the summed squares of the three principal sections' areas, of standard deviations [N,3]."""
    x, y, z = (scales * scales).T
    return np.sqrt(x * y + y * z + z * x)


def _rotations(quats: Floats) -> Floats:
    """[N,3,3] of quaternions [N,4] wxyz of any length but 0."""
    return rotation_from_unit_quats(quats / np.sqrt((quats * quats).sum(axis=1, keepdims=True)))


def _quaternions(rotations: Floats) -> Floats:
    """[N,4] wxyz unit quaternions of rotation matrices [N,3,3]: each from the largest of its four components."""
    m = rotations
    diagonal = np.stack([m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]], axis=1)
    trace = diagonal.sum(axis=1)
    squares = np.concatenate([1 + trace[:, None], 1 + 2 * diagonal - trace[:, None]], axis=1)
    sums, differences = m + m.transpose(0, 2, 1), m - m.transpose(0, 2, 1)
    w_xyz = np.stack([differences[:, 2, 1], differences[:, 0, 2], differences[:, 1, 0]], axis=1)
    # Row k of `table` is 4 q q_k.
    table = np.zeros((len(m), 4, 4))
    table[:, 0, 1:] = table[:, 1:, 0] = w_xyz
    table[:, 1:, 1:] = sums
    table[:, range(4), range(4)] = squares
    best = table[np.arange(len(m)), squares.argmax(axis=1)]
    return best / np.sqrt((best * best).sum(axis=1, keepdims=True))

# SPDX-License-Identifier: Apache-2.0
"""Few different sets of harmonics for many splats, by what the views see of them.

Harmonics say nothing of directions from which no view looks, so distances between their coefficients are mostly noise.
What counts is the change of the pictures: with w_v the squared weight of a splat in view v and b_v the basis in its
direction there, exchanging harmonics x for c changes them by (x - c)' A (x - c), A = sum w_v b_v b_v' - m m' / sum w_v,
m = sum w_v b_v; the last term is the part that is the same in all views, which the base colour takes over. k-means
(Lloyd 1982) with a metric of its own for each splat: the mean of a cell solves (sum A) c = sum A x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.compress.sh_limits import ShLimits
from sparse3d.conventions import SH_C0
from sparse3d.errors import UsageError
from sparse3d.formulas.harmonics import sh_basis
from sparse3d.render.probe import weight_squares
from sparse3d.splats import Splats

# Of the mean diagonal of A, added to it: what no view sees should be small rather than anything.
_RIDGE = 0.02
# Entries that a round of choosing starts adds: each from the splats that are far from all entries before.
_STARTS = 64
# Of k-means, after the starts.
_ROUNDS = 12
# Splats whose costs of all entries are in memory at a time.
_BLOCK = 1 << 13
_TINY = 1e-12


@dataclass(frozen=True)
class _Seen:
    """metric [N,K,K] float64 (A above, not centred), mean [N,K] (m above), energy [N] (sum of w)."""

    metric: Tensor
    mean: Tensor
    energy: Tensor


def share_harmonics(
    splats: Splats,
    kept: Tensor,
    cameras: Sequence[Camera],
    count: int,
    *,
    probes: int = 2,
    seed: int = 0,
    backend: str | None = None,
) -> tuple[Splats, ShLimits]:
    """The splats with at most `count` different sets of harmonics, none at all among them, base colours mended; and
    the limits that keep it so. kept [N,K] bool: harmonics that may be other than 0.

    Splats whose harmonics are all 0 keep none. The same bits for any number of threads. Raises UsageError for a count
    below 2 and without a camera.
    """
    if count < 2 or not cameras:
        raise UsageError(f"sharing harmonics: {count} sets and {len(cameras)} views; give 2 or more and at least 1")
    rows = torch.nonzero((splats.shN != 0).flatten(1).any(dim=1))[:, 0]
    if len(rows) < count:
        return splats, ShLimits(kept)
    seen = _seen(splats, rows, cameras, probes, seed, backend)
    threads = torch.get_num_threads()
    # Products of matrices add up in an order that depends on the threads.
    torch.set_num_threads(1)
    try:
        entries, labels = _clusters(splats.shN[rows].double(), _centred(seen), count - 1, seed)
    finally:
        torch.set_num_threads(threads)
    shN, group = splats.shN.clone(), torch.zeros(splats.num_splats, dtype=torch.int64, device=rows.device)
    group[rows] = labels
    shN[rows] = entries[labels].float()
    weight = torch.zeros(splats.num_splats, device=rows.device)
    weight[rows] = seen.energy.float()
    # The part of the change that all views have in common.
    lost = (splats.shN[rows] - shN[rows]).double()
    shift = (lost * seen.mean[:, :, None]).sum(dim=1) / (seen.energy + _TINY)[:, None]
    sh0 = splats.sh0.clone()
    sh0[rows, 0] += (shift / SH_C0).float()
    return replace(splats, sh0=sh0, shN=shN), ShLimits(kept, group, weight)


def _seen(
    splats: Splats, rows: Tensor, cameras: Sequence[Camera], probes: int, seed: int, backend: str | None
) -> _Seen:
    """Of the splats at `rows`, in the cameras' views."""
    size = splats.shN.shape[1]
    like = {"dtype": torch.float64, "device": rows.device}
    metric = torch.zeros(len(rows), size, size, **like)
    mean, total = torch.zeros(len(rows), size, **like), torch.zeros(len(rows), **like)
    generator = torch.Generator().manual_seed(seed)
    for camera in cameras:
        energy = weight_squares(splats, camera, probes=probes, generator=generator, backend=backend)[rows].double()
        offset = splats.means[rows].double() - torch.from_numpy(camera.position).to(rows.device)
        direction = offset / offset.norm(dim=1, keepdim=True).clamp(min=_TINY)
        basis = sh_basis(direction, splats.sh_degree)[:, 1:]
        weighted = energy[:, None] * basis
        metric += weighted[:, :, None] * basis[:, None, :]
        mean += weighted
        total += energy
    return _Seen(metric, mean, total)


def _centred(seen: _Seen) -> Tensor:
    """[N,K,K] the metric without what the base colour takes over, made definite."""
    a = seen.metric - seen.mean[:, :, None] * seen.mean[:, None, :] / (seen.energy + _TINY)[:, None, None]
    size = a.shape[1]
    ridge = _RIDGE * a.diagonal(dim1=1, dim2=2).sum(dim=1) / size + _TINY
    return a + ridge[:, None, None] * torch.eye(size, dtype=a.dtype, device=a.device)


def _clusters(x: Tensor, a: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """entries [count + 1,K,3], the first 0, and the best of them for each of x [N,K,3] with metric a [N,K,K]."""
    size = x.shape[1]
    ax = a @ x
    own = (ax * x).flatten(1).sum(dim=1)
    # (x - c)' A (x - c) over three channels as one product: of what belongs to the splat, and what to the entry.
    of_splat = torch.cat([-2.0 * ax.flatten(1), a.flatten(1)], dim=1).float()

    def nearest(entries: Tensor) -> tuple[Tensor, Tensor]:
        """[N] the least cost, and the entry that has it."""
        squares = entries @ entries.transpose(1, 2)
        of_entry = torch.cat([entries.flatten(1), squares.flatten(1)], dim=1).float().T
        found = [(block @ of_entry).min(dim=1) for block in of_splat.split(_BLOCK)]
        return own + torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])

    generator = torch.Generator().manual_seed(seed)
    entries, least = torch.zeros(1, size, 3, dtype=x.dtype, device=x.device), own.clone()
    while len(entries) < count + 1:
        more = min(_STARTS, count + 1 - len(entries))
        # k-means++ (Arthur and Vassilvitskii 2007), many at a time.
        picked = x[torch.multinomial(least.clamp(min=0.0) + 1e-30 + 1e-9 * own, more, generator=generator)]
        entries = torch.cat([entries, picked])
        least = torch.minimum(least, nearest(picked)[0])
    for _ in range(_ROUNDS):
        error, labels = nearest(entries)
        entries = _means(a, ax, labels, count + 1)
        unused = torch.nonzero(torch.bincount(labels, minlength=count + 1) == 0)[:, 0]
        unused = unused[unused > 0]
        entries[unused] = x[torch.argsort(error, descending=True, stable=True)[: len(unused)]]
        entries[0] = 0.0
    return entries, nearest(entries)[1]


def _means(a: Tensor, ax: Tensor, labels: Tensor, count: int) -> Tensor:
    size = a.shape[1]
    left = torch.zeros(count, size, size, dtype=a.dtype, device=a.device).index_add_(0, labels, a)
    right = torch.zeros(count, size, 3, dtype=a.dtype, device=a.device).index_add_(0, labels, ax)
    return torch.linalg.solve(left + _TINY * torch.eye(size, dtype=a.dtype, device=a.device), right)

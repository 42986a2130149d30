# SPDX-License-Identifier: Apache-2.0
"""What each splat does for the pictures of a set of cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.conventions import ALPHA_MIN
from sparse3d.errors import UsageError
from sparse3d.render.probe import OpacityProbe, Seeing, random_signs
from sparse3d.splats import Splats

# Added to the Fisher information's diagonal, relative to its mean: keeps the determinant of the unseen finite.
_RIDGE = 1e-6


@dataclass(frozen=True)
class Importance:
    """Of N splats over a set of views, [N] each.

    weight: sum over views and pixels of the blending weight alpha * transmittance. peak: the largest of these weights
    in any pixel. hits: views in which it reaches 1/255. sensitivity: sum over views, pixels and channels of the squared
    change of the picture when that splat alone goes. fisher: log-determinant of the Fisher information of mean and log
    scales (PUP-3DGS, Hanson et al. 2024), -inf for what no view sees; None where it was not asked for.
    """

    weight: Tensor
    peak: Tensor
    hits: Tensor
    sensitivity: Tensor
    fisher: Tensor | None = None

    def select(self, index: Tensor) -> Importance:
        """That of the splats at `index`."""
        fisher = None if self.fisher is None else self.fisher[index]
        return Importance(self.weight[index], self.peak[index], self.hits[index], self.sensitivity[index], fisher)


@dataclass(frozen=True)
class Measuring:
    """How importance is measured. background [3]: what shows behind the splats (None: black). probes: random signs a
    view, fisher: also that field. backend: None chooses by the device. progress(fraction): called after each view."""

    background: Tensor | None = None
    probes: int = 4
    fisher: bool = False
    seed: int = 0
    backend: str | None = None
    progress: Callable[[float], None] | None = None


def importance(
    splats: Splats,
    cameras: Sequence[Camera],
    how: Measuring | None = None,
    *,
    masks: Sequence[Tensor | None] | None = None,
) -> Importance:
    """Importance of `splats` in the pictures of `cameras`.

    The sum of D^2, D being the picture's change without a splat, is the mean of squared sums over random signs
    (`render.probe`), with a relative deviation of sqrt(2 / (probes * views)) at most. masks: [H,W] in 0..1 by camera,
    of what counts in sensitivity and fisher. The same bits for any number of threads. Raises UsageError without a
    camera.
    """
    if not cameras:
        raise UsageError("the importance of splats was asked for without a camera; give at least one view")
    how = how or Measuring()
    sums = _Sums(splats, how)
    generator = torch.Generator().manual_seed(how.seed)
    for number, camera in enumerate(cameras):
        sums.add(camera, None if masks is None else masks[number], generator)
        if how.progress is not None:
            how.progress((number + 1) / len(cameras))
    return sums.result()


class _Sums:
    """Running sums over views."""

    def __init__(self, splats: Splats, how: Measuring) -> None:
        self._how, self._probe = how, OpacityProbe(splats, shape=how.fisher)
        self._weight, self._peak, self._sensitivity = (torch.zeros_like(splats.logit_opacities) for _ in range(3))
        self._hits = torch.zeros_like(splats.logit_opacities, dtype=torch.int32)
        self._information = np.zeros((splats.num_splats, 21 if how.fisher else 0), np.float32)

    def add(self, camera: Camera, mask: Tensor | None, generator: torch.Generator) -> None:
        how = self._how
        seen = self._probe.look(camera, Seeing(how.background, stats=True, backend=how.backend))
        self._weight += seen.weight_sum[0].detach()
        view_peak = seen.weight_max[0].detach()
        self._peak = torch.maximum(self._peak, view_peak)
        self._hits += view_peak >= ALPHA_MIN
        for _ in range(how.probes if seen.image.requires_grad else 0):
            signs = random_signs(camera.height, camera.width, generator)
            if mask is not None:
                signs *= mask.sqrt()[..., None]
            change, *v_shape = self._probe.changes(seen, signs)
            self._sensitivity += change * change
            if how.fisher:
                _add_outer(self._information, *(v.numpy() for v in v_shape))

    def result(self) -> Importance:
        probes = max(self._how.probes, 1)
        fisher = torch.from_numpy(_log_determinants(self._information / probes)) if self._how.fisher else None
        return Importance(self._weight, self._peak, self._hits, self._sensitivity / probes, fisher)


def _add_outer(total: NDArray[np.float32], v_means: NDArray[np.float32], v_scales: NDArray[np.float32]) -> None:
    """Add the upper triangles [N,21] of the outer products of (mean, log scales) gradients."""
    v = np.concatenate([v_means, v_scales], axis=1)
    rows, columns = np.triu_indices(6)
    for k, (i, j) in enumerate(zip(rows, columns, strict=True)):
        total[:, k] += v[:, i] * v[:, j]


def _log_determinants(triangles: NDArray[np.floating]) -> NDArray[np.float32]:
    """[N] log-determinant of the symmetric 6x6 matrices whose upper triangles are [N,21]."""
    rows, columns = np.triu_indices(6)
    out = np.full(len(triangles), -np.inf, np.float32)
    for first in range(0, len(triangles), 65536):
        part = triangles[first : first + 65536].astype(np.float64)
        full = np.zeros((len(part), 6, 6))
        full[:, rows, columns] = part
        full[:, columns, rows] = part
        trace = np.trace(full, axis1=1, axis2=2)
        seen = trace > 0.0
        full[:, range(6), range(6)] += (_RIDGE / 6 * trace)[:, None]
        out[first : first + len(part)][seen] = np.linalg.slogdet(full[seen])[1]
    return out

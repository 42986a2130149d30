# SPDX-License-Identifier: Apache-2.0
"""What each splat does for the pictures of a set of cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.camera import Camera
from sparse3d.compress.observe import picture, random_signs
from sparse3d.conventions import ALPHA_MIN
from sparse3d.errors import UsageError
from sparse3d.splats import Splats

# Below the clamp of alpha at 0.99, where the kernels give no gradient to opacity.
_OPAQUE_LOGIT = 4.18
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


def importance(
    splats: Splats,
    cameras: Sequence[Camera],
    *,
    masks: Sequence[Tensor | None] | None = None,
    background: Tensor | None = None,
    probes: int = 4,
    fisher: bool = False,
    seed: int = 0,
    backend: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Importance:
    """Importance of `splats` in the pictures of `cameras`.

    A pixel's colour is affine in each splat's alpha, so without the splat it changes by D = alpha dC/dalpha, a gradient
    to opacity; the sum of D^2 is the mean of squared sums over `probes` random signs a view (`compress.observe`), with
    a relative deviation of sqrt(2 / (probes * views)) at most. Opacities count as 0.985 at most. masks: [H,W] in 0..1
    by camera, of what counts in sensitivity and fisher. background [3]: what shows behind the splats (black). The same
    bits for any number of threads.
    Raises UsageError without a camera.
    """
    if not cameras:
        raise UsageError("the importance of splats was asked for without a camera; give at least one view")
    count = splats.num_splats
    logits = splats.logit_opacities.detach().clamp(max=_OPAQUE_LOGIT)
    leaves = [logits.requires_grad_()]
    shown = replace(splats, logit_opacities=logits)
    if fisher:
        means, scales = (t.detach().clone().requires_grad_() for t in (splats.means, splats.log_scales))
        leaves += [means, scales]
        shown = replace(shown, means=means, log_scales=scales)
    # numpy: torch's sigmoid gives other bits at the end of each thread's share.
    transparency = torch.from_numpy(1.0 / (1.0 + np.exp(logits.detach().numpy().astype(np.float64)))).float()
    weight, peak, sensitivity = torch.zeros(count), torch.zeros(count), torch.zeros(count)
    hits = torch.zeros(count, dtype=torch.int32)
    information = np.zeros((count, 21 if fisher else 0), np.float32)
    generator = torch.Generator().manual_seed(seed)
    for number, camera in enumerate(cameras):
        seen = picture(shown, camera, background=background, stats=True, backend=backend)
        weight += seen.weight_sum[0].detach()
        view_peak = seen.weight_max[0].detach()
        peak = torch.maximum(peak, view_peak)
        hits += view_peak >= ALPHA_MIN
        mask = None if masks is None else masks[number]
        for _ in range(probes if seen.image.requires_grad else 0):
            signs = random_signs(camera.height, camera.width, generator)
            if mask is not None:
                signs *= mask.sqrt()[..., None]
            v_logit, *v_shape = torch.autograd.grad(seen.image, leaves, signs[None], retain_graph=True)
            change = v_logit / transparency
            sensitivity += change * change
            if fisher:
                _add_outer(information, *(v.numpy() for v in v_shape))
        if progress is not None:
            progress((number + 1) / len(cameras))
    sensitivity /= max(probes, 1)
    determinant = torch.from_numpy(_log_determinants(information / max(probes, 1))) if fisher else None
    return Importance(weight, peak, hits, sensitivity, determinant)


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

# SPDX-License-Identifier: Apache-2.0
"""A photo seen from its camera moved sideways (Binocular3DGS, Han et al. 2024).

What the moved camera renders must look like the photo, found again along the row by the depth that it renders itself:
a pixel x of the moved view is x + f d / z in the photo. Gradients reach colours, and depths through the photo's slope.
The paper warps the other way, by the depth of a second rendering; one rendering is enough this way round, and what the
photo does not see can be told from the depths.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.train.shots import Shot
from sparse3d.train.step import StepRendering, TrainingStep
from sparse3d.train.terms.expected_depth import expected_depth, expected_depth_vjp
from sparse3d.train.terms.term import OutputGradients
from sparse3d.train.views import View, with_pose

# Pixels that something nearer must come over another's place in the photo to hide it: less is noise of depths.
_HIDDEN_PX = 0.5


def shifted(view: View, shift: float) -> View:
    """The view with its camera moved by `shift` world units along its own x axis."""
    pose = view.cam_from_world.clone()
    pose[0, 3] -= shift
    return with_pose(view, pose)


def places_in_photo(
    z: NDArray[np.float32], seen: NDArray[np.bool_], disparity: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where pixels [H,W] of the moved view lie on their row of the photo, in pixels with centres at integers, and which
    of them the photo shows: not past its sides, and hidden by nothing nearer. `disparity`: f d, in pixels times world
    units of depth."""
    width = z.shape[1]
    at = np.arange(width, dtype=np.float32) + np.float32(disparity) / z
    # Of two pixels that swap their order the one that moved further is nearer: it came from behind in the direction of
    # movement.
    if disparity > 0:
        front = np.maximum.accumulate(np.where(seen, at, -np.inf), axis=1)
        hidden = front > at + _HIDDEN_PX
    else:
        front = np.minimum.accumulate(np.where(seen, at, np.inf)[:, ::-1], axis=1)[:, ::-1]
        hidden = front < at - _HIDDEN_PX
    return at, seen & ~hidden & (at >= 0) & (at <= width - 1)


def sampled_rows(image: Tensor, at: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Values [H,W,C] of an image [H,W,C] at the places [H,W] on its rows, linear between pixels, and their slopes."""
    height, width, channels = image.shape
    left = np.clip(np.floor(at), 0, width - 2)
    flat = image.numpy().reshape(-1, channels)
    first = np.arange(height)[:, None] * width + left.astype(np.int64)
    low, high = flat.take(first, axis=0), flat.take(first + 1, axis=0)
    slope = high - low
    return torch.from_numpy(low + (at - left)[..., None] * slope), torch.from_numpy(slope)


class ShiftedShot(Shot):
    """The photo `photo` from its camera moved by `shift` world units. L1 over the pixels that the photo shows too,
    times `strength`; before `loss` the target is the photo as it is."""

    needs_depth = True

    def __init__(self, photo: Shot, shift: float, strength: float) -> None:
        super().__init__(f"{photo.name} shifted", None, shifted(photo.view, shift), photo.target, photo.mask)
        self._disparity = float(photo.view.intrinsics[0]) * shift
        self._strength = strength

    def loss(
        self, kernels: TrainingStep, rendering: StepRendering, ssim_weight: float
    ) -> tuple[float, OutputGradients]:
        z, alpha, seen = expected_depth(rendering)
        at, shows = places_in_photo(z.numpy(), seen.numpy(), self._disparity)
        target, slope = sampled_rows(self.target, at)
        counts = torch.from_numpy(shows.astype(np.float32))
        if self.mask is not None:
            counts = counts * sampled_rows(self.mask[..., None], at)[0][..., 0]
        self.target, self.mask = target, counts
        loss = kernels.photometric(target, counts, 0.0)
        assert kernels.v_image is not None
        v_image = kernels.v_image * self._strength
        # L1 pulls the target as much as the image, the other way; the mask's own slope is left out.
        pull = v_image * slope
        v_at = -(pull[..., 0] + pull[..., 1] + pull[..., 2])
        v_alpha, v_depth = expected_depth_vjp(v_at * (-self._disparity / (z * z)), alpha, z)
        return loss, OutputGradients(v_image, v_alpha, v_depth)

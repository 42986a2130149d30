# SPDX-License-Identifier: Apache-2.0
"""Running a scene on a back end, and comparing it with the float64 reference.

A float32 kernel and a float64 reference may decide differently for a pair that lies on a cutoff (alpha 1/255,
transmittance 1e-4), and then differ by up to one grey level in that pixel. So the pixels of the boundary band, where
any pair is within BAND of a cutoff, are found in float64 and treated apart: outside them the tolerance is tight, inside
them differences must be few, small and without a sign. Their upstream gradients are set to zero, which makes gradients
comparable tightly everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from synthetic import VIEW_NAMES, SyntheticScene, pair_table
from torch import Tensor

from sparse3d import conventions
from sparse3d.kernels import reference
from sparse3d.kernels.records import Rasterization
from sparse3d.splats import PARAMETER_NAMES

# Relative distance to a cutoff below which float32 may decide otherwise. Responses of splats some pixels wide carry
# 1e-5 to 1e-4 of rounding (position in the image times conic).
BAND = 1e-3

ARGUMENTS = (*PARAMETER_NAMES, *VIEW_NAMES)


def _cpu_levels() -> tuple[list[str], str]:
    try:
        from sparse3d.kernels import cpu

        levels = list(cpu.available_levels())
    except Exception as error:  # Whatever keeps the extension from loading is the reason that the skip shows.
        return [], f"CPU kernels cannot be loaded: {error}"
    return levels, "CPU kernels are not built for this machine"


CPU_LEVELS, CPU_MISSING = _cpu_levels()


@dataclass(frozen=True)
class Backend:
    """The public ops of one back end, fed with float32."""

    name: str

    @property
    def differentiated(self) -> tuple[str, ...]:
        """Arguments of `rasterize` that get a gradient; the one to the intrinsics is the reference's only."""
        return ARGUMENTS if self.name == "reference" else tuple(name for name in ARGUMENTS if name != "intrinsics")

    def rasterize(self, *args: Any) -> Rasterization:
        if self.name == "reference":
            return reference.rasterize(*args)
        from sparse3d import kernels

        return kernels.rasterize(*args, backend=self.name)

    def l1_ssim_loss(self, image: Tensor, target: Tensor, mask: Tensor | None, ssim_weight: float) -> Tensor:
        if self.name == "reference":
            return reference.l1_ssim_loss(image, target, mask, ssim_weight)
        from sparse3d import kernels

        return kernels.l1_ssim_loss(image, target, mask, ssim_weight, backend=self.name)


@dataclass(frozen=True)
class Upstream:
    """Gradients that arrive at a rendering: v_image [C,H,W,3], v_alpha [C,H,W], v_depth [C,H,W]."""

    image: Tensor
    alpha: Tensor
    depth: Tensor

    def loss(self, rendering: Rasterization) -> Tensor:
        def dot(a: Tensor, b: Tensor) -> Tensor:
            return (a * b.to(a.dtype)).sum()

        return dot(rendering.image, self.image) + dot(rendering.alpha, self.alpha) + dot(rendering.depth, self.depth)


def upstream_for(scene: SyntheticScene, seed: int, keep: Tensor | None = None) -> Upstream:
    """Random gradients of both signs, zero where `keep` [C,H,W] is False."""
    generator = torch.Generator().manual_seed(seed)
    shape = (scene.cam_from_world.shape[0], scene.settings.height, scene.settings.width)
    image = torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
    alpha = torch.randn(*shape, generator=generator, dtype=torch.float64)
    depth = 0.2 * torch.randn(*shape, generator=generator, dtype=torch.float64)
    if keep is not None:
        image, alpha, depth = image * keep[..., None], alpha * keep, depth * keep
    return Upstream(image, alpha, depth)


def boundary_band(scene: SyntheticScene, band: float = BAND) -> tuple[Tensor, Tensor]:
    """Pixels [C,H,W] where a pair is near the cutoff of alpha or of transmittance, and pixels near the median's 0.5."""
    cutoffs, medians = [], []
    for camera in range(scene.cam_from_world.shape[0]):
        table = pair_table(scene, camera)
        shape = (scene.settings.height, scene.settings.width)
        near = (table.response / conventions.ALPHA_MIN - 1).abs() < band
        near[:, 1:] &= (
            table.transmittance[:, :-1] > 0.9 * conventions.TRANSMITTANCE_STOP
        )  # Later pairs are not blended.
        near |= (table.transmittance / conventions.TRANSMITTANCE_STOP - 1).abs() < 20 * band
        cutoffs.append(near.any(1).reshape(shape))
        medians.append(((table.transmittance / 0.5 - 1).abs() < band).any(1).reshape(shape))
    return torch.stack(cutoffs), torch.stack(medians)


def render_with_gradients(
    rasterize: Callable[..., Rasterization], scene: SyntheticScene, upstream: Upstream
) -> tuple[Rasterization, dict[str, Tensor]]:
    """The rendering, detached, and the gradients of `upstream`'s loss to all nine tensors by name."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in scene.tensors().items()}
    rendering = rasterize(*scene.with_tensors(leaves).arguments())
    gradients = torch.autograd.grad(upstream.loss(rendering), list(leaves.values()), allow_unused=True)
    named = {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)
    }
    return Rasterization(*(part.detach() for part in rendering)), named


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest |found - expected| over the largest |expected|; NaN counts as infinite. 0 for empty tensors."""
    if expected.numel() == 0:
        return 0.0
    difference = (found.double() - expected.double()).abs()
    if not torch.isfinite(difference).all():
        return float("inf")
    return float(difference.max() / expected.double().abs().max().clamp(min=1e-12))


def typical_row_error(found: Tensor, expected: Tensor) -> float:
    """90 % of the rows (splats) have at most this error, relative to the row's own length plus a thousandth of the
    longest row. The thousandth is for splats behind opaque ones: a kernel may take what lies behind a splat as the
    pixel minus what lies in front, which rounds relative to the pixel, not to the hidden splat."""
    expected = expected.double().reshape(expected.shape[0], -1)
    length = torch.linalg.vector_norm(expected, dim=1)
    difference = torch.linalg.vector_norm(found.double().reshape(expected.shape) - expected, dim=1)
    seen = length > 0
    return float((difference / (length + 1e-3 * length.max()))[seen].quantile(0.9)) if seen.any() else 0.0


def assert_gradients_close(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float, names: Iterable[str] = ARGUMENTS
) -> None:
    """Each gradient within `tolerance` of the largest entry of its tensor; the message lists all of them."""
    errors = {name: relative_error(found[name], expected[name]) for name in names}
    assert max(errors.values()) <= tolerance, f"gradient errors relative to the largest entry: {errors}"

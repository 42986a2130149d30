# SPDX-License-Identifier: Apache-2.0
"""Seeded scenes for the kernel tests. The same arguments give the same scene on every machine (torch's CPU generator,
float64), and everything that makes a scene hard is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sparse3d import conventions
from sparse3d.kernels import reference
from sparse3d.kernels.records import RasterSettings
from sparse3d.splats import PARAMETER_NAMES, num_sh_rest

# Relative distance to every cutoff in `make_separated_scene`, a hundred steps of the finite differences.
SEPARATION = 1e-4

VIEW_NAMES = ("cam_from_world", "intrinsics", "background")


@dataclass(frozen=True)
class SyntheticScene:
    """Raw splats and C pinhole cameras that look at the origin; tensors as `reference.rasterize` takes them."""

    params: dict[str, Tensor]
    cam_from_world: Tensor
    intrinsics: Tensor
    background: Tensor
    settings: RasterSettings

    def to(self, dtype: torch.dtype) -> SyntheticScene:
        return replace(
            self,
            params={name: value.to(dtype) for name, value in self.params.items()},
            **{name: getattr(self, name).to(dtype) for name in VIEW_NAMES},
        )

    def with_settings(self, **changes: object) -> SyntheticScene:
        return replace(self, settings=replace(self.settings, **changes))  # type: ignore[arg-type]

    def with_params(self, **changes: Tensor) -> SyntheticScene:
        return replace(self, params={**self.params, **changes})

    def with_tensors(self, tensors: dict[str, Tensor]) -> SyntheticScene:
        """Other tensors for all nine names, for example leaves that want gradients."""
        params = {name: tensors[name] for name in PARAMETER_NAMES}
        return replace(self, params=params, **{name: tensors[name] for name in VIEW_NAMES})

    def select(self, index: Tensor) -> SyntheticScene:
        return replace(self, params={name: value[index] for name, value in self.params.items()})

    def arguments(self) -> tuple[Any, ...]:
        """What `rasterize` takes, in its order."""
        return (*self.tensors().values(), self.settings)

    def tensors(self) -> dict[str, Tensor]:
        """All nine tensors by the names of `rasterize`'s arguments, in their order."""
        return {
            **{name: self.params[name] for name in PARAMETER_NAMES},
            **{name: getattr(self, name) for name in VIEW_NAMES},
        }


def look_at(eye: Tensor, target: Tensor, roll: float) -> Tensor:
    """cam_from_world [4,4] float64 of a camera at `eye` with z towards `target`, turned by `roll` radians."""
    forward = (target - eye) / torch.linalg.vector_norm(target - eye)
    helper = torch.tensor([math.sin(roll), math.cos(roll), 0.1], dtype=torch.float64)
    right = torch.linalg.cross(helper, forward)
    right = right / torch.linalg.vector_norm(right)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = rotation
    pose[:3, 3] = -rotation @ eye
    return pose


def make_scene(
    seed: int,
    *,
    num_splats: int = 200,
    num_cameras: int = 1,
    sh_degree: int = 3,
    width: int = 64,
    height: int = 48,
    scale: float = 0.08,
    anisotropy: float = 1.0,
    opaque: float = 0.3,
    behind: float = 0.05,
    tiny: float = 0.05,
    huge: float = 0.02,
    antialias: bool = False,
) -> SyntheticScene:
    """A ball of splats of radius about 1 seen from about 4 units away, in float32 values kept as float64.

    scale: median standard deviation in world units, world being about 2 units wide; anisotropy: standard deviation of
    the log scales about it. Shares of the splats that are turned into hard cases: opaque (opacity above 0.99, so that
    alpha is clamped and pixels stop early), behind (behind the first camera), tiny (far below a pixel), huge (wider
    than the image).
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def chosen(share: float) -> Tensor:
        return torch.rand(num_splats, generator=generator, dtype=torch.float64) < share

    n, k = num_splats, num_sh_rest(sh_degree)
    means = 0.6 * normal(n, 3)
    log_scales = math.log(scale) + anisotropy * normal(n, 3)
    logits = 1.5 * normal(n) - 0.5
    logits = torch.where(chosen(opaque), 4 + 2 * normal(n).abs(), logits)
    log_scales = torch.where(chosen(tiny)[:, None], log_scales - 5, log_scales)
    log_scales = torch.where(chosen(huge)[:, None], log_scales + 3, log_scales)
    poses, intrinsics = [], []
    for camera in range(num_cameras):
        angle = 0.7 * camera
        eye = torch.tensor([4 * math.sin(angle), 0.5 * camera, -4 * math.cos(angle)], dtype=torch.float64)
        poses.append(look_at(eye, 0.05 * normal(3), roll=0.2 * camera))
        focal = 1.1 * max(width, height)
        # Unequal focal lengths and a principal point off the centre, so that a swap of x and y cannot pass.
        intrinsics.append([focal, 1.07 * focal, 0.47 * width, 0.55 * height])
    means = torch.where(chosen(behind)[:, None], means * 0.3 - 8 * poses[0][2, :3], means)
    params = {
        "means": means,
        "quats_wxyz": normal(n, 4) * (0.5 + torch.rand(n, 1, generator=generator, dtype=torch.float64)),
        "log_scales": log_scales,
        "logit_opacities": logits,
        "sh0": normal(n, 1, 3),
        "shN": 0.3 * normal(n, k, 3),
    }
    scene = SyntheticScene(
        params=params,
        cam_from_world=torch.stack(poses),
        intrinsics=torch.tensor(intrinsics, dtype=torch.float64),
        background=torch.rand(num_cameras, 3, generator=generator, dtype=torch.float64),
        settings=RasterSettings(
            width=width, height=height, sh_degree=sh_degree, antialias=antialias, depth=True, stats=True
        ),
    )
    # Rounded once, so that a float32 kernel and the float64 reference start from the same numbers.
    return scene.to(torch.float32).to(torch.float64)


def make_smooth_scene(seed: int, *, num_splats: int = 6, sh_degree: int = 4, antialias: bool = False) -> SyntheticScene:
    """Wide, faint splats over a tiny image: every pair is blended, none is near a cutoff, one splat's centre is outside
    the clamped field of view. For finite differences, also with large steps."""
    scene = make_scene(
        seed,
        num_splats=num_splats,
        num_cameras=2,
        sh_degree=sh_degree,
        width=9,
        height=7,
        scale=1.6,
        anisotropy=0.2,
        opaque=0,
        behind=0,
        tiny=0,
        huge=0,
        antialias=antialias,
    )
    params = dict(scene.params)
    params["means"] = params["means"] * 0.4
    params["logit_opacities"] = -0.5 + 0.3 * params["logit_opacities"].tanh()
    params["sh0"] = 1.0 + 0.5 * params["sh0"].tanh()
    params["shN"] = 0.1 * params["shN"]
    # Outside 1.3 x the field of view of both cameras (their common right side), but wide enough to reach the image.
    params["means"][0] = torch.tensor([4.0, 0.3, 0.5], dtype=torch.float64)
    params["log_scales"][0] = 1.2
    return replace(scene, params=params).to(torch.float32).to(torch.float64)


def make_separated_scene(seed: int, *, num_splats: int = 14, antialias: bool = False) -> SyntheticScene:
    """A scene in which all cutoffs occur and no value is near one of them: pairs below 1/255, alphas clamped at 0.99,
    pixels that stop, colours clamped at 0 (for the seeds that the tests use; they assert it)."""
    pool = make_scene(
        seed,
        num_splats=400,
        sh_degree=1,
        width=9,
        height=7,
        scale=0.35,
        anisotropy=0.6,
        opaque=0.6,
        behind=0,
        tiny=0,
        huge=0.3,
        antialias=antialias,
    )
    return separate(pool, num_splats)


def separate(pool: SyntheticScene, num_splats: int) -> SyntheticScene:
    """The first splats of `pool` that stay away from the cutoffs together: they are added one by one, and one that
    brings any value nearer than SEPARATION to its cutoff is left out."""
    chosen: list[int] = []
    for candidate in range(pool.params["means"].shape[0]):
        trial = pool.select(torch.tensor([*chosen, candidate]))
        if margin_to_cutoffs(trial) > SEPARATION:
            chosen.append(candidate)
        if len(chosen) == num_splats:
            return pool.select(torch.tensor(chosen))
    raise AssertionError(f"only {len(chosen)} of {num_splats} splats stay away from the cutoffs")


@dataclass(frozen=True)
class PairTable:
    """All pairs of one camera, float64: response [P,S] = opacity exp(-sigma) in depth order, transmittance [P,S] after
    each splat if nothing stopped, index [S] of the splats, projection of all splats."""

    response: Tensor
    transmittance: Tensor
    index: Tensor
    projection: reference.Projection


@torch.no_grad()
def pair_table(scene: SyntheticScene, camera: int = 0) -> PairTable:
    """Every response of one camera, computed densely, to find out how near the cutoffs a scene is."""
    seen = reference.project(scene.params, scene.cam_from_world[camera], scene.intrinsics[camera], scene.settings)
    index = torch.nonzero(seen.visible)[:, 0]
    index = index[torch.sort(seen.depths[index], stable=True).indices]
    ys = torch.arange(scene.settings.height, dtype=torch.float64) + 0.5
    xs = torch.arange(scene.settings.width, dtype=torch.float64) + 0.5
    dy = (ys[:, None, None] - seen.means2d[index, 1]).expand(-1, len(xs), -1).reshape(-1, len(index))
    dx = (xs[None, :, None] - seen.means2d[index, 0]).expand(len(ys), -1, -1).reshape(-1, len(index))
    conics = seen.conics[index]
    sigma = 0.5 * (conics[:, 0] * dx * dx + conics[:, 2] * dy * dy) + conics[:, 1] * dx * dy
    response = seen.opacities[index] * torch.exp(-sigma)
    alpha = torch.where(response >= conventions.ALPHA_MIN, response.clamp(max=conventions.ALPHA_MAX), 0.0)
    return PairTable(response, torch.cumprod(1 - alpha, 1), index, seen)


def margin_to_cutoffs(scene: SyntheticScene) -> float:
    """Smallest relative distance of any value of camera 0 to the cutoff that it is tested against."""
    table = pair_table(scene)
    seen = table.projection

    def distance(values: Tensor, cutoff: float) -> float:
        return float((values / cutoff - 1).abs().min()) if values.numel() else math.inf

    depths = seen.depths[table.index]
    return min(
        distance(table.response, conventions.ALPHA_MIN),
        distance(table.response, conventions.ALPHA_MAX),
        distance(table.transmittance, conventions.TRANSMITTANCE_STOP),
        distance(seen.opacities, conventions.ALPHA_MIN),
        float(seen.colors.abs().min()),
        float((depths[1:] - depths[:-1]).min()) if len(depths) > 1 else math.inf,
    )

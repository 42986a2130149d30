# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/kernels.npz: numbers for the kernel tests, computed by other people's code.

- Rendering and its gradients: gsplat's plain-torch functions (projection, spherical harmonics, accumulation) with
  nerfacc's compositing, in float64 on the CPU, differentiated by torch.
- Spherical harmonics: scipy's complex functions, made real.
- SSIM: scikit-image.

    python -m venv golden-venv && golden-venv/bin/pip install torch gsplat==1.5.3 nerfacc==0.5.3 scikit-image==0.26.0
    PYTHONPATH=. golden-venv/bin/python scripts/make_kernel_golden.py

gsplat has no CPU code for finding the pixels of a splat and for the early stop, so the list of pairs is made here, by a
loop over pixels; gsplat clamps alpha at 0.999, so the scene has no opacity near 0.99.
"""

# Other people's packages live in their own environment (above), out of sight of the project's type checker.
# pyright: reportMissingImports=false
from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import nerfacc
import numpy as np
import scipy.special
import torch
from gsplat.cuda import _torch_impl as gsplat
from skimage.metrics import structural_similarity
from torch import Tensor

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests" / "kernels"))

from synthetic import SyntheticScene, make_scene, separate  # noqa: E402, the folder of the tests is no package

OUTPUT = REPO / "tests" / "golden" / "kernels.npz"
SEED = 51


def golden_scene() -> SyntheticScene:
    """14 splats with every degree of colour over 17x11 pixels, opacities up to 0.97, away from the cutoffs."""
    pool = make_scene(SEED, num_splats=200, sh_degree=4, width=17, height=11, scale=0.25, anisotropy=0.6, opaque=0.6)
    limited = pool.params["logit_opacities"].clamp(max=3.5)
    return separate(pool.with_params(logit_opacities=limited), 14)


def _dense_weights(alphas: Tensor, ray_indices: Tensor, n_rays: int) -> tuple[Tensor, Tensor]:
    """nerfacc's compositing of flattened samples needs CUDA, that of a padded table does not: pads, calls, gathers."""
    counts = torch.bincount(ray_indices, minlength=n_rays)
    starts = torch.cumsum(counts, 0) - counts
    slots = torch.arange(len(ray_indices)) - starts[ray_indices]
    table = torch.zeros(n_rays, int(counts.max()), dtype=alphas.dtype).index_put((ray_indices, slots), alphas)
    weights, transmittance = _nerfacc_weights(table)
    return weights[ray_indices, slots], transmittance[ray_indices, slots]


_nerfacc_weights = nerfacc.render_weight_from_alpha
nerfacc.render_weight_from_alpha = _dense_weights


def _pairs(means2d: Tensor, conics: Tensor, opacities: Tensor, depths: Tensor, keep: Tensor, width: int, height: int):
    """Splat and pixel of every blended pair, pixel by pixel, front to back."""
    splats, pixels = [], []
    order = [i for i in np.argsort(depths.numpy(), kind="stable") if keep[i]]
    for pixel in range(width * height):
        transmittance = 1.0
        for i in order:
            dx, dy = pixel % width + 0.5 - float(means2d[i, 0]), pixel // width + 0.5 - float(means2d[i, 1])
            a, b, c = (float(value) for value in conics[i])
            alpha = float(opacities[i]) * math.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
            if alpha < 1 / 255:
                continue
            if transmittance * (1 - alpha) < 1e-4:
                break
            transmittance *= 1 - alpha
            splats.append(i)
            pixels.append(pixel)
    return torch.tensor(splats), torch.tensor(pixels)


def render(leaves: dict[str, Tensor], scene: SyntheticScene) -> tuple[Tensor, Tensor, Tensor, int]:
    """image [H,W,3], alpha [H,W], expected depth [H,W], and the number of pairs."""
    width, height = scene.settings.width, scene.settings.height
    fx, fy, cx, cy = leaves["intrinsics"][0]
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    Ks = torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, one]).reshape(1, 3, 3)
    viewmats = leaves["cam_from_world"]
    covars, _ = gsplat._quat_scale_to_covar_preci(leaves["quats_wxyz"], leaves["log_scales"].exp(), compute_preci=False)
    radii, means2d, depths, conics, compensations = gsplat._fully_fused_projection(
        leaves["means"], covars, viewmats, Ks, width, height, near_plane=scene.settings.near, calc_compensations=True
    )
    opacities = torch.sigmoid(leaves["logit_opacities"])[None]
    if scene.settings.antialias:
        opacities = opacities * compensations
    # gsplat inverts the matrix for the camera centre; -R^T t is the same for a rotation, and the definition here.
    centre = -viewmats[0, :3, :3].T @ viewmats[0, :3, 3]
    coefficients = torch.cat([leaves["sh0"], leaves["shN"]], 1)
    colors = gsplat._spherical_harmonics(scene.settings.sh_degree, leaves["means"] - centre, coefficients)
    features = torch.cat([torch.clamp_min(colors + 0.5, 0), depths[0, :, None]], 1)
    seen = (means2d[0].detach(), conics[0].detach(), opacities[0].detach(), depths[0].detach(), (radii[0] > 0).all(1))
    splats, pixels = _pairs(*seen, width, height)
    rendered, alphas = gsplat.accumulate(
        means2d, conics, opacities, features[None], splats, pixels, torch.zeros_like(splats), width, height
    )
    image = rendered[0, ..., :3] + (1 - alphas[0]) * leaves["background"][0]
    return image, alphas[0, ..., 0], rendered[0, ..., 3], len(splats)


def rendering_numbers() -> dict[str, np.ndarray]:
    scene = golden_scene()
    generator = torch.Generator().manual_seed(SEED)
    size = (scene.settings.height, scene.settings.width)
    upstream = torch.randn(*size, 5, generator=generator, dtype=torch.float64).float().double()
    numbers = {f"in_{name}": value.numpy() for name, value in scene.tensors().items()}
    numbers["upstream"] = upstream.numpy()
    for antialias in (False, True):
        case = "antialias" if antialias else "plain"
        leaves = {name: value.clone().requires_grad_() for name, value in scene.tensors().items()}
        image, alpha, depth, pairs = render(leaves, scene.with_settings(antialias=antialias))
        outputs = torch.cat([image, alpha[..., None], depth[..., None]], -1)
        (outputs * upstream).sum().backward()
        print(f"{case}: {pairs} pairs, alpha {float(alpha.min()):.3f} to {float(alpha.max()):.5f}")
        numbers[f"{case}_outputs"] = outputs.detach().numpy()
        numbers |= {f"{case}_v_{name}": leaf.grad.numpy() for name, leaf in leaves.items() if leaf.grad is not None}
    return numbers


def sh_numbers() -> dict[str, np.ndarray]:
    """Real functions from scipy's complex ones: for m < 0 sqrt(2) Im Y(l,|m|), for m > 0 sqrt(2) Re Y(l,m), with the
    Condon-Shortley phase that scipy includes, as 3DGS does."""
    generator = np.random.default_rng(SEED)
    dirs = generator.standard_normal((7, 3))
    dirs /= np.linalg.norm(dirs, axis=1, keepdims=True)
    theta, phi = np.arccos(dirs[:, 2]), np.arctan2(dirs[:, 1], dirs[:, 0])
    columns = []
    for degree in range(5):
        for order in range(-degree, degree + 1):
            value = scipy.special.sph_harm_y(degree, abs(order), theta, phi)
            factor = 1.0 if order == 0 else math.sqrt(2)
            columns.append(factor * (value.imag if order < 0 else value.real))
    return {"sh_dirs": dirs, "sh_basis": np.stack(columns, 1)}


def ssim_numbers() -> dict[str, np.ndarray]:
    """scikit-image mirrors the border; ten rows of zeros around the picture make it see the zero padding."""
    generator = np.random.default_rng(SEED)
    x = generator.random((19, 23, 3)).astype(np.float32)
    y = np.clip(x + 0.2 * generator.standard_normal(x.shape), 0, 1).astype(np.float32)
    pad = ((10, 10), (10, 10), (0, 0))
    _, full = structural_similarity(
        np.pad(x, pad).astype(np.float64),
        np.pad(y, pad).astype(np.float64),
        channel_axis=2,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return {"ssim_x": x, "ssim_y": y, "ssim_map": full[10:-10, 10:-10]}


def main() -> None:
    numbers = rendering_numbers() | sh_numbers() | ssim_numbers()
    # float32 is what a golden needs (tolerances are 1e-6 and more) and keeps the file small.
    small: dict[str, Any] = {name: value.astype(np.float32) for name, value in numbers.items()}
    np.savez_compressed(OUTPUT, **small)
    print(f"{OUTPUT.relative_to(REPO)}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()

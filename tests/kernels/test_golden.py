# SPDX-License-Identifier: Apache-2.0
"""Third witness: numbers made by other people's code (gsplat with nerfacc, scipy, scikit-image), stored in
tests/golden/kernels.npz by scripts/make_kernel_golden.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from parity import ARGUMENTS, Backend, relative_error
from torch import Tensor

from sparse3d.kernels import reference
from sparse3d.kernels.records import RasterSettings


@pytest.fixture(scope="module")
def golden(repo: Path) -> dict[str, Tensor]:
    with np.load(repo / "tests" / "golden" / "kernels.npz", allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def _settings(golden: dict[str, Tensor], case: str) -> RasterSettings:
    height, width = golden["upstream"].shape[:2]
    return RasterSettings(width, height, sh_degree=4, antialias=case == "antialias", depth=True)


def _outputs(backend: Backend, leaves: list[Tensor], settings: RasterSettings) -> Tensor:
    rendering = backend.rasterize(*leaves, settings)
    return torch.cat([rendering.image[0], rendering.alpha[0, ..., None], rendering.depth[0, ..., None]], -1)


@pytest.mark.parametrize("case", ["plain", "antialias"])
def test_reference_in_float64_renders_what_gsplat_renders(golden: dict[str, Tensor], case: str) -> None:
    leaves = [golden[f"in_{name}"].double().requires_grad_() for name in ARGUMENTS]
    _compare(Backend("reference"), golden, case, leaves, tolerance=1e-6)


@pytest.mark.parametrize("case", ["plain", "antialias"])
def test_backend_renders_what_gsplat_renders(backend: Backend, golden: dict[str, Tensor], case: str) -> None:
    leaves = [golden[f"in_{name}"].clone().requires_grad_() for name in ARGUMENTS]
    _compare(backend, golden, case, leaves, tolerance=5e-5)


def _compare(backend: Backend, golden: dict[str, Tensor], case: str, leaves: list[Tensor], tolerance: float) -> None:
    outputs = _outputs(backend, leaves, _settings(golden, case))
    expected = golden[f"{case}_outputs"]
    assert 0.3 < expected[..., 3].mean() < 0.99, "the golden picture is empty or full"
    assert relative_error(outputs.detach(), expected) <= tolerance
    wanted = {name: leaf for name, leaf in zip(ARGUMENTS, leaves, strict=True) if name in backend.differentiated}
    loss = (outputs * golden["upstream"].to(outputs.dtype)).sum()
    gradients = torch.autograd.grad(loss, list(wanted.values()))
    errors = {}
    for name, gradient in zip(wanted, gradients, strict=True):
        assert golden[f"{case}_v_{name}"].abs().max() > 0
        errors[name] = relative_error(gradient, golden[f"{case}_v_{name}"])
    assert max(errors.values()) <= tolerance, errors


def test_sh_basis_is_the_one_that_scipy_knows(golden: dict[str, Tensor]) -> None:
    found = reference.sh_basis(golden["sh_dirs"].double(), 4)
    # The directions were rounded to float32, a polynomial of degree 4 multiplies that by about 10.
    torch.testing.assert_close(found, golden["sh_basis"].double(), rtol=0, atol=2e-6)
    assert golden["sh_basis"].abs().amax(0).min() > 0.1, "every function must be seen away from zero"


def test_sh_basis_is_orthonormal() -> None:
    """Monte-Carlo-free: Gauss-Legendre in z times equal steps in the angle integrates products of degree 8 exactly."""
    z, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(9))
    phi = torch.arange(18, dtype=torch.float64) * (2 * torch.pi / 18)
    radius = torch.sqrt(1 - z * z)
    dirs = torch.stack(
        [radius[:, None] * phi.cos(), radius[:, None] * phi.sin(), z[:, None].expand(-1, 18)], dim=-1
    ).reshape(-1, 3)
    basis = reference.sh_basis(dirs, 4)
    gram = basis.T @ (basis * weights.repeat_interleave(18)[:, None] * (2 * torch.pi / 18))
    torch.testing.assert_close(gram, torch.eye(25, dtype=torch.float64), rtol=0, atol=1e-12)


def test_reference_ssim_is_scikit_images(golden: dict[str, Tensor]) -> None:
    found = reference.ssim_map(golden["ssim_x"].double(), golden["ssim_y"].double())
    torch.testing.assert_close(found, golden["ssim_map"].double(), rtol=0, atol=1e-6)
    assert golden["ssim_map"].min() < 0.7


def test_backend_ssim_is_scikit_images(backend: Backend, golden: dict[str, Tensor]) -> None:
    loss = backend.l1_ssim_loss(golden["ssim_x"], golden["ssim_y"], None, 1.0)
    assert float(loss) == pytest.approx(1 - float(golden["ssim_map"].double().mean()), abs=2e-6)

# SPDX-License-Identifier: Apache-2.0
"""L1 + SSIM: every back end against the float64 reference; the reference against differences and known values."""

from __future__ import annotations

import math

import pytest
import torch
from parity import Backend, relative_error
from torch import Tensor

from sparse3d.kernels import reference

SIZES = [(48, 64), (17, 1), (1, 17), (1, 1), (16, 16), (11, 11), (37, 53), (5, 300)]


def _pictures(height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A picture, a noisy copy and a mask, float32. Some pixels are equal, so that |d| meets its corner."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(height, width, 3, generator=generator)
    image = target + 0.2 * torch.randn(height, width, 3, generator=generator)
    image[1::5, ::3] = target[1::5, ::3]
    mask = (torch.rand(height, width, generator=generator) < 0.7).float()
    mask[0, 0] = 1
    return image, target, mask


def _loss_and_gradient(loss, image: Tensor, target: Tensor, mask: Tensor | None, weight: float) -> tuple[float, Tensor]:
    leaf = image.clone().requires_grad_()
    value = loss(leaf, target, mask, weight)
    (gradient,) = torch.autograd.grad(value, leaf)
    return float(value.detach()), gradient


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_loss_and_gradient_match_float64(backend: Backend, size: tuple[int, int], masked: bool) -> None:
    image, target, mask = _pictures(*size)
    chosen = mask if masked else None
    for weight in (0.0, 0.2, 1.0):
        expected, v_expected = _loss_and_gradient(
            reference.l1_ssim_loss, image.double(), target.double(), None if chosen is None else chosen.double(), weight
        )
        found, v_found = _loss_and_gradient(backend.l1_ssim_loss, image, target, chosen, weight)
        assert found == pytest.approx(expected, rel=2e-5, abs=1e-6)
        assert v_found.shape == image.shape
        # Where picture and target are equal |d| has slope 0 in the reference and in every back end.
        assert relative_error(v_found, v_expected) < 2e-4, f"weight {weight}"
        if masked:
            assert (v_found[mask == 0] == 0).all(), "a pixel outside the mask has a gradient"


def test_flat_black_pictures_stay_finite(backend: Backend) -> None:
    """Variances are zero and means are zero: only C1 and C2 keep the quotient."""
    black = torch.zeros(20, 20, 3)
    value, gradient = _loss_and_gradient(backend.l1_ssim_loss, black, black, None, 0.2)
    assert value == pytest.approx(0.0, abs=1e-6)
    assert gradient.abs().max() < 1e-6
    value, gradient = _loss_and_gradient(backend.l1_ssim_loss, black + 1, black, None, 0.2)
    expected, v_expected = _loss_and_gradient(reference.l1_ssim_loss, (black + 1).double(), black.double(), None, 0.2)
    assert value == pytest.approx(expected, rel=1e-5)
    assert relative_error(gradient, v_expected) < 1e-3


def test_an_empty_mask_gives_zero(backend: Backend) -> None:
    image, target, mask = _pictures(20, 20)
    value, gradient = _loss_and_gradient(backend.l1_ssim_loss, image, target, mask * 0, 0.2)
    assert value == 0
    assert (gradient == 0).all()


def test_nothing_outside_the_mask_matters(backend: Backend) -> None:
    image, target, mask = _pictures(24, 30)
    other = image + 5 * (1 - mask[..., None])
    first, v_first = _loss_and_gradient(backend.l1_ssim_loss, image, target, mask, 0.5)
    second, v_second = _loss_and_gradient(backend.l1_ssim_loss, other, target, mask, 0.5)
    assert first == second
    assert torch.equal(v_first, v_second)
    unmasked, _ = _loss_and_gradient(backend.l1_ssim_loss, other, target, None, 0.5)
    assert abs(unmasked - first) > 0.1


@pytest.mark.parametrize("masked", [False, True])
def test_reference_gradient_equals_finite_differences(masked: bool) -> None:
    image, target, mask = (part.double() for part in _pictures(7, 13, seed=3))
    image = image + 0.05  # No pixel sits on the corner of |d|.
    chosen = mask if masked else None
    _, gradient = _loss_and_gradient(reference.l1_ssim_loss, image, target, chosen, 0.4)
    step = 1e-6
    for entry in range(0, image.numel(), 5):
        moved = []
        for sign in (1, -1):
            picture = image.contiguous().clone()
            picture.view(-1)[entry] += sign * step
            moved.append(float(reference.l1_ssim_loss(picture, target, chosen, 0.4)))
        assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(float(gradient.reshape(-1)[entry]), abs=1e-8)


def test_a_backend_gradient_equals_finite_differences(backend: Backend) -> None:
    """Large steps: SSIM is smooth, and float32 leaves about 1e-7 of a loss near 0.3."""
    image, target, _ = _pictures(16, 20, seed=4)
    _, gradient = _loss_and_gradient(backend.l1_ssim_loss, image, target, None, 1.0)
    generator = torch.Generator().manual_seed(5)
    for _ in range(4):
        direction = torch.randn(image.shape, generator=generator)
        step = 2e-3
        ahead, behind = (float(backend.l1_ssim_loss(image + s * step * direction, target, None, 1.0)) for s in (1, -1))
        along = float((gradient * direction).double().sum())
        assert (ahead - behind) / (2 * step) == pytest.approx(along, rel=0.02, abs=2e-3)


def test_equal_pictures_have_ssim_one() -> None:
    image, _, _ = _pictures(30, 20)
    torch.testing.assert_close(reference.ssim_map(image.double(), image.double()), torch.ones(30, 20, 3).double())


def test_ssim_of_constant_pictures_is_the_luminance_term() -> None:
    """Far from the border a constant x and y leave (2xy + C1) / (x^2 + y^2 + C1), equation 6 of Wang et al."""
    x, y = torch.full((31, 31, 3), 0.6).double(), torch.full((31, 31, 3), 0.3).double()
    expected = (2 * 0.6 * 0.3 + 1e-4) / (0.36 + 0.09 + 1e-4)
    assert float(reference.ssim_map(x, y)[15, 15, 0]) == pytest.approx(expected, rel=1e-6)


def test_psnr_of_a_known_error() -> None:
    target = torch.zeros(8, 9, 3).double()
    image = target + 0.1
    mask = torch.ones(8, 9).double()
    assert float(reference.psnr(image, target)) == pytest.approx(20.0)
    image[0, 0] = 1
    mask[0, 0] = 0
    assert float(reference.psnr(image, target, mask)) == pytest.approx(20.0)
    assert float(reference.psnr(image, target)) == pytest.approx(-10 * math.log10((71 * 0.01 + 1) / 72))

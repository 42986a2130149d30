# SPDX-License-Identifier: Apache-2.0
"""PSNR, SSIM and LPIPS as metrics: rounding, masks, edges."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sparse3d.errors import DataError
from sparse3d.loss import Lpips, composite, psnr, rounded, ssim
from sparse3d.loss.lpips import _BLOCKS, _CHANNELS


def pictures(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    target = torch.rand(24, 30, 3, generator=g)
    return rounded(target + 0.1 * torch.randn(24, 30, 3, generator=g)), rounded(target)


def test_rounding_is_that_of_an_8_bit_file():
    levels = rounded(torch.tensor([-0.3, 0.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.7])) * 255
    assert levels.round().tolist() == [0, 0, 0, 1, 255, 255]
    assert torch.equal(levels, levels.round())


def test_psnr_is_that_of_the_mean_squared_error():
    image, target = pictures()
    expected = 10 * math.log10(1 / float(((image - target) ** 2).mean()))
    assert psnr(image, target) == pytest.approx(expected, abs=1e-9)
    assert psnr(target, target) == 120.0
    assert psnr(torch.zeros(4, 4, 3), torch.full((4, 4, 3), 0.1)) == pytest.approx(20.0, abs=1e-5)


def test_a_mask_leaves_the_rest_out():
    image, target = pictures()
    mask = torch.zeros(24, 30)
    mask[5:20, 4:25] = 1
    outside = image.clone()
    outside[mask == 0] = 1.0 - outside[mask == 0]
    assert psnr(image, target, mask) == psnr(outside, target, mask)
    assert ssim(image, target, mask) == ssim(outside, target, mask)
    assert psnr(image, target) != psnr(outside, target)
    assert math.isnan(psnr(image, target, torch.zeros(24, 30)))
    assert torch.equal(composite(image, mask)[0], torch.zeros(30, 3, dtype=torch.float64))


def test_ssim_is_one_for_equal_and_falls_with_noise():
    image, target = pictures()
    assert ssim(target, target) == pytest.approx(1.0, abs=1e-12)
    assert 0.3 < ssim(image, target) < 0.99


def lpips_weights() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    weights = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1, generator=g) for i, c in enumerate(_CHANNELS)}
    before = 3
    for block, channels in zip(_BLOCKS, _CHANNELS):
        for layer in block:
            weights[f"features.{layer}.weight"] = torch.randn(channels, before, 3, 3, generator=g) * 0.05
            weights[f"features.{layer}.bias"] = torch.zeros(channels)
            before = channels
    return weights


def test_lpips_of_weights_in_a_file(tmp_path: Path):
    """With random weights: what must hold for any. The published weights are not here."""
    path = tmp_path / "vgg.safetensors"
    save_file(lpips_weights(), path)
    distance = Lpips(path)
    image, target = pictures()
    assert distance(target, target) == 0.0
    near = distance(target + 0.25 * (image - target), target)
    assert 0 < near < distance(image, target)
    assert distance(image, target) == pytest.approx(distance(target, image), rel=1e-5)


def test_wrong_lpips_weights_are_named(tmp_path: Path):
    weights = lpips_weights()
    path = tmp_path / "vgg.safetensors"
    save_file({k: v for k, v in weights.items() if k != "features.10.bias"}, path)
    with pytest.raises(DataError, match=r"lack 'features\.10\.bias'"):
        Lpips(path)
    save_file(weights | {"lin2.model.1.weight": torch.zeros(1, 64, 1, 1)}, path)
    with pytest.raises(DataError, match=r"lin2\.model\.1\.weight has shape \(1, 64, 1, 1\), expected \(1, 256, 1, 1\)"):
        Lpips(path)
    with pytest.raises(DataError, match="cannot be read"):
        Lpips(tmp_path / "none.safetensors")

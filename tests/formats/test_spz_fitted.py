# SPDX-License-Identifier: Apache-2.0
"""Bits of harmonics fitted to the scene."""

from __future__ import annotations

import pytest
import torch

from sparse3d.compress.order import morton_order
from sparse3d.formats import FORMATS, WriteOptions
from sparse3d.formats.spz.fitted import fitted_sh_bits
from sparse3d.splats import Splats, num_sh_rest

COUNT = 400


def splats_with(rms: float, degree: int = 3) -> Splats:
    generator = torch.Generator().manual_seed(5)
    return Splats(
        means=torch.randn(COUNT, 3, generator=generator),
        quats_wxyz=torch.randn(COUNT, 4, generator=generator),
        log_scales=torch.full((COUNT, 3), -3.0),
        logit_opacities=torch.full((COUNT,), 2.0),
        sh0=torch.randn(COUNT, 1, 3, generator=generator),
        shN=rms * torch.randn(COUNT, num_sh_rest(degree), 3, generator=generator),
    )


@pytest.mark.parametrize(("rms", "bits"), [(0.026, 6.0), (0.052, 5.0), (0.2, 4.5), (0.001, 8.0), (0.0, 4.5)])
def test_bits_follow_the_size_of_harmonics(rms: float, bits: float):
    assert fitted_sh_bits(splats_with(rms)) == bits


def test_degree_0_has_the_fewest():
    assert fitted_sh_bits(splats_with(0.0, degree=0)) == 4.5


def test_fitted_bits_keep_small_harmonics():
    """Where the format's usual bits leave next to nothing of them."""
    splats = splats_with(0.02)
    power = float(splats.shN.square().mean())
    spz = FORMATS["spz"]
    bits = fitted_sh_bits(splats)
    knobs = {"sh1_bits": bits, "sh_rest_bits": bits}
    wanted = splats.shN[morton_order(splats.means)]
    usual, fitted = (
        float((spz.quantised(splats, WriteOptions(knobs=k)).shN - wanted).square().mean()) for k in ({}, knobs)
    )
    assert usual > 0.5 * power
    assert fitted < 0.15 * power

# SPDX-License-Identifier: Apache-2.0
"""Cutting bands of colour: what it is said to change, it changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparse3d.compress.sh_cut import cut_sh, kept_degrees, sh_effect, threshold_for, with_degrees
from sparse3d.errors import UsageError
from sparse3d.splats import Splats
from tests.compress.scene import squared_error
from tests.train import tiny


def coloured(degree: int = 2) -> Splats:
    """The tiny scene with view-dependent colours of several strengths."""
    generator = torch.Generator().manual_seed(5)
    rest = torch.randn(150, (degree + 1) ** 2 - 1, 3, generator=generator) * 0.15
    rest *= torch.rand(150, 1, 1, generator=generator) ** 3
    return replace(tiny.true_splats(), shN=rest, sh0=tiny.true_splats().sh0 * 0.5)


def test_the_effect_is_the_change_of_the_pictures():
    splats = coloured()
    effect = sh_effect(splats, tiny.cameras(), probes=60)
    said, true = [], []
    for row in range(0, 150, 15):
        degree = torch.full((150,), 2, dtype=torch.uint8)
        degree[row] = 0
        said.append(float(effect.change[row, 0]))
        true.append(squared_error(with_degrees(splats, effect, degree), splats))
    assert np.std(true) > 0.0
    assert np.corrcoef(said, true)[0, 1] > 0.97
    assert sum(said) == pytest.approx(sum(true), rel=0.2)


def test_the_base_colour_takes_over_what_all_views_share():
    splats = coloured()
    effect = sh_effect(splats, tiny.cameras())
    bare = replace(splats, shN=torch.zeros_like(splats.shN))
    mended = with_degrees(splats, effect, torch.zeros(150, dtype=torch.uint8))
    assert squared_error(mended, splats) < 0.9 * squared_error(bare, splats)


def test_cutting_by_effect_changes_less_than_cutting_anywhere():
    splats = coloured()
    effect = sh_effect(splats, tiny.cameras())
    threshold = threshold_for(effect, 150 * 4)
    cut, degree = cut_sh(splats, effect, threshold)
    assert torch.equal(kept_degrees(cut), degree)
    assert int(((degree.long() + 1) ** 2 - 1).sum()) <= 600
    assert len(set(degree.tolist())) == 3
    anywhere = degree[torch.randperm(150, generator=torch.Generator().manual_seed(2))]
    assert squared_error(cut, splats) < 0.4 * squared_error(with_degrees(splats, effect, anywhere), splats)


def test_thresholds():
    splats = coloured()
    effect = sh_effect(splats, tiny.cameras())
    assert (effect.change[:, 0] >= effect.change[:, 1]).all()
    same, degree = cut_sh(splats, effect, 0.0)
    assert torch.equal(same.shN, splats.shN)
    assert (degree == 2).all()
    assert threshold_for(effect, 150 * 8) == 0.0
    cut, degree = cut_sh(splats, effect, threshold_for(effect, 0))
    assert not degree.any()
    assert not cut.shN.any()
    with pytest.raises(UsageError, match="must be 0 or more"):
        cut_sh(splats, effect, -1.0)
    with pytest.raises(UsageError, match="at least one view"):
        sh_effect(splats, [])


def test_splats_without_bands_stay_as_they_are():
    flat = replace(tiny.true_splats(), shN=torch.zeros(150, 0, 3))
    effect = sh_effect(flat, tiny.cameras()[:2])
    cut, degree = cut_sh(flat, effect, 1.0)
    assert effect.change.shape == (150, 0)
    assert torch.equal(cut.sh0, flat.sh0)
    assert not degree.any()
    assert threshold_for(effect, 0) == 0.0

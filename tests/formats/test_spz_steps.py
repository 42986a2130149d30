# SPDX-License-Identifier: Apache-2.0
"""SPZ's bytes: harmonics rounded by weight, orders and entropy coders that lose nothing."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace

import numpy as np
import torch

from sparse3d.formats import FORMATS, WriteOptions
from sparse3d.formats.spz.effort import best_deflate
from sparse3d.formats.spz.steps import log2_weights, sh_steps
from tests.formats.makers import make_splats


def test_weights_are_opacity_squared_times_area() -> None:
    logits = np.array([0.0, 0.0, 40.0], np.float32)
    log_scales = np.log(np.array([[1, 1, 0.1], [2, 3, 1], [1, 1, 0.1]], np.float32))
    weights = 2.0 ** log2_weights(logits, log_scales)
    assert np.allclose(weights / weights[0], [1, 6, 4], rtol=1e-4)
    assert np.isclose(weights.mean(), 1, rtol=1e-4)


def test_steps_follow_bits_and_weights() -> None:
    steps = sh_steps(np.array([0.0, -4.0, 4.0, -60.0], np.float32), (5, 4), 0.5, 8)
    assert steps[:, 0].tolist() == [8, 16, 4, 128]
    assert steps[:, 5].tolist() == [16, 32, 8, 128]
    assert (sh_steps(np.array([-9.0, 9.0], np.float32), (8, 8), 0.0, 8) == 1).all()


def test_a_faint_splat_is_rounded_coarser_than_a_strong_one() -> None:
    splats = make_splats(200, 3)
    splats = replace(splats, logit_opacities=torch.where(torch.arange(200) < 100, 4.0, -4.0))
    found = FORMATS["spz"].quantised(splats, WriteOptions())
    index = torch.cdist(found.means, splats.means).argmin(dim=1)
    error = (found.shN - splats.shN[index]).square().mean(dim=(1, 2))
    assert float(error[index < 100].mean()) < 0.25 * float(error[index >= 100].mean())


def test_high_effort_changes_bytes_but_no_value() -> None:
    splats, sizes, scenes = make_splats(3000, 3), [], []
    for effort in ("default", "high"):
        file = io.BytesIO()
        FORMATS["spz"].write(file, splats, WriteOptions(effort=effort))
        sizes.append(file.tell())
        file.seek(0)
        scenes.append(FORMATS["spz"].read(file))
    assert sizes[1] < sizes[0]
    same = torch.cdist(scenes[1].means, scenes[0].means).argmin(dim=1)
    for (name, a), (_, b) in zip(scenes[1].named(), scenes[0].select(same).named()):
        assert torch.equal(a, b), name


def test_best_deflate_is_deflate() -> None:
    data = bytes(range(256)) * 40 + b"the end"
    assert zlib.decompress(best_deflate()(data), wbits=-15) == data

# SPDX-License-Identifier: Apache-2.0
"""`file_order`: which splat of the input each row of a file is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sparse3d.formats import FORMATS, WriteOptions
from tests.formats.makers import make_splats

WRITABLE = [fmt for fmt in FORMATS if fmt.limits.writable]


@pytest.mark.parametrize("chosen", WRITABLE, ids=lambda fmt: fmt.name)
def test_rows_of_the_file_are_those_of_the_order(chosen: Any) -> None:
    splats = make_splats(300, 1)
    order = chosen.file_order(splats)
    assert sorted(order.tolist()) == list(range(300))
    shown = chosen.quantised(splats, WriteOptions())
    near = shown.means - splats.means[order]
    assert float(near.abs().max()) < 0.05
    mixed = shown.means - splats.means[order].flip(0)
    assert float(mixed.abs().max()) > 0.5
    assert torch.allclose(shown.opacities, splats.opacities[order], atol=0.02)

# SPDX-License-Identifier: Apache-2.0
"""Options of writing: what is not known is refused with what is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sparse3d import formats
from sparse3d.errors import UsageError
from sparse3d.formats import FORMATS, WriteOptions
from tests.formats.test_ply import make_splats


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"knobs": {"sharpness": 3}}, "ply has no knob 'sharpness' \\(known: none\\)"),
        ({"version": 7}, "ply cannot be written as version 7: it has no versions; leave it away"),
        ({"sh_degree": 5}, "sh_degree is 5, expected 0 to 4"),
        ({"effort": "extreme"}, "effort is 'extreme', expected 'default' or 'high'"),
    ],
)
def test_wrong_options_are_refused_before_the_file_exists(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        formats.write(tmp_path / "a.ply", make_splats(2), WriteOptions(**options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("degree", [None, 0, 1, 2, 3])
def test_quantised_is_what_is_read_back(tmp_path: Path, degree: int | None) -> None:
    splats, opts = make_splats(5, 2, antialias=True), WriteOptions(sh_degree=degree)
    formats.write(tmp_path / "a.ply", splats, opts)
    again, expected = formats.read(tmp_path / "a.ply"), FORMATS["ply"].quantised(splats, opts)
    assert again.antialias == expected.antialias
    for (name, a), (_, b) in zip(again.named(), expected.named()):
        assert torch.equal(a, b), name

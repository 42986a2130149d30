# SPDX-License-Identifier: Apache-2.0
"""What a writer cuts off or rounds far is counted in one sentence, and what it keeps is in none."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
import torch

from sparse3d import formats
from sparse3d.errors import DataError
from sparse3d.export.coder import Coder
from sparse3d.formats import FORMATS, WriteOptions
from sparse3d.splats import Splats
from tests.formats.makers import make_splats

WRITABLE = [fmt.name for fmt in FORMATS if fmt.limits.writable]


def notes_of(name: str, splats: Splats) -> tuple[str, ...]:
    """Without the note on dropped degrees, which other tests have."""
    notes = FORMATS[name].write(io.BytesIO(), splats, WriteOptions())
    return tuple(note for note in notes if "above degree" not in note)


@pytest.mark.parametrize("name", WRITABLE)
def test_nothing_is_said_of_splats_inside_of_every_range(name: str) -> None:
    splats = make_splats(300, 3)
    splats.sh0.mul_(0.9)
    assert notes_of(name, splats) == ()


SMALL, LARGE = "splats are thinner than", "splats are larger than"


@pytest.mark.parametrize(
    ("name", "parameter", "value", "sentence"),
    [
        ("spz", "log_scales", -10.2, f"3 {SMALL} 4.5e-05 units"),
        ("spz", "log_scales", -math.inf, f"3 {SMALL} 4.5e-05 units"),
        ("spz", "log_scales", 6.2, f"3 {LARGE} 379 units"),
        ("spz", "sh0", 3.6, "base colours of 3 splats lie outside of -3.33333..3.33333 and were cut"),
        ("spz", "shN", -1.2, "harmonics of 3 splats lie outside of -1..0.992188 and were cut"),
        ("html", "shN", 1.2, "harmonics of 3 splats lie outside of -1..0.992188 and were cut"),
        ("glb-spz", "log_scales", 6.2, f"3 {LARGE} 379 units"),
        ("compressed.ply", "log_scales", 20.5, f"3 {LARGE} 4.85e+08 units"),
        ("compressed.ply", "log_scales", -20.5, f"3 {SMALL} 2.1e-09 units"),
        ("compressed.ply", "shN", 4.1, "harmonics of 3 splats lie outside of -4..4 and were cut"),
        ("compressed.ply", "sh0", 100.0, "colours of 256 splats are rounded to steps of more than 0.05 of white"),
        ("splat", "sh0", 2.0, "colours of 3 splats lie outside of 0..1 and were cut"),
        ("splat", "log_scales", -21.0, f"3 {SMALL} 1e-09 units"),
        ("splat", "log_scales", math.inf, f"3 {LARGE} 1.65e+38 units"),
        ("glb", "log_scales", 81.0, f"3 {LARGE} 5.54e+34 units"),
        ("sog", "log_scales", -31.0, f"3 {SMALL} 9.4e-14 units"),
    ],
)
def test_what_is_cut_is_counted(name: str, parameter: str, value: float, sentence: str) -> None:
    splats = make_splats(300, 3)
    splats.sh0.mul_(0.9)
    # Three splats that lie together, so that one chunk of a compressed PLY has them.
    splats.means[:3] = torch.tensor([0.3, -0.7, 1.9])
    getattr(splats, parameter)[:3] = value
    found = notes_of(name, splats)
    assert len(found) == 1
    assert found[0].startswith(sentence)


@pytest.mark.parametrize("name", ["compressed.ply", "spz", "glb", "splat"])
def test_a_flat_splat_stays_so_without_a_word_where_it_can(name: str) -> None:
    splats = make_splats(300, 0)
    splats.sh0.mul_(0.9)
    splats.log_scales[:5, 2] = -math.inf
    assert len(notes_of(name, splats)) == (name == "spz")


def test_too_few_entries_are_said_in_bundle_and_folder(tmp_path: Path) -> None:
    few = WriteOptions(knobs={"scale_entries": 2, "colour_entries": 2, "palette": 2})
    splats = make_splats(300, 1)
    splats.shN.mul_(3)
    for path in (tmp_path / "a.sog", tmp_path / "a" / "meta.json"):
        path.parent.mkdir(exist_ok=True)
        notes = formats.write(path, splats, few)
        assert [note.split(" of ")[0] for note in notes] == ["sizes", "base colours", "harmonics"]
        assert Coder(path, few).encode(splats, few).notes == notes


@pytest.mark.parametrize("name", [name for name in WRITABLE if name not in ("ply", "sog")])
@pytest.mark.parametrize("parameter", ["means", "quats_wxyz", "log_scales", "logit_opacities", "sh0"])
def test_nan_is_not_written(name: str, parameter: str) -> None:
    splats = make_splats(20, 0)
    getattr(splats, parameter)[7] = math.nan
    with pytest.raises(DataError, match=rf"cannot be written: {parameter} is NaN.* in 1 splats, the first is splat 7"):
        FORMATS[name].write(io.BytesIO(), splats, WriteOptions())

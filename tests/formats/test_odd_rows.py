# SPDX-License-Identifier: Apache-2.0
"""For every reader, every odd row and every writer: the picture before and after agrees to 30 dB, or a sentence says
what is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sparse3d import formats
from sparse3d.splats import Splats
from tests.formats import odd_rows
from tests.formats.odd_rows import COUNT, KINDS, ODD, PACKED, RAW
from tests.formats.test_rows import picture, psnr

WRITERS = [fmt.suffixes[0] for fmt in formats.FORMATS if fmt.limits.writable]
# Values that some formats cannot hold, and what their sentences speak of. All else must be kept by every format.
MAY_BE_LOST = {
    "larger than anything": "larger than",
    "bright": "colours",
    "much too bright": "colours",
    "strong harmonics": "harmonics",
    "far too strong harmonics": "harmonics",
}
GONE = ("no rotation", "nan place", "nan scale")


def seen(splats: Splats) -> torch.Tensor:
    """The picture as it would be saved."""
    return picture(splats).clamp(0.0, 1.0)


def scene(kind: str) -> Splats:
    splats = odd_rows.plain()
    KINDS[kind](splats)
    return splats


def losses(tmp_path: Path, splats: Splats, lost: str | None) -> list[str]:
    """What each writer loses without a sentence on `lost` (None: that it loses at all)."""
    before, silent = seen(splats), []
    assert before.std() > 0.05
    for suffix in WRITERS:
        notes = formats.write(tmp_path / f"out{suffix}", splats)
        after, more = formats.read_with_notes(tmp_path / f"out{suffix}")
        agreement = psnr(before, seen(after))
        said = lost is not None and any(lost in note for note in notes)
        if more or not (agreement > 30.0 or said):
            silent.append(f"{suffix}: {agreement:.1f} dB, notes {notes}, on reading {more}")
    return silent


def test_the_writers_are_those_of_all_formats() -> None:
    assert set(WRITERS) == {".ply", ".compressed.ply", ".spz", ".sog", ".glb", ".spz.glb", ".html", ".splat"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", RAW)
def test_what_is_written_shows_what_was_read(tmp_path: Path, source: str, kind: str) -> None:
    path = tmp_path / f"in{source}"
    path.write_bytes(RAW[source](scene(kind)))
    splats, notes = formats.read_with_notes(path, drop_invalid=True)
    left_out = ODD.stop - ODD.start if kind in GONE else 0
    assert splats.num_splats == COUNT - left_out
    assert [note.split(" rows ")[0] for note in notes] == ([f"{left_out} of {COUNT}"] if left_out else [])
    assert losses(tmp_path, splats, MAY_BE_LOST.get(kind)) == []


@pytest.mark.parametrize("source", PACKED)
def test_what_is_written_shows_what_was_unpacked(tmp_path: Path, source: str) -> None:
    suffix, pack = PACKED[source]
    path = tmp_path / f"in{suffix}"
    path.write_bytes(pack(odd_rows.plain()))
    splats, notes = formats.read_with_notes(path)
    assert (splats.num_splats, notes) == (COUNT, ())
    assert losses(tmp_path, splats, "colours" if source == "sog" or source.startswith("spz") else None) == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.endswith("rotation") and kind != "no rotation"])
@pytest.mark.parametrize("source", RAW)
def test_a_rotation_of_any_length_is_the_same(tmp_path: Path, source: str, kind: str) -> None:
    path = tmp_path / f"in{source}"
    path.write_bytes(RAW[source](odd_rows.plain()))
    usual = seen(formats.read(path))
    path.write_bytes(RAW[source](scene(kind)))
    assert psnr(usual, seen(formats.read(path))) > 55.0


@pytest.mark.parametrize("source", RAW)
def test_opaque_and_invisible_rows_are_what_they_say(tmp_path: Path, source: str) -> None:
    path = tmp_path / f"in{source}"
    path.write_bytes(RAW[source](scene("opaque")))
    assert float(formats.read(path).opacities[ODD].min()) > 0.998
    path.write_bytes(RAW[source](scene("invisible")))
    read = formats.read(path)
    kept = torch.ones(COUNT, dtype=torch.bool)
    kept[ODD] = False
    assert psnr(seen(read), seen(read.select(kept))) > 60.0

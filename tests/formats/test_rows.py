# SPDX-License-Identifier: Apache-2.0
"""Odd rows mean the same in every format, and what is written shows what was read."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from sparse3d import formats
from sparse3d.camera import Camera
from sparse3d.cli.main import main
from sparse3d.errors import DataError
from sparse3d.render import render
from sparse3d.splats import Splats

GOOD, ZERO, OPAQUE, GONE, FLAT = 60, 4, 3, 2, 2


def scene() -> Splats:
    """Good splats, rows of zeros as Postshot left them, opaque ones (+inf), invisible ones (-inf) and flat ones."""
    generator = torch.Generator().manual_seed(3)
    count = GOOD + ZERO + OPAQUE + GONE + FLAT

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    splats = Splats(
        means=uniform(-1.0, 1.0, count, 3),
        quats_wxyz=torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=1),
        log_scales=uniform(-3.0, -1.5, count, 3),
        logit_opacities=uniform(-1.0, 3.0, count),
        sh0=uniform(-1.0, 1.0, count, 1, 3),
        shN=torch.zeros(count, 0, 3),
    )
    zero = slice(GOOD, GOOD + ZERO)
    for name, tensor in splats.named():
        if name != "shN":
            tensor[zero] = 0.0
    at = GOOD + ZERO
    splats.logit_opacities[at : at + OPAQUE] = math.inf
    splats.logit_opacities[at + OPAQUE : at + OPAQUE + GONE] = -math.inf
    splats.log_scales[-FLAT:, 2] = -math.inf
    return splats


def write_ply(path: Path, splats: Splats) -> Path:
    """As other programs do, with whatever is in the rows."""
    names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", *(f"scale_{i}" for i in range(3))]
    names += [f"rot_{i}" for i in range(4)]
    columns = (splats.means, splats.sh0[:, 0], splats.logit_opacities[:, None], splats.log_scales, splats.quats_wxyz)
    rows = torch.cat(columns, dim=1).numpy().astype("<f4")
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n"
    header += "".join(f"property float {name}\n" for name in names) + "end_header\n"
    path.write_bytes(header.encode() + rows.tobytes())
    return path


def picture(splats: Splats) -> torch.Tensor:
    pose = np.eye(4)
    pose[2, 3] = 3.0
    return render(splats, Camera(96, 96, 90.0, 90.0, 48.0, 48.0, pose)).image.clone()


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return -10.0 * math.log10(float((a - b).square().mean()) + 1e-12)


@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply", "a.spz", "a.sog", "a.glb", "a.splat"])
def test_what_is_written_shows_what_was_read(tmp_path: Path, name: str) -> None:
    read, notes = formats.read_with_notes(write_ply(tmp_path / "odd.ply", scene()))
    assert read.num_splats == GOOD + OPAQUE + GONE + FLAT
    assert notes == (
        f"{ZERO} of {GOOD + ZERO + OPAQUE + GONE + FLAT} rows have a rotation of exactly zero and are no splats: they "
        "were left out",
    )
    before = picture(read)
    assert before.std() > 0.05
    good = scene()
    kept = torch.ones(good.num_splats, dtype=torch.bool)
    kept[GOOD : GOOD + ZERO] = False
    assert psnr(before, picture(good.select(kept))) > 60.0
    formats.write(tmp_path / name, read)
    after, more = formats.read_with_notes(tmp_path / name)
    assert not more
    assert psnr(before, picture(after)) > 30.0


def bad_rows() -> Splats:
    """Six bad rows of five kinds, one of them bad twice."""
    splats = scene()
    splats.means[0, 0] = math.nan
    splats.means[1, 1] = math.inf
    splats.sh0[1, 0, 2] = math.nan
    splats.log_scales[2, 1] = math.inf
    splats.logit_opacities[3] = math.nan
    splats.quats_wxyz[4, 0] = -math.inf
    splats.log_scales[5, 0] = math.nan
    return splats


def test_bad_rows_are_counted_all_at_once_and_left_out_on_request(tmp_path: Path) -> None:
    path = write_ply(tmp_path / "bad.ply", bad_rows())
    with pytest.raises(
        DataError, match=r"6 of 67 splats hold NaN .*x y z in 2, rot in 1, scale in 2, opacity in 1, f_dc"
    ):
        formats.read(path)
    splats, notes = formats.read_with_notes(path, drop_invalid=True)
    assert splats.num_splats == GOOD + OPAQUE + GONE + FLAT - 6
    assert len(notes) == 2
    assert notes[1].startswith("6 of 67 rows hold NaN or infinite values")


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    splats = scene()
    splats.means[:] = math.nan
    with pytest.raises(DataError, match="so nothing is left; export the scene again"):
        formats.read_with_notes(write_ply(tmp_path / "bad.ply", splats), drop_invalid=True)


def splat_row(mean: tuple[float, float, float], quat: tuple[int, int, int, int]) -> bytes:
    """A row of a .splat file."""
    return struct.pack("<6f8B", *mean, 0.1, 0.1, 0.1, 200, 100, 50, 255, *quat)


def test_zero_and_bad_rows_of_dot_splat(tmp_path: Path) -> None:
    path = tmp_path / "a.splat"
    good = splat_row((0.0, 0.0, 0.0), (255, 128, 128, 128))
    path.write_bytes(
        good + splat_row((0.1, 0.0, 0.0), (128, 128, 128, 128)) + splat_row((math.nan, 0, 0), (255, 128, 128, 128))
    )
    with pytest.raises(DataError, match="1 of 2 splats hold NaN"):
        formats.read(path)
    splats, notes = formats.read_with_notes(path, drop_invalid=True)
    assert (splats.num_splats, len(notes)) == (1, 2)


@pytest.mark.parametrize("command", ["convert", "export", "info", "render"])
def test_commands_go_on_without_bad_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    path = str(write_ply(tmp_path / "bad.ply", bad_rows()))
    words = {
        "convert": [path, str(tmp_path / "out.spz")],
        "export": [path, str(tmp_path / "out.spz"), "--max-splats", "50"],
        "info": [path],
        "render": [path, "--out", str(tmp_path / "pictures"), "--frames", "1", "--size", "32x32"],
    }[command]
    assert main([command, *words]) == 3
    assert "add --drop-invalid to go on without them" in capsys.readouterr().err
    assert main([command, *words, "--drop-invalid"]) == 0
    shown = capsys.readouterr()
    assert "6 of 67 rows hold NaN or infinite values" in shown.out + shown.err

# SPDX-License-Identifier: Apache-2.0
"""SPZ, .splat and compressed PLY: there and back, from three sides, with every option."""

from __future__ import annotations

import gzip
import io
import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparse3d import formats
from sparse3d.camera import Camera
from sparse3d.errors import DataError
from sparse3d.formats import FORMATS, WriteOptions
from sparse3d.render import render
from sparse3d.render.camera_path import look_at
from sparse3d.splats import Splats
from tests.formats.makers import differences, make_splats

LOSSY = [fmt for fmt in FORMATS if fmt.limits.lossy and fmt.limits.writable and fmt.name in
         ("compressed.ply", "splat", "spz")]  # fmt: skip
NAMES = [fmt.name for fmt in LOSSY]
# Half of the format's own step, harmonics at the finest setting.
STEPS = {
    "spz": {"means": 0.02, "rotations": 0.004, "log_scales": 0.0313, "opacities": 0.002, "sh0": 0.0131, "sh1": 0.0041,
            "sh_rest": 0.0041},
    "compressed.ply": {"means": 0.002, "rotations": 0.003, "log_scales": 0.001, "opacities": 0.002, "sh0": 0.005,
                       "sh1": 0.0157, "sh_rest": 0.0157},
    "splat": {"means": 1e-6, "rotations": 0.02, "log_scales": 1e-5, "opacities": 0.002, "sh0": 0.007},
}  # fmt: skip
FINE = {"spz": WriteOptions(knobs={"sh1_bits": 8, "sh_rest_bits": 8, "sh_rounding": 0})}


def written(fmt: formats.Format, splats: Splats, opts: WriteOptions | None = None) -> bytes:
    file = io.BytesIO()
    fmt.write(file, splats, opts or FINE.get(fmt.name, WriteOptions()))
    return file.getvalue()


@pytest.mark.parametrize("fmt", LOSSY, ids=NAMES)
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_there_and_back(fmt: formats.Format, degree: int) -> None:
    splats = make_splats(40, degree, antialias=True)
    again = fmt.read(io.BytesIO(written(fmt, splats)))
    assert again.sh_degree == min(degree, fmt.limits.max_sh_degree)
    assert again.antialias == fmt.limits.keeps_antialias
    found = differences(again, splats)
    assert {name: d for name, d in found.items() if d > STEPS[fmt.name].get(name, 0.0)} == {}


@pytest.mark.parametrize("fmt", LOSSY, ids=NAMES)
@pytest.mark.parametrize("opts", [WriteOptions(), WriteOptions(sh_degree=1), WriteOptions(effort="high")])
def test_quantised_is_what_is_read_back(fmt: formats.Format, opts: WriteOptions) -> None:
    splats = make_splats(300, 3)
    again = fmt.read(io.BytesIO(written(fmt, splats, opts)))
    for (name, a), (_, b) in zip(again.named(), fmt.quantised(splats, opts).named()):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("fmt", LOSSY, ids=NAMES)
@pytest.mark.parametrize("effort", ["default", "high"])
def test_the_same_splats_give_the_same_bytes(fmt: formats.Format, effort: str) -> None:
    splats, opts = make_splats(500, 2), WriteOptions(effort="high" if effort == "high" else "default")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = written(fmt, splats, opts)
        torch.set_num_threads(4)
        assert written(fmt, splats, opts) == one
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("fmt", LOSSY, ids=NAMES)
def test_a_second_writing_changes_nothing(fmt: formats.Format) -> None:
    """Values on the steps stay on them (chunks of a compressed PLY may be cut elsewhere)."""
    once = fmt.quantised(make_splats(200, 3), FINE.get(fmt.name, WriteOptions()))
    twice = fmt.quantised(once, FINE.get(fmt.name, WriteOptions()))
    found = differences(twice, once)
    limits = STEPS[fmt.name] if fmt.name == "compressed.ply" else {"rotations": 0.012}
    assert {name: d for name, d in found.items() if d > limits.get(name, 2e-5)} == {}


def three_sides(size: int = 96) -> list[Camera]:
    centre, cameras = np.array([0.3, -0.7, 1.9]), []
    for direction in ([1.0, 0.2, -0.4], [-0.3, -1.0, 0.5], [0.2, 0.6, 1.0]):
        eye = centre + 6 * np.array(direction) / np.linalg.norm(direction)
        pose = look_at(eye, centre, np.array([0.1, -1.0, 0.2]))
        cameras.append(Camera(size, size, size * 1.2, size * 1.2, size / 2, size / 2, pose))
    return cameras


def psnr(a: Splats, b: Splats) -> list[float]:
    out = []
    for camera in three_sides():
        error = (render(a, camera).image - render(b, camera).image).square().mean()
        out.append(-10 * math.log10(max(float(error), 1e-12)))
    return out


@pytest.mark.parametrize("fmt", LOSSY, ids=NAMES)
def test_looks_the_same_from_three_sides(fmt: formats.Format) -> None:
    """And a mirrored scene, or harmonics of another axis, would not."""
    splats = replace(make_splats(60, 3), log_scales=make_splats(60, 3).log_scales + 1)
    if fmt.name == "splat":
        splats = replace(splats, shN=torch.zeros(60, 0, 3))
    again = fmt.read(io.BytesIO(written(fmt, splats)))
    assert min(psnr(again, splats)) > 42
    mirrored = replace(again, means=again.means * torch.tensor([1.0, -1.0, 1.0]))
    assert max(psnr(mirrored, splats)) < 30
    if fmt.name != "splat":
        wrong = replace(again, shN=again.shN * torch.tensor([-1.0, *[1.0] * 14])[:, None])
        assert max(psnr(wrong, splats)) < 40


def spz_of(splats: Splats, **options: object) -> bytes:
    return written(FORMATS["spz"], splats, WriteOptions(**options))  # type: ignore[arg-type]


def test_spz_header_and_sizes() -> None:
    plain = gzip.decompress(spz_of(make_splats(7, 2, antialias=True)))
    magic, version, count, degree, fractional, flags, reserved = struct.unpack("<4sIIBBBB", plain[:16])
    assert (magic, version, count, degree, flags, reserved) == (b"NGSP", 3, 7, 2, 1, 0)
    assert 4 <= fractional <= 12
    assert len(plain) == 16 + 7 * (9 + 1 + 3 + 3 + 4 + 24)
    data = spz_of(make_splats(7, 0), version=4)
    assert struct.unpack("<4sIIBBBBI", data[:20])[:4] == (b"NGSP", 4, 7, 0)
    assert data[15] == 5
    assert data[20:32] == bytes(12)


def test_spz_versions_hold_the_same() -> None:
    splats = make_splats(50, 4)
    three, four = (FORMATS["spz"].read(io.BytesIO(spz_of(splats, version=v))) for v in (3, 4))
    for (name, a), (_, b) in zip(three.named(), four.named()):
        assert torch.equal(a, b), name


def test_spz_version_1_by_hand(tmp_path: Path) -> None:
    """Halves for positions, three bytes for a rotation; axes right-up-back."""
    head = struct.pack("<4sIIBBBB", b"NGSP", 1, 1, 1, 0, 1, 0)
    body = np.array([1.5, 2.0, -3.0], "<f2").tobytes() + bytes([128]) + bytes([255, 128, 0]) + bytes([160, 144, 176])
    body += bytes([255, 128, 128]) + bytes([192, 128, 128, 64, 128, 128, 128, 128, 0])
    (tmp_path / "a.spz").write_bytes(gzip.compress(head + body))
    splats = formats.read(tmp_path / "a.spz")
    assert splats.means.tolist() == [[1.5, -2.0, 3.0]]
    assert splats.log_scales.tolist() == [[0.0, -1.0, 1.0]]
    assert splats.antialias
    assert torch.allclose(splats.opacities, torch.tensor([128 / 255]), atol=1e-6)
    assert torch.allclose(splats.sh0[0, 0], torch.tensor([0.5, 1 / 510, -0.5]) / 0.15, atol=1e-5)
    quat = splats.quats_wxyz[0]
    assert torch.allclose(quat, torch.tensor([0.0, 1.0, -1 / 255, -1 / 255]), atol=1e-5)
    # y, z, x of degree 1: y and z change their sign.
    assert splats.shN[0].tolist() == [[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, -1.0]]


def test_spz_extensions_are_skipped_and_axes_obeyed(tmp_path: Path) -> None:
    splats = make_splats(5, 3)
    data = spz_of(splats, version=4, knobs={"sh1_bits": 8, "sh_rest_bits": 8, "sh_rounding": 0})

    def with_records(records: bytes) -> Splats:
        head = data[:14] + bytes([2]) + data[15:16] + struct.pack("<I", 32 + len(records)) + data[20:32]
        (tmp_path / "a.spz").write_bytes(head + records + data[32:])
        return formats.read(tmp_path / "a.spz")

    unknown = struct.pack("<II", 0x12340001, 5) + b"hello"
    assert torch.equal(with_records(unknown).means, formats.FORMATS["spz"].read(io.BytesIO(data)).means)
    # 6 is right-down-forward, ours: nothing is to be turned then.
    ours = with_records(unknown + struct.pack("<III", 0xADBE0003, 4, 6))
    plain = FORMATS["spz"].read(io.BytesIO(data))
    assert torch.equal(ours.means, plain.means * torch.tensor([1.0, -1.0, -1.0]))
    with pytest.raises(DataError, match="axes number 9; those with z up are not read"):
        with_records(struct.pack("<III", 0xADBE0003, 4, 9))


def test_fractional_bits_follow_the_scene() -> None:
    small = replace(make_splats(50), log_scales=torch.full((50, 3), -8.0))
    wide = replace(make_splats(50), means=make_splats(50).means * 1e5)
    bits = [gzip.decompress(spz_of(s))[13] for s in (make_splats(50), small, wide)]
    assert bits[0] < bits[1]
    assert bits[2] <= 5
    again = FORMATS["spz"].read(io.BytesIO(spz_of(wide)))
    assert differences(again, wide)["means"] <= 0.5 * 2.0 ** -bits[2] + 0.02
    with pytest.raises(DataError, match="cannot hold a position of"):
        spz_of(replace(wide, means=wide.means * 1e3))


def test_positions_outside_of_24_bits_are_said(tmp_path: Path) -> None:
    notes = formats.write(tmp_path / "a.spz", make_splats(20), WriteOptions(knobs={"position_bits": 23}))
    assert any("lie outside of what 24 bits hold" in note for note in notes)


@pytest.mark.parametrize("fmt", LOSSY, ids=NAMES)
def test_infinite_opacities_and_scales_are_written_finite(fmt: formats.Format) -> None:
    splats = make_splats(20, 1)
    splats.logit_opacities[:3] = torch.tensor([math.inf, -math.inf, 90.0])
    splats.log_scales[4] = -math.inf
    again = fmt.read(io.BytesIO(written(fmt, splats)))
    for name, values in again.named():
        assert torch.isfinite(values).all(), name
    assert again.opacities.max() > 0.998


@pytest.mark.parametrize("fmt", LOSSY, ids=NAMES)
def test_nan_and_nothing_are_not_written(tmp_path: Path, fmt: formats.Format) -> None:
    splats = make_splats(20, 1)
    splats.means[7, 1] = math.nan
    with pytest.raises(DataError, match="means is NaN or infinite in 1 splats"):
        written(fmt, splats)
    with pytest.raises(DataError, match="no splats to write"):
        written(fmt, make_splats(0, 1))

# SPDX-License-Identifier: Apache-2.0
"""Local origins in files, and what formats do to places: sentences where positions do not come back."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparse3d import formats
from sparse3d.errors import DataError
from sparse3d.splats import Splats

ORIGIN = (543210.0, -5432100.0, 87.5)
KEEP = ("a.ply", "a.compressed.ply", "a.glb", "a.spz.glb", "a.sog", "a.html", "folder/meta.json")
LOSE = ("a.spz", "a.splat")


def make(count: int = 300, *, size: float = 0.05, shift: float = 0.0) -> Splats:
    rng = np.random.default_rng(5)
    means = torch.from_numpy((rng.normal(size=(count, 3)) + shift).astype(np.float32))
    quats = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(count, 4)).astype(np.float32)), dim=1)
    scales = torch.full((count, 3), math.log(size))
    return Splats(means, quats, scales, torch.zeros(count), torch.zeros(count, 1, 3), torch.zeros(count, 0, 3))


def written(name: str, splats: Splats, folder: Path) -> tuple[Splats, tuple[str, ...]]:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    notes = formats.write(path, splats)
    return formats.read(path), notes


@pytest.mark.parametrize("name", KEEP)
def test_a_file_that_can_names_the_local_origin(name: str, tmp_path: Path) -> None:
    splats = replace(make(), origin=ORIGIN)
    back, notes = written(name, splats, tmp_path)
    assert back.origin == ORIGIN
    assert not any("origin" in note for note in notes)
    middle = [np.median(s.means.double().numpy() + np.array(s.origin), axis=0) for s in (splats, back)]
    np.testing.assert_allclose(middle[1], middle[0], atol=2e-3)
    # From file to file it goes on.
    again, _ = written("b.ply", back, tmp_path)
    assert again.origin == ORIGIN
    assert written(name, make(), tmp_path)[0].origin == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("name", LOSE)
def test_a_file_that_cannot_says_so(name: str, tmp_path: Path) -> None:
    back, notes = written(name, replace(make(), origin=ORIGIN), tmp_path)
    assert back.origin == (0.0, 0.0, 0.0)
    assert [note for note in notes if "543210, -5432100, 87.5" in note and "add it" in note]
    assert not any("origin" in note for note in written(name, make(), tmp_path)[1])


def test_wrong_origins_are_refused(tmp_path: Path) -> None:
    splats = replace(make(), origin=ORIGIN)
    formats.write(tmp_path / "a.ply", splats)
    data = (tmp_path / "a.ply").read_bytes().replace(b"comment origin 543210.0", b"comment origin 54321o.0")
    (tmp_path / "a.ply").write_bytes(data)
    with pytest.raises(DataError, match="origin"):
        formats.read(tmp_path / "a.ply")
    formats.write(tmp_path / "meta.json", splats)
    meta = json.loads((tmp_path / "meta.json").read_text())
    meta["asset"]["origin"] = [1, 2]
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(DataError, match="origin"):
        formats.read(tmp_path / "meta.json")
    formats.write(tmp_path / "a.html", splats)
    page = (tmp_path / "a.html").read_bytes().replace(b'"origin":[543210.0,', b'"origin":["here",')
    (tmp_path / "a.html").write_bytes(page)
    with pytest.raises(DataError, match="origin"):
        formats.read(tmp_path / "a.html")


def test_double_positions_in_a_ply_keep_their_places(tmp_path: Path) -> None:
    splats = make(40)
    exact = splats.means.double().numpy() + np.array(ORIGIN)
    names = [*"xyz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", *(f"scale_{i}" for i in range(3))]
    names += [f"rot_{i}" for i in range(4)]
    head = ["ply", "format binary_little_endian 1.0", "element vertex 40", *(f"property double {n}" for n in names)]
    rows = np.zeros((40, len(names)))
    rows[:, :3], rows[:, 7:10], rows[:, 10:] = exact, -3.0, splats.quats_wxyz.numpy()
    (tmp_path / "a.ply").write_bytes(("\n".join([*head, "end_header"]) + "\n").encode() + rows.tobytes())
    back = formats.read(tmp_path / "a.ply")
    np.testing.assert_allclose(back.means.double().numpy() + np.array(back.origin), exact, atol=1e-6)


def test_a_glb_whose_node_stands_far_away_keeps_its_places(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.glb", make())
    data = (tmp_path / "a.glb").read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    root = json.loads(data[20 : 20 + size])
    for shift, far in (((4e6, 1e6, -3e6), True), ((4.0, 1.0, -3.0), False)):
        root["nodes"][0]["translation"] = list(shift)
        text = json.dumps(root).encode()
        text += b" " * (-len(text) % 4)
        rest = data[20 + size :]
        head = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A)
        (tmp_path / "b.glb").write_bytes(head + text + rest)
        back = formats.read(tmp_path / "b.glb")
        assert any(back.origin) == far
        moved = np.array((-shift[0], -shift[1], shift[2]))
        places = back.means.double().numpy() + np.array(back.origin)
        np.testing.assert_allclose(places, make().means.double().numpy() + moved, atol=1e-6)


@pytest.mark.parametrize("name", [*KEEP, *LOSE])
def test_an_ordinary_scene_needs_no_sentence(name: str, tmp_path: Path) -> None:
    splats = make()
    # As in trained scenes, some splats are much smaller than the median one: SPZ fits its steps to these.
    sizes = torch.from_numpy(np.random.default_rng(6).normal(math.log(0.05), 0.7, 300).astype(np.float32))
    splats = replace(splats, log_scales=sizes[:, None].repeat(1, 3))
    assert not [note for note in written(name, splats, tmp_path)[1] if "units" in note]


@pytest.mark.parametrize("name", ["a.spz", "a.sog", "a.compressed.ply", "a.html", "a.spz.glb"])
def test_a_format_that_moves_splats_says_by_how_much(name: str, tmp_path: Path) -> None:
    # Tiny splats far apart: no format of so few bits holds their places.
    back, notes = written(name, make(size=1e-6), tmp_path)
    (said,) = [note for note in notes if "by up to" in note]
    value = float(said.split("by up to ")[1].split()[0])
    near, far = make(size=1e-6).means.double().numpy(), back.means.double().numpy()
    nearest = np.linalg.norm(near[:, None] - far[None], axis=2).min(axis=0)
    assert value == pytest.approx(nearest.max(), rel=0.02)
    assert float(said.split(" units, ")[1].split()[0]) == pytest.approx(value / 1e-6, rel=0.1)


@pytest.mark.parametrize("name", ["a.ply", "a.glb", "a.splat"])
def test_positions_that_float32_rounded_are_said(name: str, tmp_path: Path) -> None:
    _, notes = written(name, make(shift=5e6), tmp_path)
    assert [note for note in notes if "steps of 0.5 units, 10 times" in note]
    assert not [note for note in written(name, make(shift=500.0), tmp_path)[1] if "units" in note]

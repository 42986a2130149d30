# SPDX-License-Identifier: Apache-2.0
"""glTF with KHR_gaussian_splatting there and back, under nodes, by another program, and damaged."""

from __future__ import annotations

import json
import math
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparse3d import formats
from sparse3d.errors import DataError
from sparse3d.formats import FORMATS, WriteOptions
from sparse3d.formats.glb.container import make_glb, read_glb
from sparse3d.formats.glb.nodes import moved
from sparse3d.formulas.harmonics import evaluate_sh
from sparse3d.geometry.quaternions import rotation_from_quats
from sparse3d.splats import Splats
from tests.conftest import REPO
from tests.formats.makers import differences, make_splats

GOLDEN = REPO / "tests" / "golden" / "formats"
K = "KHR_gaussian_splatting"


def covariances(splats: Splats) -> torch.Tensor:
    half = rotation_from_quats(splats.quats_wxyz.double()) * splats.scales.double()[:, None, :]
    return half @ half.transpose(1, 2)


def file_of(splats: Splats, tmp_path: Path, **knobs: float) -> tuple[dict[str, Any], bytes]:
    formats.write(tmp_path / "a.glb", splats, WriteOptions(knobs=knobs))
    root, binary = read_glb((tmp_path / "a.glb").read_bytes())
    return root, bytes(binary)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("bits", [32, 16, 8])
def test_quantised_is_what_is_read_back(tmp_path: Path, degree: int, bits: int) -> None:
    splats, opts = make_splats(degree=degree), WriteOptions(knobs={"glb_bits": bits})
    notes = formats.write(tmp_path / "a.glb", splats, opts)
    again, expected = formats.read(tmp_path / "a.glb"), FORMATS["glb"].quantised(splats, opts)
    assert len(notes) == (degree == 4)
    for (name, a), (_, b) in zip(again.named(), expected.named()):
        assert torch.equal(a, b), name
    step = {32: 1e-6, 16: 1e-4, 8: 0.012}[bits]
    found = differences(again, splats)
    assert found.pop("rotations") < 2 * step
    assert found.pop("opacities") < step
    assert found.pop("log_scales") < 1e-6
    # Signs only: not a bit of positions and harmonics changes.
    assert set(found.values()) == {0.0}


def test_memory_stays_below_twice_the_file(tmp_path: Path) -> None:
    """Of arrays beside the splats themselves: with them, reading and writing are below three times the file."""
    splats, path = make_splats(30_000), tmp_path / "a.glb"
    formats.write(path, splats)
    peaks = []
    for run in (lambda: formats.write(path, splats), lambda: formats.read(path)):
        tracemalloc.start()
        try:
            run()
            peaks.append(tracemalloc.get_traced_memory()[1] / path.stat().st_size)
        finally:
            tracemalloc.stop()
    assert peaks[0] < 1.5
    # The bytes, the arrays read from them, and one of those once more.
    assert peaks[1] < 2.9


def test_antialias_is_kept_for_us_and_said(tmp_path: Path) -> None:
    notes = formats.write(tmp_path / "a.glb", make_splats(antialias=True))
    assert formats.read(tmp_path / "a.glb").antialias
    assert "only sparse3d reads" in notes[0]


def test_the_file_is_what_the_extension_asks_for(tmp_path: Path) -> None:
    splats = make_splats(3, 1)
    root, binary = file_of(splats, tmp_path)
    primitive = root["meshes"][0]["primitives"][0]
    assert primitive["mode"] == 0
    assert root["extensionsUsed"] == [K]
    assert primitive["extensions"][K] == {"kernel": "ellipse", "colorSpace": "srgb_rec709_display",
                                          "sortingMethod": "cameraDistance", "projection": "perspective"}  # fmt: skip
    assert root["buffers"] == [{"byteLength": len(binary)}]

    def stored(name: str, form: str) -> tuple[float, ...]:
        accessor = root["accessors"][primitive["attributes"][name]]
        at = root["bufferViews"][accessor["bufferView"]]["byteOffset"]
        assert at % 4 == 0
        return struct.unpack_from(form, binary, at)

    x, y, z = splats.means[0].tolist()
    assert stored("POSITION", "<3f") == pytest.approx((-x, -y, z))
    w, x, y, z = (splats.quats_wxyz[0] / splats.quats_wxyz[0].norm()).tolist()
    assert stored(f"{K}:ROTATION", "<4f") == pytest.approx((-x, -y, z, w), abs=1e-6)
    assert stored(f"{K}:SCALE", "<3f") == pytest.approx(splats.scales[0].tolist())
    assert stored(f"{K}:OPACITY", "<f")[0] == pytest.approx(float(splats.opacities[0]))
    assert stored(f"{K}:SH_DEGREE_0_COEF_0", "<3f") == pytest.approx(splats.sh0[0, 0].tolist())
    # Degree 1 is -y, z, -x: half a turn about z changes the signs of the first and the last.
    for n, sign in enumerate((-1, 1, -1)):
        assert stored(f"{K}:SH_DEGREE_1_COEF_{n}", "<3f") == pytest.approx((sign * splats.shN[0, n]).tolist())
    position = root["accessors"][primitive["attributes"]["POSITION"]]
    assert position["min"] == (splats.means * torch.tensor([-1.0, -1, 1])).amin(dim=0).tolist()


def test_small_attributes_are_normalised_and_aligned(tmp_path: Path) -> None:
    root, _ = file_of(make_splats(5, 0), tmp_path, glb_bits=8)
    attributes = root["meshes"][0]["primitives"][0]["attributes"]
    kinds = {name: root["accessors"][i] for name, i in attributes.items()}
    assert (kinds[f"{K}:ROTATION"]["componentType"], kinds[f"{K}:ROTATION"]["normalized"]) == (5120, True)
    assert (kinds[f"{K}:OPACITY"]["componentType"], kinds[f"{K}:OPACITY"]["normalized"]) == (5121, True)
    # One byte an element, but elements begin at multiples of four.
    assert root["bufferViews"][kinds[f"{K}:OPACITY"]["bufferView"]]["byteStride"] == 4


def test_the_file_of_another_program(tmp_path: Path) -> None:
    found, source = formats.read(GOLDEN / "glb_splat_transform.glb"), formats.read(GOLDEN / "source.ply")
    apart = differences(found, source)
    # Its quaternions name the axes of each ellipsoid in other directions: the same ellipsoids.
    assert torch.allclose(covariances(found), covariances(source), atol=1e-7)
    assert max(apart.values()) < 1e-5


def test_nodes_turn_scale_and_shift(tmp_path: Path) -> None:
    splats = make_splats(30, 3)
    root, binary = file_of(splats, tmp_path)
    angle = math.radians(50)
    turn = [0.6 * math.sin(angle / 2), 0.0, 0.8 * math.sin(angle / 2), math.cos(angle / 2)]
    root["nodes"] = [{"children": [1], "translation": [1, 2, 3]}, {"mesh": 0, "rotation": turn, "scale": [2, 2, 2]}]
    (tmp_path / "b.glb").write_bytes(make_glb(root, binary))
    again = formats.read(tmp_path / "b.glb")
    quat = torch.tensor([[turn[3], *turn[:3]]], dtype=torch.float64)
    flip = torch.diag(torch.tensor([-1.0, -1, 1], dtype=torch.float64))
    rotation = flip @ rotation_from_quats(quat)[0] @ flip
    shift = torch.tensor([-1.0, -2, 3], dtype=torch.float64)
    assert torch.allclose(again.means.double(), 2 * splats.means.double() @ rotation.T + shift, atol=1e-5)
    assert torch.allclose(covariances(again), 4 * rotation @ covariances(splats) @ rotation.T, atol=1e-6)
    # What is seen from a turned direction is what was seen from the direction before.
    dirs = torch.nn.functional.normalize(torch.randn(30, 3, dtype=torch.float64, generator=torch.manual_seed(3)), dim=1)
    before = evaluate_sh(dirs, splats.sh0.double(), splats.shN.double(), 3)
    after = evaluate_sh(dirs @ rotation.T, again.sh0.double(), again.shN.double(), 3)
    assert torch.allclose(after, before, atol=1e-5)


def test_two_instances_of_one_mesh_are_two_scenes(tmp_path: Path) -> None:
    root, binary = file_of(make_splats(4, 1), tmp_path)
    root["nodes"] = [{"mesh": 0}, {"mesh": 0, "translation": [9, 0, 0]}]
    root["scenes"] = [{"nodes": [0, 1]}]
    (tmp_path / "b.glb").write_bytes(make_glb(root, binary))
    means = formats.read(tmp_path / "b.glb").means
    assert means.shape == (8, 3)
    assert torch.allclose((means[:4] - means[4:]).abs(), torch.tensor([9.0, 0, 0]).expand(4, 3), atol=1e-5)


def test_uneven_nodes_are_refused() -> None:
    for matrix in (np.diag([1.0, 2, 1, 1]), np.diag([-1.0, 1, 1, 1]), np.zeros((4, 4))):
        with pytest.raises(DataError, match="mirrors, shears or stretches"):
            moved(make_splats(2, 0), matrix)


def test_every_truncation_and_extra_bytes_are_refused(tmp_path: Path) -> None:
    formats.write(tmp_path / "whole.glb", make_splats(2, 0))
    data, path = (tmp_path / "whole.glb").read_bytes(), tmp_path / "cut.glb"
    for cut in (*(data[:length] for length in range(len(data))), data + bytes(4)):
        path.write_bytes(cut)
        with pytest.raises(DataError, match=r"cut\.glb: "):
            formats.read(path)


def primitive_of(root: dict[str, Any]) -> dict[str, Any]:
    return root["meshes"][0]["primitives"][0]


def set_in(table: str, index: int, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda root: root[table][index].update({key: value})


WRONG: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no meshes": (lambda root: root.pop("meshes"), "no list 'meshes'"),
    "node index": (set_in("scenes", 0, "nodes", [5]), "nodes has 1 entries, entry 5 was asked for"),
    "node type": (set_in("scenes", 0, "nodes", ["0"]), "entry 0 was asked for"),
    "node cycle": (set_in("nodes", 0, "children", [0]), "is reached twice"),
    "nodes list": (set_in("scenes", 0, "nodes", {}), "nodes is a dict, expected a list"),
    "matrix": (set_in("nodes", 0, "matrix", [1] * 15), "expected 16 finite numbers"),
    "matrix nan": (set_in("nodes", 0, "matrix", [float("nan")] * 16), "expected 16 finite numbers"),
    "zero turn": (set_in("nodes", 0, "rotation", [0, 0, 0, 0]), "rotation is zero"),
    "huge count": (set_in("accessors", 0, "count", 1 << 40), "at most"),
    "count 0": (set_in("accessors", 0, "count", 0), "holds 0"),
    "negative count": (set_in("accessors", 0, "count", -1), "expected a whole number"),
    "count that the bytes lack": (set_in("accessors", 0, "count", 1 << 20), "has 3 elements; POSITION has 1048576"),
    "other count": (set_in("accessors", 2, "count", 2), "has 2 elements; POSITION has 3"),
    "type": (set_in("accessors", 2, "type", "VEC3"), "has type VEC3, expected 4 numbers"),
    "component": (set_in("accessors", 2, "componentType", 5127), "component type 5127"),
    "sparse": (set_in("accessors", 2, "sparse", {}), "is sparse or empty"),
    "offset": (set_in("accessors", 2, "byteOffset", 4), "needs 52 bytes .* has 48"),
    "view end": (set_in("bufferViews", 2, "byteLength", 1 << 30), "the binary chunk has"),
    "view start": (set_in("bufferViews", 2, "byteOffset", -8), "expected a whole number"),
    "stride": (set_in("bufferViews", 2, "byteStride", 8), "one every 8"),
    "buffer": (set_in("bufferViews", 2, "buffer", 1), "lies in another buffer"),
    "uri": (set_in("buffers", 0, "uri", "/etc/passwd"), "lies in another buffer"),
    "compressed view": (set_in("bufferViews", 0, "extensions", {"EXT_meshopt_compression": {}}), "is compressed"),
    "kernel": (lambda root: primitive_of(root)["extensions"][K].update(kernel="disc"), "kernel is 'disc'"),
    "linear": (lambda root: primitive_of(root)["extensions"][K].update(colorSpace="lin_rec709_display"), "colorSpace"),
    "compression": (lambda root: primitive_of(root)["extensions"][K].update(extensions={"X": {}}), "compressed by X"),
    "no splats": (lambda root: primitive_of(root).pop("extensions"), f"no primitive with {K}"),
    "missing": (lambda root: primitive_of(root)["attributes"].pop(f"{K}:SCALE"), f"lacks the attributes {K}:SCALE"),
    "gap": (lambda root: primitive_of(root)["attributes"].pop(f"{K}:SH_DEGREE_1_COEF_1"), "not whole degrees"),
    "attributes": (lambda root: primitive_of(root).update(attributes=[]), "attributes is a list"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_json_is_named(tmp_path: Path, case: str) -> None:
    change, message = WRONG[case]
    root, binary = file_of(make_splats(3, 1), tmp_path)
    change(root)
    (tmp_path / "a.glb").write_bytes(make_glb(root, binary))
    with pytest.raises(DataError, match=message):
        formats.read(tmp_path / "a.glb")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("SCALE", -0.5, "a SCALE is -0.5; scales are linear"), ("OPACITY", 3.0, "OPACITY goes from .* to 3, expected 0"),
     ("ROTATION", math.nan, "hold NaN or infinite values .rot in 1"), ("SCALE", math.inf, "values .scale in 1")],
)  # fmt: skip
def test_wrong_numbers_are_named(tmp_path: Path, name: str, value: float, message: str) -> None:
    root, binary = file_of(make_splats(3, 0), tmp_path)
    at = root["bufferViews"][primitive_of(root)["attributes"][f"{K}:{name}"]]["byteOffset"]
    (tmp_path / "a.glb").write_bytes(make_glb(root, binary[:at] + struct.pack("<f", value) + binary[at + 4 :]))
    with pytest.raises(DataError, match=message):
        formats.read(tmp_path / "a.glb")


def test_chunks_that_lie(tmp_path: Path) -> None:
    data = make_glb({"asset": {"version": "2.0"}}, bytes(8))
    for at, word, message in [
        (4, 1, "version 1, expected"), (8, 12, "longer than it says"), (12, 1 << 31, "a chunk of 2147483648 bytes"),
        (12, 5, "multiples of 4"), (16, 7, "first chunk has type 0x7"),
    ]:  # fmt: skip
        forged = bytearray(data)
        struct.pack_into("<I", forged, at, word)
        with pytest.raises(DataError, match=message):
            read_glb(bytes(forged))
    for text in (b"[1]", b"{", b"\xff\xff\xff\xff", json.dumps("x").encode()):
        text += b" " * (-len(text) % 4)
        with pytest.raises(DataError, match="JSON"):
            read_glb(struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text)

# SPDX-License-Identifier: Apache-2.0
"""SPZ in glTF: what a reader gets, what the JSON promises, and damage to the payload."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sparse3d import formats
from sparse3d.errors import DataError
from sparse3d.formats import FORMATS, WriteOptions
from sparse3d.formats.glb.container import make_glb, read_glb
from sparse3d.formats.spz.container import read_container
from tests.formats.makers import differences, make_splats

# As fine for every splat: without it the harmonics of faint and small ones are rounded in larger steps.
EVEN = WriteOptions(knobs={"sh_rounding": 0})
# 5 and 4 bits of harmonics: half of steps of 8 and 16 of 128, and half of one for the second rounding.
HALF_STEPS = {"means": 0.01, "rotations": 0.15, "log_scales": 0.04, "opacities": 0.003, "sh0": 0.02, "sh1": 0.0352,
              "sh_rest": 0.0665}  # fmt: skip


@pytest.mark.parametrize("degree", [0, 3, 4])
@pytest.mark.parametrize("opts", [WriteOptions(), EVEN], ids=["default", "even"])
def test_quantised_is_what_is_read_back(tmp_path: Path, degree: int, opts: WriteOptions) -> None:
    splats = make_splats(degree=degree, antialias=True)
    notes = formats.write(tmp_path / "a.spz.glb", splats, opts)
    again, expected = formats.read(tmp_path / "a.spz.glb"), FORMATS["glb-spz"].quantised(splats, opts)
    assert len(notes) == (degree == 4)
    assert again.antialias
    for (name, a), (_, b) in zip(again.named(), expected.named()):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("degree", [0, 3, 4])
def test_what_is_kept_is_within_half_a_step(degree: int) -> None:
    splats = make_splats(degree=degree)
    found = differences(FORMATS["glb-spz"].quantised(splats, EVEN), splats)
    assert {name: d for name, d in found.items() if d > HALF_STEPS[name]} == {}


def test_default_rounding_is_that_of_spz() -> None:
    """The same bytes of harmonics as the .spz of these splats, which the tests of its steps check."""
    splats = make_splats()
    inside, plain = (FORMATS[name].quantised(splats, WriteOptions()) for name in ("glb-spz", "spz"))
    assert torch.equal(inside.shN, plain.shN)


def test_the_payload_is_an_spz_of_version_2(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.spz.glb", make_splats(9, 1))
    root, binary = read_glb((tmp_path / "a.spz.glb").read_bytes())
    name = "KHR_gaussian_splatting_compression_spz_2"
    assert root["extensionsRequired"] == ["KHR_gaussian_splatting", name]
    extension = root["meshes"][0]["primitives"][0]["extensions"]["KHR_gaussian_splatting"]
    assert extension["extensions"] == {name: {"bufferView": 0}}
    packed = read_container(bytes(binary[: root["bufferViews"][0]["byteLength"]]))
    assert (packed.version, packed.sh_degree, packed.rotations.shape) == (2, 1, (9, 3))
    assert all("bufferView" not in accessor for accessor in root["accessors"])


def test_a_damaged_payload_is_refused(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.spz.glb", make_splats(9, 0))
    root, binary = read_glb((tmp_path / "a.spz.glb").read_bytes())
    for length in range(0, len(binary) - 8, 3):
        root["bufferViews"][0]["byteLength"] = length
        (tmp_path / "b.glb").write_bytes(make_glb(root, bytes(binary)))
        with pytest.raises(DataError, match=r"b\.glb: "):
            formats.read(tmp_path / "b.glb")


@pytest.mark.parametrize("draft", ["KHR_spz_compression", "KHR_spz_gaussian_splats_compression", None])
def test_the_names_of_earlier_drafts_are_read(tmp_path: Path, draft: str | None) -> None:
    formats.write(tmp_path / "a.spz.glb", make_splats(degree=2))
    root, binary = read_glb((tmp_path / "a.spz.glb").read_bytes())
    primitive = root["meshes"][0]["primitives"][0]
    if draft is None:
        base = primitive["extensions"]["KHR_gaussian_splatting"]
        base["extensions"] = {"KHR_gaussian_splatting_compression_spz": {"bufferView": 0}}
    else:
        primitive["extensions"] = {draft: {"bufferView": 0}}
    (tmp_path / "b.glb").write_bytes(make_glb(root, bytes(binary)))
    for (name, a), (_, b) in zip(
        formats.read(tmp_path / "b.glb").named(), formats.read(tmp_path / "a.spz.glb").named()
    ):
        assert torch.equal(a, b), name
    primitive["extensions"] = {"KHR_other": {}}
    root["extensionsUsed"] = ["KHR_other"]
    (tmp_path / "c.glb").write_bytes(make_glb(root, bytes(binary)))
    with pytest.raises(DataError, match=r"extensions in use: KHR_other\); export the splats"):
        formats.read(tmp_path / "c.glb")

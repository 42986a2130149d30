# SPDX-License-Identifier: Apache-2.0
"""What other programs add to a PLY, or leave out of it: understood, or named."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from sparse3d import formats
from sparse3d.conventions import SH_C0
from sparse3d.errors import DataError
from sparse3d.load import SceneConfig, load_scene
from tests.formats.test_ply import COLOUR, NAMES, make_ply, save
from tests.load.makers import cameras, write_transforms

ROW = [0.5] * len(NAMES + COLOUR)


def notes_of(tmp_path: Path, names: list[str], values: float = 1.0) -> tuple[str, ...]:
    row = [*ROW, *[values] * (len(names) - len(ROW))]
    return formats.read_with_notes(save(tmp_path, make_ply(names, [row, row])))[1]


def test_normals_and_colours_beside_f_dc_are_no_news(tmp_path: Path) -> None:
    assert notes_of(tmp_path, NAMES + COLOUR) == ()
    assert notes_of(tmp_path, [*NAMES, *COLOUR, "nx", "ny", "nz", "red", "green", "blue", "alpha"]) == ()
    assert notes_of(tmp_path, [*NAMES, *COLOUR, *(f"f_rest_{i}" for i in range(9)), "filter_3D"], 0.0) == ()


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["material", "confidence"], "material, confidence"),
        (["scalar_confidence"], "confidence"),
        (["semantic_0", "semantic_1", "semantic_2", "object_id"], "semantic_* (3), object_id"),
        ([f"{letter}" for letter in "abcdefghijkl"], "a, b, c, d, e, f, g, h and 4 more"),
        (["trbf_center", "motion_0"], "trbf_center, motion_*; the splats move in time, and stay where the file places"),
    ],
)
def test_properties_that_splats_do_not_have_are_named(tmp_path: Path, extra: list[str], named: str) -> None:
    (note,) = notes_of(tmp_path, [*NAMES, *COLOUR, *extra])
    assert note.startswith(f"properties of the PLY that splats do not have were passed over: {named}")


def test_two_scales_are_said(tmp_path: Path) -> None:
    names = [name for name in NAMES + COLOUR if name != "scale_2"]
    (note,) = formats.read_with_notes(save(tmp_path, make_ply(names, [[0.5] * len(names)])))[1]
    assert note.startswith("the splats have two scales (2DGS): each became a disc")


@pytest.mark.parametrize(
    ("kind", "values", "expected", "guessed"),
    [
        ("uchar", [255, 0, 51], [1.0, 0.0, 0.2], False),
        ("short", [32767, 0, 0], [1.0, 0.0, 0.0], False),
        ("float", [1.0, 0.25, 1.2], [1.0, 0.25, 1.2], False),
        ("double", [255.0, 0.0, 51.0], [1.0, 0.0, 0.2], True),
    ],
)
def test_colours_of_any_type_without_f_dc(
    tmp_path: Path, kind: str, values: list[float], expected: list[float], guessed: bool
) -> None:
    code = {"uchar": "B", "short": "h", "float": "f", "double": "d"}[kind]
    extra = "".join(f"property {kind} {name}\n" for name in ("red", "green", "blue")).encode()
    head = make_ply(NAMES, [], count=1).replace(b"end_header", extra + b"end_header")
    path = save(tmp_path, head + struct.pack(f"<11f3{code}", *([1.0] * 11), *values))
    splats, notes = formats.read_with_notes(path)
    assert torch.allclose(0.5 + SH_C0 * splats.sh0[0, 0], torch.tensor(expected), atol=1e-6)
    assert notes == (("red green blue are floats beyond 4 and were taken as 0..255",) if guessed else ())
    assert np.allclose(formats.read_points(path).rgb, [np.clip(expected, 0, 1)], atol=1e-6)


def test_a_mesh_and_anchors_are_named(tmp_path: Path) -> None:
    head = make_ply([*"xyz"], [[0.0, 0.0, 0.0]]).replace(
        b"end_header", b"element face 1\nproperty list uchar int vertex_indices\nend_header"
    )
    with pytest.raises(DataError, match=r"is a mesh \(1 vertices, 1 faces\), not splats; give splats, or photos"):
        formats.read(save(tmp_path, head + b"\x01\0\0\0\0"))
    names = [*NAMES, "f_offset_0", "f_anchor_feat_0"]
    with pytest.raises(DataError, match=r"anchors of Scaffold-GS, .*; export splats with the program"):
        formats.read(save(tmp_path, make_ply(names, [[0.5] * len(names)])))


def test_points_of_splats_pass_over_deleted_rows(tmp_path: Path) -> None:
    rows = [list(ROW) for _ in range(4)]
    turn = NAMES.index("rot_0")
    rows[1][turn : turn + 4] = [0.0] * 4
    rows[1][0] = float("nan")
    rows[3][NAMES.index("opacity")] = float("inf")
    cloud = formats.read_points(save(tmp_path, make_ply(NAMES + COLOUR, rows)))
    assert len(cloud.xyz) == 3
    assert cloud.notes == ("1 of 4 rows have a rotation of exactly zero and are no splats: they were left out",)
    rows[0][1] = float("inf")
    with pytest.raises(DataError, match=r"1 of 3 points, the first is point 0; `sparse3d convert .* --drop-invalid`"):
        formats.read_points(save(tmp_path, make_ply(NAMES + COLOUR, rows)))
    for row in rows:
        row[turn : turn + 4] = [0.0] * 4
    with pytest.raises(DataError, match="all 4 rows have a rotation of exactly zero"):
        formats.read_points(save(tmp_path, make_ply(NAMES + COLOUR, rows)))


def test_points_say_what_their_colours_lack(tmp_path: Path) -> None:
    cloud = formats.read_points(save(tmp_path, make_ply([*"xyz"], [[1.0, 2.0, 3.0]])))
    assert cloud.notes == ("the points have no colour: grey stands for it",)
    names, nan = [*"xyz", "red", "green", "blue"], float("nan")
    cloud = formats.read_points(save(tmp_path, make_ply(names, [[0.0, 0.0, 0.0, 1.0, nan, 0.5], [0.5] * 6])))
    assert cloud.rgb[0].tolist() == [1.0, 0.5, 0.5]
    assert cloud.notes == ("colours of 1 of 2 points are no numbers: grey stands for these",)


def test_a_scene_tells_what_its_points_lack(tmp_path: Path) -> None:
    write_transforms(tmp_path, cameras(4))
    points = save(tmp_path, make_ply([*"xyz"], [[1.0, 2.0, 3.0]]))
    assert "the points have no colour: grey stands for it" in load_scene(tmp_path, SceneConfig(points=points)).notes

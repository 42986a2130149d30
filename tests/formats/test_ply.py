# SPDX-License-Identifier: Apache-2.0
"""The splat PLY: by hand, there and back, cut anywhere, and as other programs write it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from sparse3d import formats
from sparse3d.conventions import SH_C0
from sparse3d.errors import DataError, DiskFullError, UsageError
from sparse3d.splats import Splats, num_sh_rest

NAMES = ["x", "y", "z", "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
COLOUR = ["f_dc_0", "f_dc_1", "f_dc_2"]


def make_splats(n: int = 7, degree: int = 3, *, antialias: bool = False, seed: int = 3) -> Splats:
    """Asymmetric splats: no two numbers are equal, so that no exchange of columns goes unseen."""
    g = torch.Generator().manual_seed(seed)
    return Splats(
        means=torch.randn(n, 3, generator=g),
        quats_wxyz=torch.randn(n, 4, generator=g),
        log_scales=torch.randn(n, 3, generator=g),
        logit_opacities=torch.randn(n, generator=g),
        sh0=torch.randn(n, 1, 3, generator=g),
        shN=torch.randn(n, num_sh_rest(degree), 3, generator=g),
        antialias=antialias,
    )


def make_ply(names: list[str], rows: list[list[float]], *, form: str = "binary_little_endian", kind: str = "float",
             extra: str = "", count: int | None = None) -> bytes:  # fmt: skip
    lines = ["ply", f"format {form} 1.0", *([extra] if extra else [])]
    lines += [f"element vertex {len(rows) if count is None else count}"]
    lines += [f"property {kind} {name}" for name in names] + ["end_header", ""]
    head = "\n".join(lines).encode()
    if form == "ascii":
        return head + "".join(" ".join(repr(v) for v in row) + "\n" for row in rows).encode()
    code = {"float": "f", "double": "d", "uchar": "B", "short": "h"}[kind]
    order = "<" if "little" in form else ">"
    return head + b"".join(struct.pack(f"{order}{len(row)}{code}", *row) for row in rows)


def save(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "scène mit Lücke.ply"
    path.write_bytes(data)
    return path


def test_hand_written_minimal_file(tmp_path: Path) -> None:
    values = [1.0, 2.0, 3.0, 0.5, -1.0, -2.0, -3.0, 1.0, 0.25, 0.5, 0.75, 0.1, 0.2, 0.3]
    splats = formats.read(save(tmp_path, make_ply(NAMES + COLOUR, [values])))
    assert splats.num_splats == 1
    assert splats.sh_degree == 0
    assert not splats.antialias
    assert splats.means.tolist() == [[1.0, 2.0, 3.0]]
    assert splats.quats_wxyz.tolist() == [[1.0, 0.25, 0.5, 0.75]]
    assert splats.log_scales.tolist() == [[-1.0, -2.0, -3.0]]
    assert splats.logit_opacities.tolist() == [0.5]
    assert torch.allclose(splats.sh0, torch.tensor([[[0.1, 0.2, 0.3]]]))


def test_f_rest_is_channel_major(tmp_path: Path) -> None:
    names = NAMES + COLOUR + [f"f_rest_{i}" for i in range(9)]
    row = [1.0] * 14 + [float(i) for i in range(9)]
    shN = formats.read(save(tmp_path, make_ply(names, [row]))).shN
    # Coefficient k of channel c is f_rest_(3c + k).
    assert shN.tolist() == [[[0.0, 3.0, 6.0], [1.0, 4.0, 7.0], [2.0, 5.0, 8.0]]]


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("antialias", [False, True])
def test_round_trip_keeps_every_bit(tmp_path: Path, degree: int, antialias: bool) -> None:
    splats = make_splats(degree=degree, antialias=antialias)
    path = tmp_path / "ein Ordner" / "été.ply"
    assert formats.write(path, splats) == ()
    again = formats.read(path)
    assert again.antialias == antialias
    for (name, a), (_, b) in zip(splats.named(), again.named()):
        assert torch.equal(a, b), name


def test_writing_a_lower_degree_says_what_is_lost(tmp_path: Path) -> None:
    splats = make_splats(degree=3)
    notes = formats.write(tmp_path / "a.ply", splats, formats.WriteOptions(sh_degree=1))
    again = formats.read(tmp_path / "a.ply")
    assert notes == ("spherical harmonics above degree 1 were dropped (the splats have degree 3)",)
    assert torch.equal(again.shN, splats.shN[:, :3])


def test_header_has_the_properties_viewers_expect(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.ply", make_splats(2, 1))
    lines = (tmp_path / "a.ply").read_bytes().split(b"end_header\n")[0].decode().splitlines()
    assert lines[:3] == ["ply", "format binary_little_endian 1.0", "element vertex 2"]
    names = [line.split()[-1] for line in lines[3:]]
    assert names == [*"xyz", "nx", "ny", "nz", *COLOUR, *(f"f_rest_{i}" for i in range(9)), *NAMES[3:]]


def test_every_truncation_is_a_data_error(tmp_path: Path) -> None:
    formats.write(tmp_path / "whole.ply", make_splats(3, 1))
    data = (tmp_path / "whole.ply").read_bytes()
    cut = tmp_path / "cut.ply"
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut\.ply: "):
            formats.read(cut)


def test_every_truncation_of_points_is_a_data_error(tmp_path: Path) -> None:
    data = make_ply([*"xyz"], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    cut = tmp_path / "cut.ply"
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut\.ply: "):
            formats.read_points(cut)


def test_truncation_gives_byte_counts(tmp_path: Path) -> None:
    data = make_ply(NAMES + COLOUR, [[1.0] * 14] * 4)
    with pytest.raises(DataError, match="4 vertices of 56 bytes need 224 bytes after the header, found 221"):
        formats.read(save(tmp_path, data[:-3]))


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_a_huge_count_is_refused_before_anything_is_allocated(tmp_path: Path, form: str) -> None:
    data = make_ply(NAMES + COLOUR, [[1.0] * 14], form=form, count=900_000_000_000_000_000)
    with pytest.raises(DataError, match="cut off: 900000000000000000 vertices"):
        formats.read(save(tmp_path, data))


def test_extra_bytes_are_refused_with_their_number(tmp_path: Path) -> None:
    data = make_ply(NAMES + COLOUR, [[1.0] * 14]) + b"\0" * 5
    with pytest.raises(DataError, match="5 bytes more than its header says"):
        formats.read(save(tmp_path, data))


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("kind", ["float", "double"])
def test_other_encodings_and_orders(tmp_path: Path, form: str, kind: str) -> None:
    rng = np.random.default_rng(5)
    names = [*COLOUR[::-1], "extra", *NAMES[::-1]]
    rows = rng.normal(size=(5, len(names))).astype(np.float32).astype(float).tolist()
    splats = formats.read(save(tmp_path, make_ply(names, rows, form=form, kind=kind, extra="comment by another")))
    table = dict(zip(names, np.array(rows).T))
    assert np.allclose(splats.means.numpy(), np.stack([table[n] for n in "xyz"], 1))
    assert np.allclose(splats.quats_wxyz.numpy(), np.stack([table[f"rot_{i}"] for i in range(4)], 1))
    assert np.allclose(splats.sh0[:, 0].numpy(), np.stack([table[n] for n in COLOUR], 1))


def test_integer_properties_are_read_as_numbers(tmp_path: Path) -> None:
    row: list[float] = [1, 2, 3, 0, 1, 1, 1, 1, 0, 0, 0, 5, 6, 7]
    splats = formats.read(save(tmp_path, make_ply(NAMES + COLOUR, [row], kind="uchar")))
    assert splats.means.tolist() == [[1.0, 2.0, 3.0]]
    assert splats.sh0.tolist() == [[[5.0, 6.0, 7.0]]]


def test_uchar_colours_instead_of_f_dc(tmp_path: Path) -> None:
    head = make_ply(NAMES, [], count=1).replace(
        b"end_header", b"property uchar red\nproperty uchar green\nproperty uchar blue\nend_header"
    )
    data = head + struct.pack("<11f3B", *([1.0] * 11), 255, 0, 51)
    sh0 = formats.read(save(tmp_path, data)).sh0[0, 0]
    assert torch.allclose(0.5 + SH_C0 * sh0, torch.tensor([1.0, 0.0, 0.2]), atol=1e-6)


def test_crlf_header_and_elements_around_the_vertices(tmp_path: Path) -> None:
    names = NAMES + COLOUR
    lines = ["ply", "format binary_little_endian 1.0", "obj_info x", "element camera 2", "property double f"]
    lines += ["element vertex 1", *(f"property float32 {n}" for n in names)]
    lines += ["element face 1", "property list uchar int vertex_indices", "end_header", ""]
    data = "\r\n".join(lines).encode() + struct.pack("<2d", 1, 2) + struct.pack("<14f", *range(14)) + b"\x01\0\0\0\0"
    assert formats.read(save(tmp_path, data)).means.tolist() == [[0.0, 1.0, 2.0]]


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        ("comment SplatRenderMode: mip", True),
        ("comment SPLATRENDERMODE:  MIP", True),
        ("comment SplatRenderMode: default", False),
        ("comment antialiased 1", True),
        ("comment antialiased 1\ncomment SplatRenderMode: default", False),
        ("comment nothing", False),
    ],
)
def test_antialias_comments_of_other_programs(tmp_path: Path, comments: str, expected: bool) -> None:
    data = make_ply(NAMES + COLOUR, [[1.0] * 14], extra=comments)
    assert formats.read(save(tmp_path, data)).antialias is expected


def test_two_scales_are_a_flat_splat(tmp_path: Path) -> None:
    names = [n for n in NAMES if n != "scale_2"] + COLOUR
    log_scales = formats.read(save(tmp_path, make_ply(names, [[-1.0] * len(names)]))).log_scales
    assert log_scales[0, :2].tolist() == [-1.0, -1.0]
    assert torch.isfinite(log_scales).all()
    assert log_scales[0, 2] < -9


BAD_HEADERS = {
    "no magic": (b"plx\nformat ascii 1.0\n", "is not a file of splats"),
    "empty": (b"", "is empty"),
    "version": (b"ply\nformat ascii 2.0\nend_header\n", "version '2.0' is not known"),
    "encoding": (b"ply\nformat binary_pdp11 1.0\nend_header\n", "expected one of ascii"),
    "no format": (b"ply\nelement vertex 1\nend_header\n", "no 'format' line"),
    "keyword": (b"ply\nformat ascii 1.0\nelephant vertex 1\nend_header\n", "line 3: unknown keyword"),
    "negative": (b"ply\nformat ascii 1.0\nelement vertex -1\nend_header\n", "line 3: 'element vertex -1'"),
    "type": (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty half x\nend_header\n", "not a property"),
    "orphan": (b"ply\nformat ascii 1.0\nproperty float x\nend_header\n", "before any element"),
    "twice": (
        b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float x\nend_header\n",
        "property 'x' twice",
    ),
    "no vertices": (b"ply\nformat ascii 1.0\nelement face 0\nend_header\n", "no element 'vertex'"),
    "never ends": (b"ply\nformat ascii 1.0\n" + b"comment x\n" * 200_000, "no 'end_header' within"),
    "long line": (b"ply\nformat ascii 1.0\ncomment " + b"x" * 100_000, "longer than"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_bad_headers_name_what_is_wrong(tmp_path: Path, case: str) -> None:
    data, message = BAD_HEADERS[case]
    with pytest.raises(DataError, match=message):
        formats.read(save(tmp_path, data))


def test_missing_properties_are_named(tmp_path: Path) -> None:
    names = [n for n in NAMES if n not in ("opacity", "rot_2")] + COLOUR
    with pytest.raises(DataError, match="lacks the vertex properties opacity, rot_2"):
        formats.read(save(tmp_path, make_ply(names, [[0.0] * len(names)])))


def test_points_given_as_splats_point_to_the_option(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds 1 points, not splats .*--points"):
        formats.read(save(tmp_path, make_ply([*"xyz"], [[0.0, 0.0, 0.0]])))


@pytest.mark.parametrize("count", [1, 8, 10, 46])
def test_wrong_number_of_f_rest(tmp_path: Path, count: int) -> None:
    names = NAMES + COLOUR + [f"f_rest_{i}" for i in range(count)]
    with pytest.raises(DataError, match=f"has {count} f_rest properties"):
        formats.read(save(tmp_path, make_ply(names, [[0.0] * len(names)])))


def test_no_colour_and_no_splats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no colour"):
        formats.read(save(tmp_path, make_ply(NAMES, [[0.0] * 11])))
    with pytest.raises(DataError, match="holds 0 splats"):
        formats.read(save(tmp_path, make_ply(NAMES + COLOUR, [])))


@pytest.mark.parametrize("column", range(14))
def test_nan_is_refused_with_its_place(tmp_path: Path, column: int) -> None:
    rows = [[1.0] * 14 for _ in range(5)]
    rows[3][column] = float("nan")
    with pytest.raises(
        DataError, match=r"1 of 5 splats hold NaN or infinite values .*the first is splat 3; add --drop-invalid"
    ):
        formats.read(save(tmp_path, make_ply(NAMES + COLOUR, rows)))


def test_ascii_that_is_not_numbers(tmp_path: Path) -> None:
    data = make_ply(NAMES + COLOUR, [[1.0] * 14], form="ascii").replace(b"1.0 1.0", b"1.0 zero", 1)
    with pytest.raises(DataError, match=r"vertex 0: .* is not a row of numbers"):
        formats.read(save(tmp_path, data))


def test_bytes_win_over_the_suffix_when_reading(tmp_path: Path) -> None:
    path = tmp_path / "scene.spz"
    path.write_bytes(make_ply(NAMES + COLOUR, [[1.0] * 14]))
    assert formats.read(path).num_splats == 1


def test_files_of_other_formats_are_named(tmp_path: Path) -> None:
    for data, what in [(b"NGSP....", "SPZ"), (b"PK\x03\x04....", "zip archive"), (b"\x89PNG", "not a file of splats")]:
        with pytest.raises(DataError, match=what):
            formats.read(save(tmp_path, data))
    chunked = b"ply\nformat binary_little_endian 1.0\nelement chunk 1\nproperty float min_x\nend_header\n"
    with pytest.raises(DataError, match="compressed PLY"):
        formats.read(save(tmp_path, chunked))


def test_missing_file_folder_and_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        formats.read(tmp_path / "none.ply")
    with pytest.raises(DataError, match="is a folder"):
        formats.read(tmp_path)
    with pytest.raises(UsageError, match=r"no splat format has this suffix; choose one of \.ply"):
        formats.write(tmp_path / "a.xyz", make_splats())


def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="file size limits are a POSIX thing")
    path = tmp_path / "a.ply"
    formats.write(path, make_splats(2))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit on file size ends a write exactly as a full disk does (EFBIG instead of ENOSPC).
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(DiskFullError, match="still whole"):
            formats.write(path, make_splats(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.ply"]


def test_points_with_and_without_colours(tmp_path: Path) -> None:
    plain = formats.read_points(save(tmp_path, make_ply([*"xyz"], [[1.0, 2.0, 3.0]], form="ascii")))
    assert plain.xyz.tolist() == [[1.0, 2.0, 3.0]]
    assert plain.rgb.tolist() == [[0.5, 0.5, 0.5]]
    floats = formats.read_points(
        save(tmp_path, make_ply([*"xyz", "red", "green", "blue"], [[1.0, 2.0, 3.0, 0.0, 127.5, 255.0]]))
    )
    assert floats.rgb.tolist() == [[0.0, 0.5, 1.0]]
    head = make_ply([*"xyz", "nx", "ny", "nz"], [], count=1).replace(
        b"end_header", b"property uchar red\nproperty uchar green\nproperty uchar blue\nend_header"
    )
    colmap = formats.read_points(save(tmp_path, head + struct.pack("<6f3B", 1, 2, 3, 0, 0, 1, 255, 0, 51)))
    assert np.allclose(colmap.rgb, [[1.0, 0.0, 0.2]])
    assert colmap.xyz.dtype == np.float64


def test_points_of_a_splat_file_have_its_base_colour(tmp_path: Path) -> None:
    splats = make_splats(4, 1)
    formats.write(tmp_path / "a.ply", splats)
    points = formats.read_points(tmp_path / "a.ply")
    assert np.array_equal(points.xyz, splats.means.numpy())
    assert np.allclose(points.rgb, (0.5 + SH_C0 * splats.sh0[:, 0]).clamp(0, 1).numpy(), atol=1e-6)


def test_points_that_cannot_be_used(tmp_path: Path) -> None:
    nan = make_ply([*"xyz"], [[0.0, 0.0, 0.0], [float("nan"), 0.0, 0.0]])
    with pytest.raises(DataError, match="NaN or infinite in 1 of 2 points, the first is point 1"):
        formats.read_points(save(tmp_path, nan))
    with pytest.raises(DataError, match="holds 0 points"):
        formats.read_points(save(tmp_path, make_ply([*"xyz"], [])))
    with pytest.raises(DataError, match="no x y z"):
        formats.read_points(save(tmp_path, make_ply([*"xy"], [[0.0, 0.0]])))
    with pytest.raises(DataError, match="cannot be read"):
        formats.read_points(tmp_path / "none.ply")


def test_cloudcompare_puts_scalar_before_names(tmp_path: Path) -> None:
    rows = np.random.default_rng(2).normal(size=(4, 14)).astype(np.float32).astype(float).tolist()
    plain = formats.read(save(tmp_path, make_ply(NAMES + COLOUR, rows)))
    prefixed = [name if name in "xyz" else f"scalar_{name}" for name in NAMES + COLOUR]
    for (name, a), (_, b) in zip(formats.read(save(tmp_path, make_ply(prefixed, rows))).named(), plain.named()):
        assert torch.equal(a, b), name
    both = formats.read(save(tmp_path, make_ply([*NAMES, *COLOUR, "scalar_opacity"], [[*row, 9.0] for row in rows])))
    assert torch.equal(both.logit_opacities, plain.logit_opacities)


def test_the_filter_of_mip_splatting_is_worked_in(tmp_path: Path) -> None:
    values = [0.0, 0.0, 0.0, 0.5, -2.0, -3.0, -4.0, 1.0, 0.0, 0.0, 0.0, 0.1, 0.2, 0.3]
    rows = [[*values, 0.05], [*values, 0.0]]
    splats = formats.read(save(tmp_path, make_ply([*NAMES, *COLOUR, "filter_3D"], rows)))
    scales = np.exp([-2.0, -3.0, -4.0])
    wider = np.sqrt(scales**2 + 0.05**2)
    opacity = 1 / (1 + np.exp(-0.5)) * np.sqrt(np.prod(scales**2) / np.prod(wider**2))
    assert np.allclose(splats.scales[0].numpy(), wider, atol=1e-6)
    assert np.allclose(splats.opacities[0].numpy(), opacity, atol=1e-6)
    assert splats.log_scales[1].tolist() == [-2.0, -3.0, -4.0]
    assert splats.logit_opacities[1].item() == 0.5
    with pytest.raises(DataError, match="1 of 1 splats hold NaN"):
        formats.read(save(tmp_path, make_ply([*NAMES, *COLOUR, "filter_3D"], [[*values, float("nan")]])))

# SPDX-License-Identifier: Apache-2.0
"""The PLY of 3DGS (Kerbl et al. 2023): one vertex a splat, everything raw, the format that every viewer reads.

Properties x y z nx ny nz, f_dc_0..2, f_rest_* (channel-major: all red coefficients, then green, then blue), opacity
(logit), scale_0..2 (log), rot_0..3 (wxyz, any length), float32 little-endian. Read tolerantly: any order and type of
properties, ascii and big-endian, without normals, without f_rest, colours as red green blue instead of f_dc, names with
CloudCompare's `scalar_`, Mip-Splatting's `filter_3D` (worked into scales and opacities). The
antialias flag is the comment line `SplatRenderMode: mip`, Brush's spelling, which splat-transform reads and keeps too
(Postshot's `antialiased 1` is read); viewers ignore comments and may refuse unknown properties.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.conventions import SH_C0
from sparse3d.errors import DataError
from sparse3d.formats.checks import in_blocks
from sparse3d.formats.format import Knob, Limits, WriteOptions, degree_note, kept_degree, register
from sparse3d.formats.losses import Losses
from sparse3d.formats.ply.colours import unit_colours
from sparse3d.formats.ply.extras import extras_note, is_anchors
from sparse3d.formats.ply.header import PlyHeader, read_header, read_vertices
from sparse3d.formats.ply.names import FILTER, own_names, with_filter
from sparse3d.geometry.places import Origin, as_origin, near_origin
from sparse3d.splats import Splats, num_sh_rest

ANTIALIAS_COMMENT = "SplatRenderMode: mip"
# A 2DGS file has two scales; the third becomes this fraction of the smaller one: flat, but finite in every kernel.
_FLAT = math.log(1e-4)
_REST_COUNTS = {3 * num_sh_rest(degree): degree for degree in range(5)}


@register
class Ply:
    """Plain splat PLY, lossless."""

    name = "ply"
    suffixes: tuple[str, ...] = (".ply",)
    limits = Limits(lossy=False, max_sh_degree=4, keeps_origin=True)
    knobs: tuple[Knob, ...] = ()
    losses = Losses()
    versions: tuple[int, ...] = ()

    def sniff(self, head: bytes) -> bool:
        # A compressed PLY (chunks and packed vertices) is another format with the same magic.
        return head.startswith((b"ply\n", b"ply\r\n")) and b"\nelement chunk " not in head

    def read(self, file: BinaryIO) -> Splats:
        return self.read_with_notes(file)[0]

    def read_with_notes(self, file: BinaryIO) -> tuple[Splats, tuple[str, ...]]:
        """The splats, and sentences on properties that were guessed or passed over."""
        header = read_header(file)
        return splats_from_vertices(header, read_vertices(_checked(file, header), header))

    def write(self, file: BinaryIO, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
        degree = kept_degree(self, splats, opts)
        names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
        names += [f"f_rest_{i}" for i in range(3 * num_sh_rest(degree))]
        names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
        lines = ["ply", "format binary_little_endian 1.0"]
        lines += [f"comment {ANTIALIAS_COMMENT}"] if splats.antialias else []
        lines += origin_lines(splats)
        lines += [f"element vertex {splats.num_splats}", *(f"property float {name}" for name in names), "end_header"]
        file.write(("\n".join(lines) + "\n").encode("ascii"))
        for table in _tables(splats, num_sh_rest(degree)):
            file.write(table.tobytes())
        return degree_note(self, splats, opts)

    def quantised(self, splats: Splats, opts: WriteOptions) -> Splats:
        """Plain PLY loses nothing but the harmonics above the degree asked for."""
        return replace(splats, shN=splats.shN[:, : num_sh_rest(kept_degree(self, splats, opts))].contiguous())

    def file_order(self, splats: Splats) -> Tensor:
        return torch.arange(splats.num_splats)


def _checked(file: BinaryIO, header: PlyHeader) -> BinaryIO:
    """Refuse, before the data is read, a PLY that holds no splats, with the reason."""
    vertex = header.element("vertex")
    names = set(own_names(tuple(name for name, _ in vertex.properties))) if vertex else set()
    if "packed_position" in names:
        raise DataError("PLY has packed vertices but no element 'chunk', which their bounds are in; export it again")
    wanted = ["x", "y", "z", "opacity", "scale_0", "scale_1", "rot_0", "rot_1", "rot_2", "rot_3"]
    missing = [name for name in wanted if name not in names]
    if is_anchors(tuple(names)):
        raise DataError(
            "this PLY holds the anchors of Scaffold-GS, of which a network makes splats; export splats with the "
            "program that trained it"
        )
    faces = header.element("face")
    if vertex and missing and faces and faces.count:
        raise DataError(
            f"this PLY is a mesh ({vertex.count} vertices, {faces.count} faces), not splats; give splats, or photos to "
            "train (`--points` takes the vertices as starting points)"
        )
    if vertex and {"x", "y", "z"} <= names and len(missing) == len(wanted) - 3:
        raise DataError(
            f"this PLY holds {vertex.count} points, not splats (no opacity, scale and rot); "
            "as starting points give it to `sparse3d train --points`"
        )
    if vertex and missing:
        raise DataError(f"PLY of splats lacks the vertex properties {', '.join(missing)}; export the scene again")
    return file


def splats_from_vertices(header: PlyHeader, vertices: NDArray[np.void]) -> tuple[Splats, tuple[str, ...]]:
    """Structured vertices -> Splats, odd rows and all (`formats.rows` judges them), and notes. Raises DataError for a
    wrong number of f_rest."""
    if len(vertices) == 0:
        raise DataError("PLY holds 0 splats; export the scene again")
    names = own_names(vertices.dtype.names or ())
    vertices.dtype.names = names
    rest = sorted((name for name in names if name.startswith("f_rest_")), key=_rest_index)
    if len(rest) not in _REST_COUNTS or [_rest_index(name) for name in rest] != list(range(len(rest))):
        raise DataError(
            f"PLY has {len(rest)} f_rest properties; expected f_rest_0 onwards, "
            f"{', '.join(map(str, _REST_COUNTS))} of them (degree 0 to 4); export it again"
        )
    k = len(rest) // 3
    shN = _columns(vertices, rest).reshape(len(vertices), 3, k).transpose(0, 2, 1)
    log_scales, flat = _log_scales(vertices)
    sh0, guessed = _base_colour(vertices)
    logits = _columns(vertices, ["opacity"])[:, 0]
    if FILTER in names:
        deviations = _columns(vertices, [FILTER])[:, 0]
        log_scales, logits = with_filter(log_scales, logits, deviations)
    means, origin = _means(vertices, origin_of(header.comments))
    splats = Splats(
        means=_tensor(means),
        quats_wxyz=_tensor(_columns(vertices, [f"rot_{i}" for i in range(4)])),
        # A scale of exactly 0 or an opacity of exactly 0 or 1 is infinite as stored; kernels take it as it is.
        log_scales=_tensor(log_scales),
        logit_opacities=_tensor(logits),
        sh0=_tensor(sh0[:, None, :]),
        shN=_tensor(shN),
        antialias=is_antialiased(header.comments),
        origin=origin,
    )
    return splats, (*flat, *guessed, *extras_note(names))


def origin_lines(splats: Splats) -> list[str]:
    """The line of a PLY header that names the place which means are counted from, where that is not the world's
    origin."""
    return [f"comment origin {' '.join(map(repr, splats.origin))}"] if any(splats.origin) else []


def origin_of(comments: tuple[str, ...]) -> Origin:
    """The place that `origin_lines` named, else the world's origin. Raises DataError where three numbers are not."""
    for comment in comments:
        words = comment.split()
        if len(words) != 4 or words[0] != "origin":
            continue
        try:
            place = np.array(words[1:], np.float64)
        except ValueError:
            place = np.full(3, np.nan)
        if not np.isfinite(place).all():
            raise DataError(f"PLY comment {comment[:80]!r} is not an origin of three numbers; correct or remove it")
        return as_origin(place)
    return (0.0, 0.0, 0.0)


def _means(vertices: NDArray[np.void], origin: Origin) -> tuple[NDArray[np.float32], Origin]:
    """Positions, and what they are counted from: doubles far from there would lose their places as float32."""
    if vertices.dtype["x"] != np.float64:
        return _columns(vertices, ["x", "y", "z"]), origin
    means, local = near_origin(np.stack([vertices[name] for name in "xyz"], axis=1).astype(np.float64))
    return means, as_origin(np.add(origin, local))


def is_antialiased(comments: tuple[str, ...]) -> bool:
    """Whether comments of a PLY header say that the scene was trained with opacity compensation."""
    known = {
        "splatrendermode: mip": True,
        "splatrendermode: default": False,
        "antialiased 1": True,
        "antialiased 0": False,
    }
    said = [known[key] for key in (" ".join(comment.lower().split()) for comment in comments) if key in known]
    return said[-1] if said else False


def _log_scales(vertices: NDArray[np.void]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    if "scale_2" in (vertices.dtype.names or ()):
        return _columns(vertices, ["scale_0", "scale_1", "scale_2"]), ()
    flat = _columns(vertices, ["scale_0", "scale_1"])
    note = "the splats have two scales (2DGS): each became a disc, a ten-thousandth of its smaller radius thick"
    return np.concatenate([flat, flat.min(axis=1, keepdims=True) + np.float32(_FLAT)], axis=1), (note,)


def _base_colour(vertices: NDArray[np.void]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    names = vertices.dtype.names or ()
    if all(f"f_dc_{i}" in names for i in range(3)):
        return _columns(vertices, [f"f_dc_{i}" for i in range(3)]), ()
    if all(name in names for name in ("red", "green", "blue")):
        rgb, guessed = unit_colours(vertices, ("red", "green", "blue"))
        return ((rgb - 0.5) / SH_C0).astype(np.float32), guessed
    raise DataError("PLY of splats has no colour, neither f_dc_0..2 nor red green blue; export the scene again")


def _columns(vertices: NDArray[np.void], names: list[str]) -> NDArray[np.float32]:
    out = np.empty((len(vertices), len(names)), dtype=np.float32)
    with np.errstate(over="ignore"):
        for i, name in enumerate(names):
            out[:, i] = vertices[name]
    return out


def _tensor(values: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _tables(splats: Splats, k: int) -> Iterator[NDArray[np.float32]]:
    """[n, 17 + 3k] float32 little-endian rows in the order of the header, a block of splats at a time."""
    arrays = {name: tensor.detach().to("cpu", torch.float32).numpy() for name, tensor in splats.named()}
    for rows in in_blocks(splats.num_splats):
        n = rows.stop - rows.start
        rest = arrays["shN"][rows, :k].transpose(0, 2, 1).reshape(n, 3 * k)
        parts = [arrays["means"][rows], np.zeros((n, 3), np.float32), arrays["sh0"][rows, 0], rest]
        parts += [arrays["logit_opacities"][rows, None], arrays["log_scales"][rows], arrays["quats_wxyz"][rows]]
        yield np.concatenate(parts, axis=1).astype("<f4", copy=False)


def _rest_index(name: str) -> float:
    digits = name[len("f_rest_") :]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 4 else math.inf

# SPDX-License-Identifier: Apache-2.0
"""PlayCanvas' compressed PLY: 16 bytes a splat, bounds for each 256 of them, harmonics as bytes.

Elements: chunk (12 or 18 f32: bounds of x y z, of log scales, and perhaps of colours), vertex (4 u32: position and log
scales as 11-10-11 bits between the bounds, rotation as 2 bits of which of w x y z is largest and 3x10 bits of the
others, colour and opacity as 4x8 bits), sh (9, 24 or 45 u8: (c / 8 + 0.5) 256, channel-major). Chunks are filled along
a Z-order curve, so that their bounds are tight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.compress.order import morton_order
from sparse3d.conventions import SH_C0
from sparse3d.errors import DataError
from sparse3d.formats.checks import (
    alpha_bytes,
    check_count,
    damaged,
    finite,
    in_blocks,
    logits_of_alpha,
    numpy_of,
    to_splats,
    unit_quats,
)
from sparse3d.formats.cuts import check_writable, outside, size_notes
from sparse3d.formats.format import Knob, Limits, WriteOptions, degree_note, kept_degree, register
from sparse3d.formats.losses import Losses
from sparse3d.formats.ply.header import PlyHeader, read_header, read_tables
from sparse3d.formats.ply.ply import ANTIALIAS_COMMENT, is_antialiased, origin_lines, origin_of
from sparse3d.splats import Splats

_CHUNK = 256
_GEOMETRY = [f"{end}_{axis}" for end in ("min", "max") for axis in "xyz"]
_SCALE = [f"{end}_scale_{axis}" for end in ("min", "max") for axis in "xyz"]
_COLOUR = [f"{end}_{channel}" for end in ("min", "max") for channel in "rgb"]
_VERTEX = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]
_SH_COUNTS = {0: 0, 9: 1, 24: 2, 45: 3}
# Log scales are cut at these, as other writers do: one infinite scale would spoil its chunk.
_MOST_LOG_SCALE = 20.0
_MOST_SH = 4.0
# Of a colour 0..1: 255 steps of this size span what no trained scene has.
_MOST_COLOUR_STEP = 0.05
_SQRT_2 = np.float32(np.sqrt(2))


@dataclass(frozen=True)
class _Chunks:
    """bounds [C,18] f32 in the order of the file; vertices [N,4] u32; sh [N,3K] u8, channel-major."""

    bounds: NDArray[np.float32]
    vertices: NDArray[np.uint32]
    sh: NDArray[np.uint8]
    has_colour_bounds: bool
    antialias: bool


@register
class CompressedPly:
    """PlayCanvas' compressed PLY."""

    name = "compressed.ply"
    suffixes: tuple[str, ...] = (".compressed.ply",)
    limits = Limits(
        lossy=True, max_sh_degree=3, activated=("logit_opacities", "sh0"), keeps_origin=True, rounds_means=True
    )
    knobs: tuple[Knob, ...] = ()
    losses = Losses()
    versions: tuple[int, ...] = ()

    def sniff(self, head: bytes) -> bool:
        return head.startswith((b"ply\n", b"ply\r\n")) and b"\nelement chunk " in head

    def read(self, file: BinaryIO) -> Splats:
        header = read_header(file)
        return replace(_unpack(_checked_tables(file, header)), origin=origin_of(header.comments))

    def write(self, file: BinaryIO, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
        chunks, notes = _pack(splats, kept_degree(self, splats, opts))
        lines = ["ply", "format binary_little_endian 1.0"]
        lines += [f"comment {ANTIALIAS_COMMENT}"] if splats.antialias else []
        lines += origin_lines(splats)
        lines += [f"element chunk {len(chunks.bounds)}"]
        lines += [f"property float {name}" for name in _GEOMETRY + _SCALE + _COLOUR]
        lines += [f"element vertex {splats.num_splats}", *(f"property uint {name}" for name in _VERTEX)]
        if chunks.sh.shape[1]:
            lines += [f"element sh {splats.num_splats}"]
            lines += [f"property uchar f_rest_{i}" for i in range(chunks.sh.shape[1])]
        file.write(("\n".join([*lines, "end_header"]) + "\n").encode("ascii"))
        file.write(chunks.bounds.astype("<f4", copy=False).tobytes())
        file.write(chunks.vertices.astype("<u4", copy=False).tobytes())
        file.write(chunks.sh.tobytes())
        return (*degree_note(self, splats, opts), *notes)

    def quantised(self, splats: Splats, opts: WriteOptions) -> Splats:
        """In the order of the file, along a Z-order curve."""
        return _unpack(_pack(splats, kept_degree(self, splats, opts))[0])

    def file_order(self, splats: Splats) -> Tensor:
        return morton_order(splats.means)


def _checked_tables(file: BinaryIO, header: PlyHeader) -> _Chunks:
    counts = {element.name: element.count for element in header.elements}
    if not {"chunk", "vertex"} <= set(counts) or set(counts) - {"chunk", "vertex", "sh"}:
        raise DataError(
            f"compressed PLY has the elements {', '.join(counts)}; expected chunk, vertex and perhaps sh; export it as "
            "plain PLY"
        )
    number = counts["vertex"]
    check_count(number, "compressed PLY")
    if counts["chunk"] != -(-number // _CHUNK):
        raise damaged(f"compressed PLY: {number} splats need {-(-number // _CHUNK)} chunks, found {counts['chunk']}")
    if counts.get("sh", number) != number:
        raise damaged(f"compressed PLY: {number} splats, but harmonics of {counts['sh']}")
    kinds = {element.name: dict(element.properties) for element in header.elements}
    with_colour = all(name in kinds["chunk"] for name in _COLOUR)
    bounds = _GEOMETRY + _SCALE + (_COLOUR if with_colour else [])
    rest = [f"f_rest_{i}" for i in range(len(kinds.get("sh", {})))]
    for name, wanted, kind in (("chunk", bounds, "f4"), ("vertex", _VERTEX, "u4"), ("sh", rest, "u1")):
        wrong = [p for p in wanted if kinds.get(name, {}).get(p) != kind]
        if wrong:
            raise damaged(f"compressed PLY: element {name} lacks {', '.join(wrong[:4])} as {kind}")
    if len(rest) not in _SH_COUNTS:
        raise DataError(
            f"compressed PLY has {len(rest)} harmonics a splat; expected 0, 9, 24 or 45; export it as plain PLY"
        )
    tables = read_tables(file, header)
    read_bounds = np.stack([tables["chunk"][name] for name in bounds], axis=1)
    finite(read_bounds.repeat(_CHUNK, axis=0)[:number], "compressed PLY: the bounds of a chunk")
    return _Chunks(
        read_bounds,
        np.stack([tables["vertex"][name] for name in _VERTEX], axis=1),
        np.stack([tables["sh"][name] for name in rest], axis=1) if rest else np.zeros((number, 0), np.uint8),
        with_colour,
        is_antialiased(header.comments),
    )


def _unpack(chunks: _Chunks) -> Splats:
    n = len(chunks.vertices)
    position, rotation, scale, colour = chunks.vertices.T
    alphas = (colour & 255).astype(np.uint8)
    rgb = np.stack([colour >> 24, (colour >> 16) & 255, (colour >> 8) & 255], axis=1).astype(np.float32)
    rgb /= np.float32(255)
    if chunks.has_colour_bounds:
        rgb = _between(chunks.bounds[:, 12:18], rgb)
    k = chunks.sh.shape[1] // 3
    shN = _SH_VALUES[np.ascontiguousarray(chunks.sh.reshape(n, 3, k).transpose(0, 2, 1))]
    return to_splats(
        _between(chunks.bounds[:, 0:6], _fields(position)), _quats(rotation),
        _between(chunks.bounds[:, 6:12], _fields(scale)), logits_of_alpha(alphas),
        (rgb - np.float32(0.5)) / np.float32(SH_C0), shN, antialias=chunks.antialias,
    )  # fmt: skip


# A byte of harmonics stands for the middle of its step, but for the ends, which stand for -4 and 4.
_SH_VALUES = ((np.r_[0, (np.arange(1, 255) + 0.5) / 256, 1] - 0.5) * 8).astype(np.float32)


def _fields(packed: NDArray[np.uint32]) -> NDArray[np.float32]:
    """[N,3] in 0..1 of 11, 10 and 11 bits."""
    fields = np.stack([packed >> 21, (packed >> 11) & 1023, packed & 2047], axis=1).astype(np.float32)
    fields /= np.array([2047, 1023, 2047], dtype=np.float32)
    return fields


def _between(bounds: NDArray[np.float32], t: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N,3] at t of the way from the lower to the upper bounds [C,6] of each splat's chunk."""
    low = bounds[:, :3].repeat(_CHUNK, axis=0)[: len(t)]
    high = bounds[:, 3:].repeat(_CHUNK, axis=0)[: len(t)]
    return low * (np.float32(1) - t) + high * t


def _quats(packed: NDArray[np.uint32]) -> NDArray[np.float32]:
    fields = np.stack([packed >> 20, packed >> 10, packed], axis=1) & 1023
    others = (fields.astype(np.float32) / 1023 - np.float32(0.5)) * _SQRT_2
    largest = packed >> 30
    rest = np.sqrt(np.maximum(0, 1 - np.einsum("ij,ij->i", others, others)))
    out = np.empty((len(packed), 4), dtype=np.float32)
    for i in range(4):
        rows = largest == i
        out[rows, i] = rest[rows]
        out[np.ix_(rows, np.delete(np.arange(4), i))] = others[rows]
    return out


def _pack(splats: Splats, degree: int) -> tuple[_Chunks, tuple[str, ...]]:
    if splats.num_splats == 0:
        raise DataError("there are no splats to write; give a scene that has some")
    given = numpy_of(splats, degree)
    check_writable(given)
    order = morton_order(splats.means).numpy()
    arrays = {name: values[order] for name, values in given.items() if name != "shN"}
    log_scales = arrays["log_scales"].clip(-_MOST_LOG_SCALE, _MOST_LOG_SCALE)
    rgb = arrays["sh0"] * np.float32(SH_C0) + np.float32(0.5)
    position_bounds, position = _normalised(arrays["means"])
    scale_bounds, scale = _normalised(log_scales)
    colour_bounds, colour = _normalised(rgb)
    red, green, blue = np.rint(colour * 255).astype(np.uint32).T
    alphas = alpha_bytes(arrays["logit_opacities"]).astype(np.uint32)
    vertices = np.stack(
        [_packed(position), _packed_quats(arrays["quats_wxyz"]), _packed(scale),
         (red << 24) | (green << 16) | (blue << 8) | alphas], axis=1,
    )  # fmt: skip
    sh, beyond = np.empty((len(order), 3 * given["shN"].shape[1]), dtype=np.uint8), 0
    for rows in in_blocks(len(order)):
        shN = given["shN"][order[rows]].transpose(0, 2, 1).reshape(rows.stop - rows.start, -1)
        beyond += outside(shN, -_MOST_SH, _MOST_SH)
        sh[rows] = np.floor((shN / 8 + np.float32(0.5)) * 256).clip(0, 255)
    notes = (f"harmonics of {beyond} splats lie outside of -4..4 and were cut",) if beyond else ()
    notes += size_notes(given["log_scales"], -_MOST_LOG_SCALE, _MOST_LOG_SCALE) + _colour_note(
        colour_bounds, len(order)
    )
    bounds = np.concatenate([position_bounds, scale_bounds, colour_bounds], axis=1)
    return _Chunks(bounds, vertices, sh, True, splats.antialias), notes


def _colour_note(bounds: NDArray[np.float32], count: int) -> tuple[str, ...]:
    """A sentence on splats whose colours are rounded to coarse steps, for their chunk holds one far beyond 0..1."""
    coarse = (bounds[:, 3:] - bounds[:, :3]).max(axis=1) > 255 * _MOST_COLOUR_STEP
    rounded = int(coarse.repeat(_CHUNK)[:count].sum())
    if not rounded:
        return ()
    return (
        f"colours of {rounded} splats are rounded to steps of more than {_MOST_COLOUR_STEP:g} of white, for one colour "
        "among each 256 of them lies far outside of 0..1",
    )


def _normalised(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bounds [C,6] of each chunk of values [N,3], and the values as 0..1 between them (0 where they are equal)."""
    starts = np.arange(0, len(values), _CHUNK)
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    span = (high - low).repeat(_CHUNK, axis=0)[: len(values)]
    offset = values - low.repeat(_CHUNK, axis=0)[: len(values)]
    t = np.divide(offset, span, out=np.zeros_like(offset), where=span > 0)
    return np.concatenate([low, high], axis=1), t.clip(0, 1)


def _packed(t: NDArray[np.float32]) -> NDArray[np.uint32]:
    x, y, z = np.rint(t * np.array([2047, 1023, 2047], dtype=np.float32)).astype(np.uint32).T
    return (x << 21) | (y << 11) | z


def _packed_quats(quats: NDArray[np.float32]) -> NDArray[np.uint32]:
    unit = unit_quats(quats)
    largest = np.abs(unit).argmax(axis=1)
    unit = unit * np.where(unit[np.arange(len(unit)), largest] < 0, -1, 1)[:, None].astype(np.float32)
    others = np.take_along_axis(unit, np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest], axis=1)
    a, b, c = np.rint((others / _SQRT_2 + np.float32(0.5)) * 1023).clip(0, 1023).astype(np.uint32).T
    return (largest.astype(np.uint32) << 30) | (a << 20) | (b << 10) | c

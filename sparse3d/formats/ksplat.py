# SPDX-License-Identifier: Apache-2.0
"""The .ksplat of mkkellogg/GaussianSplats3D, read only: its writers and readers disagree in practice.

A header of 4096 bytes, headers of 1024 bytes for each section, then the sections: sizes of partly filled buckets u32,
centres of buckets 3 f32, splats. Level 0 holds f32 (harmonics too); level 1 positions as u16 between the edges of a
bucket, f16 scales, rotations and harmonics; level 2 harmonics as u8 between two bounds of the header. Scales are
linear, colour and opacity 4 u8, quaternions w x y z; harmonics channel-major within each degree (its own
writer stops at degree 2, others write 3).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparse3d.conventions import SH_C0
from sparse3d.errors import DataError, UsageError
from sparse3d.formats.checks import check_count, damaged, logits_of_alpha, remaining_bytes, to_splats, unit_quats
from sparse3d.formats.format import Knob, Limits, WriteOptions, register
from sparse3d.formats.losses import Losses
from sparse3d.splats import Splats

_HEADER, _SECTION = 4096, 1024
_SH_NUMBERS = (0, 9, 24, 45)
_SCALE_RANGE = (1, 32767, 32767)
_SH_RANGE = 1.5
_LEAST_LOG_SCALE = -20.7


@dataclass(frozen=True)
class _Header:
    level: int
    num_sections: int
    num_splats: int
    sh_low: float
    sh_high: float


@dataclass(frozen=True)
class _Section:
    """One section's place and layout. num_rows: splats that there is room for; num_splats of them are used."""

    at: int
    num_splats: int
    num_rows: int
    bucket_splats: int
    num_buckets: int
    bucket_bytes: int
    block_size: float
    scale_range: int
    full_buckets: int
    partial_buckets: int
    sh_degree: int
    row: np.dtype

    @property
    def centres_at(self) -> int:
        return self.at + 4 * self.partial_buckets

    @property
    def splats_at(self) -> int:
        return self.centres_at + self.bucket_bytes * self.num_buckets

    @property
    def end(self) -> int:
        return self.splats_at + self.row.itemsize * self.num_rows


@register
class Ksplat:
    """.ksplat: read only, known by its suffix only."""

    name = "ksplat"
    suffixes: tuple[str, ...] = (".ksplat",)
    limits = Limits(
        lossy=True, max_sh_degree=3, activated=("log_scales", "logit_opacities", "sh0"), keeps_antialias=False,
        writable=False, has_magic=False,
    )  # fmt: skip
    knobs: tuple[Knob, ...] = ()
    losses = Losses()
    versions: tuple[int, ...] = ()

    def sniff(self, head: bytes) -> bool:
        return False

    def read(self, file: BinaryIO) -> Splats:
        data = file.read(remaining_bytes(file))
        header = _read_header(data)
        sections = _read_sections(data, header)
        degree = max(section.sh_degree for section in sections)
        parts = [_read_section(data, header, section, degree) for section in sections]
        return to_splats(*(np.concatenate(columns) for columns in zip(*parts)))

    def write(self, file: BinaryIO, splats: Splats, opts: WriteOptions) -> tuple[str, ...]:
        raise UsageError("ksplat files are read but not written; choose PLY, SPZ, SOG, glTF or .splat")

    def quantised(self, splats: Splats, opts: WriteOptions) -> Splats:
        raise UsageError("ksplat files are read but not written; choose PLY, SPZ, SOG, glTF or .splat")

    def file_order(self, splats: Splats) -> Tensor:
        raise UsageError("ksplat files are read but not written; choose PLY, SPZ, SOG, glTF or .splat")


def _read_header(data: bytes) -> _Header:
    if len(data) < _HEADER:
        raise damaged(f"ksplat is cut off: {len(data)} bytes where the header has {_HEADER}")
    if data[0] != 0 or data[1] < 1:
        raise DataError(f"ksplat, byte 0: version {data[0]}.{data[1]}; expected 0.1; export it again, or as PLY")
    sections, _, _, count = struct.unpack_from("<4I", data, 4)
    level = struct.unpack_from("<H", data, 20)[0]
    if level > 2:
        raise damaged(f"ksplat, byte 20: compression level {level}; expected 0, 1 or 2")
    check_count(count, "ksplat, byte 16:")
    if _HEADER + _SECTION * sections > len(data):
        raise damaged(
            f"ksplat is cut off: headers of {sections} sections end at byte {_HEADER + _SECTION * sections}, "
            f"the file at {len(data)}"
        )
    low, high = (value or end for value, end in zip(struct.unpack_from("<2f", data, 36), (-_SH_RANGE, _SH_RANGE)))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise damaged("ksplat, byte 36: bounds of the harmonics are not finite")
    return _Header(level, sections, count, low, high)


def _row(level: int, degree: int) -> np.dtype:
    """The layout of one splat."""
    real = "<f4" if level == 0 else "<f2"
    sh = ("<f4", "<f2", "u1")[level]
    mean = "<f4" if level == 0 else "<u2"
    fields = [("mean", mean, 3), ("scale", real, 3), ("quat", real, 4), ("rgba", "u1", 4)]
    return np.dtype([*fields, ("sh", sh, (_SH_NUMBERS[degree],))])


def _read_sections(data: bytes, header: _Header) -> list[_Section]:
    at = _HEADER + _SECTION * header.num_sections
    out: list[_Section] = []
    for i in range(header.num_sections):
        start = _HEADER + _SECTION * i
        used, rows, bucket_splats, buckets = struct.unpack_from("<4I", data, start)
        block_size, bucket_bytes = struct.unpack_from("<fH", data, start + 16)
        scale_range = struct.unpack_from("<I", data, start + 24)[0] or _SCALE_RANGE[header.level]
        full, partial = struct.unpack_from("<2I", data, start + 32)
        degree = struct.unpack_from("<H", data, start + 40)[0]
        where = f"ksplat, section {i} (byte {start})"
        if degree > 3:
            raise DataError(
                f"{where}: spherical harmonics of degree {degree}; at most 3 are known; export it again, or as PLY"
            )
        section = _Section(at, used, rows, bucket_splats, buckets, bucket_bytes, block_size, scale_range, full,
                           partial, degree, _row(header.level, degree))  # fmt: skip
        if used > rows:
            raise damaged(f"{where}: {used} splats where there is room for {rows}")
        if section.end > len(data):
            raise damaged(f"{where} is cut off: it ends at byte {section.end}, the file at {len(data)}")
        if header.level and used:
            _check_buckets(section, where)
        at = section.end
        if used:
            out.append(section)
    found = sum(section.num_splats for section in out)
    if found != header.num_splats:
        raise damaged(f"ksplat, byte 16: {header.num_splats} splats, but its sections hold {found}")
    if at != len(data):
        raise damaged(f"ksplat has {len(data) - at} bytes after its last section, which ends at byte {at}")
    return out


def _check_buckets(section: _Section, where: str) -> None:
    if section.bucket_bytes != 12 or not section.bucket_splats or not np.isfinite(section.block_size):
        raise damaged(f"{where}: buckets of {section.bucket_splats} splats and {section.bucket_bytes} bytes")
    if section.full_buckets + section.partial_buckets > section.num_buckets:
        raise damaged(
            f"{where}: {section.full_buckets} full and {section.partial_buckets} partly filled buckets of "
            f"{section.num_buckets}"
        )


def _read_section(data: bytes, header: _Header, section: _Section, degree: int) -> tuple[NDArray[Any], ...]:
    rows = np.frombuffer(data, dtype=section.row, count=section.num_splats, offset=section.splats_at)
    if header.level == 0:
        means = rows["mean"]
    else:
        step = np.float32(section.block_size / 2 / section.scale_range)
        offset = rows["mean"].astype(np.float32) - section.scale_range
        means = offset * step + _centres(data, section)
    scales = rows["scale"].astype(np.float32)
    if (scales < 0).any():
        raise damaged(f"ksplat: a scale is negative in splat {int((scales < 0).any(axis=1).argmax())}")
    with np.errstate(divide="ignore"):
        log_scales = np.maximum(np.log(scales), np.float32(_LEAST_LOG_SCALE))
    sh0: NDArray[Any] = (rows["rgba"][:, :3].astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(SH_C0)
    return (
        means, unit_quats(rows["quat"].astype(np.float32), keep_zero=True),
        log_scales, logits_of_alpha(rows["rgba"][:, 3]), sh0, _harmonics(rows["sh"], header, section, degree),
    )  # fmt: skip


def _centres(data: bytes, section: _Section) -> NDArray[np.float32]:
    """[num_splats,3] centre of each splat's bucket. Raises DataError where the buckets do not hold all splats."""
    centres = np.frombuffer(data, "<f4", 3 * section.num_buckets, section.centres_at).reshape(-1, 3)
    sizes = np.frombuffer(data, "<u4", section.partial_buckets, section.at).astype(np.int64)
    in_full = section.full_buckets * section.bucket_splats
    if in_full + int(sizes.sum()) < section.num_splats or (sizes > section.bucket_splats).any():
        raise damaged(
            f"ksplat, byte {section.at}: buckets hold {in_full + int(sizes.sum())} splats, there are "
            f"{section.num_splats}"
        )
    full = np.arange(min(in_full, section.num_splats)) // section.bucket_splats
    partial = np.repeat(np.arange(section.partial_buckets), sizes) + section.full_buckets
    return centres[np.concatenate([full, partial])[: section.num_splats]]


def _harmonics(stored: NDArray[np.number], header: _Header, section: _Section, degree: int) -> NDArray[np.float32]:
    """[num_splats,K,3] for `degree`, zeros above the section's own."""
    values = stored.astype(np.float32)
    if header.level == 2:
        values = values * np.float32((header.sh_high - header.sh_low) / 255) + np.float32(header.sh_low)
    out = np.zeros((len(values), (degree + 1) ** 2 - 1, 3), dtype=np.float32)
    for band in range(1, section.sh_degree + 1):
        first, width = band**2 - 1, 2 * band + 1
        out[:, first : first + width] = values[:, 3 * first : 3 * (first + width)].reshape(-1, 3, width).swapaxes(1, 2)
    return out

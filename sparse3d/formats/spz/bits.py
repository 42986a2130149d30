# SPDX-License-Identifier: Apache-2.0
"""SPZ's numbers: from splats to bytes and back (nianticlabs/spz, README.md and the values of its reader).

Per splat: position 3x24-bit fixed point (version 1: 3 halves), alpha u8 of the opacity, colour 3xu8 of
0.15 sh0 + 0.5, scale 3xu8 of 16 (log scale + 10), rotation 4 bytes (index of the largest component in the upper 2 bits,
then for the other three of x, y, z, w a sign and 9 bits of 511 sqrt(2) |q|; versions 1 and 2: x, y, z as u8),
harmonics K x 3 u8 of 128 c + 128, channel fastest. Axes right-up-back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sparse3d.formats.axes import RIGHT_UP_BACK, Signs, quat_signs, sh_signs
from sparse3d.formats.checks import alpha_bytes, logits_of_alpha, to_splats, unit_quats
from sparse3d.splats import Splats

Bytes = NDArray[np.uint8]
# Colour is stored as 0.15 sh0 + 0.5: about twice the visible range.
COLOUR_SCALE = 0.15
# What the bytes 0 and 255 stand for: log scales, base colours (sh0), harmonics.
RANGES = ((-10.0, 5.9375), (-0.5 / COLOUR_SCALE, 0.5 / COLOUR_SCALE), (-1.0, 127 / 128))
_SQRT_HALF = np.float32(np.sqrt(0.5))
# Columns of wxyz for SPZ's component i of x, y, z, w.
_XYZW = np.array([1, 2, 3, 0])


@dataclass(frozen=True)
class Packed:
    """The six streams of a file, one row a splat.

    positions [N,9] (version 1: [N,6]), alphas [N], colours [N,3], scales [N,3], rotations [N,4] (versions 1 and 2:
    [N,3]), sh [N,3K] with the channel fastest. signs: of the stored axes against ours.
    """

    positions: Bytes
    alphas: Bytes
    colours: Bytes
    scales: Bytes
    rotations: Bytes
    sh: Bytes
    version: int
    sh_degree: int
    fractional_bits: int
    antialias: bool
    signs: Signs = RIGHT_UP_BACK

    def streams(self) -> tuple[Bytes, ...]:
        """In the order of the file."""
        return (self.positions, self.alphas, self.colours, self.scales, self.rotations, self.sh)

    def permuted(self, order: NDArray[np.int64]) -> Packed:
        """The same splats in another order."""
        names = ("positions", "alphas", "colours", "scales", "rotations", "sh")
        return replace(self, **{name: getattr(self, name)[order] for name in names})


def row_bytes(version: int, sh_degree: int) -> tuple[int, ...]:
    """Bytes of one splat in each stream."""
    return (6 if version == 1 else 9, 1, 3, 3, 4 if version >= 3 else 3, 3 * ((sh_degree + 1) ** 2 - 1))


def unpack(packed: Packed) -> Splats:
    """Splats in our axes. Raises DataError for a NaN or infinite position, which only version 1 can hold."""
    n = len(packed.alphas)
    means = _positions(packed) * np.array(packed.signs, dtype=np.float32)
    quats = _rotations(packed.rotations) * quat_signs(packed.signs)
    shN = _SH_VALUES[packed.sh].reshape(n, -1, 3)
    shN *= sh_signs(packed.signs, packed.sh_degree)[:, None]
    log_scales = packed.scales.astype(np.float32) / 16 - 10
    logits = logits_of_alpha(packed.alphas)
    sh0 = (packed.colours.astype(np.float32) / 255 - 0.5) / COLOUR_SCALE
    return to_splats(means, quats, log_scales, logits, sh0, shN, antialias=packed.antialias)


_SH_VALUES = ((np.arange(256) - 128) / 128).astype(np.float32)


def _positions(packed: Packed) -> NDArray[np.float32]:
    n = len(packed.positions)
    if packed.version == 1:
        return np.ascontiguousarray(packed.positions).view("<f2").astype(np.float32)
    # The three bytes go to the top of an int32, so that the shift down brings the sign.
    wide = np.zeros((3 * n, 4), dtype=np.uint8)
    wide[:, 1:] = packed.positions.reshape(3 * n, 3)
    fixed = wide.view("<i4").reshape(n, 3) >> 8
    return fixed.astype(np.float32) * np.float32(2.0**-packed.fractional_bits)


def _rotations(rotations: Bytes) -> NDArray[np.float32]:
    if rotations.shape[1] == 3:
        xyz = (rotations.astype(np.float32) / 127.5 - 1).astype(np.float32, copy=False)
        w = np.sqrt(np.maximum(0, 1 - np.einsum("ij,ij->i", xyz, xyz)))
        return np.concatenate([w[:, None], xyz], axis=1)
    bits = np.ascontiguousarray(rotations).view("<u4")[:, 0]
    largest = bits >> 30
    # The three stored components in the order of the file: the earliest of x, y, z, w is in the upper bits.
    fields = np.stack([bits >> 20, bits >> 10, bits], axis=1)
    stored = (fields & 511).astype(np.float32) * (_SQRT_HALF / 511)
    np.negative(stored, out=stored, where=(fields & 512) != 0)
    rest = np.sqrt(np.maximum(0, 1 - np.einsum("ij,ij->i", stored, stored)))
    out = np.empty((len(bits), 4), dtype=np.float32)
    for i in range(4):
        rows = largest == i
        out[rows, _XYZW[i]] = rest[rows]
        out[np.ix_(rows, np.delete(_XYZW, i))] = stored[rows]
    return out


def fixed_positions(means: NDArray[np.float32], fractional_bits: int) -> tuple[Bytes, int]:
    """[N,9] bytes of positions in right-up-back axes, and how many splats had to be moved to fit into 24 bits."""
    fixed = np.rint(means.astype(np.float64) * 2.0**fractional_bits)
    fixed *= np.array(RIGHT_UP_BACK)
    outside = int((np.abs(fixed) > 2**23 - 1).any(axis=1).sum())
    whole = np.clip(fixed, -(2**23), 2**23 - 1).astype("<i4")
    return np.ascontiguousarray(whole.view(np.uint8).reshape(-1, 3, 4)[:, :, :3].reshape(-1, 9)), outside


def scale_bytes(log_scales: NDArray[np.float32], keep_bits: int = 8) -> Bytes:
    """[N,3] bytes of log scales, multiples of 2^(8 - keep_bits)."""
    return _to_u8((log_scales + 10) * 16, keep_bits)


def colour_bytes(sh0: NDArray[np.float32], keep_bits: int = 8) -> Bytes:
    """Bytes of base colours, multiples of 2^(8 - keep_bits)."""
    return _to_u8((sh0 * np.float32(COLOUR_SCALE) + np.float32(0.5)) * 255, keep_bits)


def coarser(values: Bytes, keep_bits: int) -> Bytes:
    """The nearest of 2^keep_bits values evenly from 0 to 255, both included."""
    if keep_bits == 8:
        return values
    steps = 2**keep_bits - 1
    return np.rint(np.rint(values * (steps / 255)) * (255 / steps)).astype(np.uint8)


def rotation_bytes(quats_wxyz: NDArray[np.float32], keep_bits: NDArray[np.int64] | int = 9) -> Bytes:
    """[N,4] bytes of quaternions of any length. keep_bits (scalar or [N]): bits of 9 that a component keeps."""
    xyzw = (unit_quats(quats_wxyz) * quat_signs(RIGHT_UP_BACK))[:, _XYZW]
    rows = np.arange(len(xyzw))
    largest = np.abs(xyzw).argmax(axis=1)
    xyzw *= np.where(xyzw[rows, largest] < 0, -1, 1)[:, None].astype(np.float32)
    others = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest]
    values = np.take_along_axis(xyzw, others, axis=1)
    step = np.left_shift(1, 9 - np.broadcast_to(np.asarray(keep_bits), (len(xyzw),)))[:, None]
    exact = np.abs(values) * (511 / _SQRT_HALF)
    magnitude = (np.rint(exact / step) * step).clip(0, 511).astype(np.uint32)
    fields = magnitude | np.where((values < 0) & (magnitude > 0), np.uint32(512), np.uint32(0))
    bits = (largest.astype(np.uint32) << 30) | (fields[:, 0] << 20) | (fields[:, 1] << 10) | fields[:, 2]
    return bits.astype("<u4")[:, None].view(np.uint8)


def sh_bytes(shN: NDArray[np.float32], degree: int, steps: NDArray[np.float32]) -> Bytes:
    """[N,3K] bytes of harmonics [N,K,3]. steps [K] or [N,K]: bytes between two values, a power of 2, 128 being one."""
    exact = shN * (128 * sh_signs(RIGHT_UP_BACK, degree))[:, None]
    wide = np.broadcast_to(steps, shN.shape[:2])[:, :, None]
    exact /= wide
    np.rint(exact, out=exact)
    exact *= wide
    exact += 128
    # The largest stored value is a multiple of the step too: 255 would cost a symbol of its own.
    np.clip(exact, 0, np.where(wide > 1, 256 - wide, 255), out=exact)
    return exact.astype(np.uint8).reshape(len(shN), -1)


def alphas(logits: NDArray[np.float32]) -> Bytes:
    return alpha_bytes(logits)


def _to_u8(values: NDArray[np.float32], keep_bits: int = 8) -> Bytes:
    step = 2 ** (8 - keep_bits)
    whole = np.rint(np.nan_to_num(values, nan=0, posinf=255, neginf=0).clip(0, 255) / step) * step
    return whole.clip(0, 256 - step).astype(np.uint8)

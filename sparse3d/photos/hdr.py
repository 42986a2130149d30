# SPDX-License-Identifier: Apache-2.0
"""Video signals with more range or more colours than sRGB has, to 8-bit sRGB.

HLG and PQ are taken to light on the reference display of 1000 cd/m2, where diffuse white stands at 203 cd/m2 (ITU-R
BT.2408-7, table 1: 75 % HLG, 58 % PQ). That white becomes sRGB's; up to four fifths of it nothing but the units
changes, and what is brighter is rolled off, so that a highlight of 1000 cd/m2 is just white. The primaries of BT.2020
and of Display P3 become those of BT.709, which sRGB has; colours beyond these are clipped (as BT.2407 allows).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Code points of ITU-T H.273: transfer characteristics and colour primaries.
PQ, HLG = 16, 18
LINEAR = 8
BT2020, P3_D65 = 9, 12
NAMES = {PQ: "PQ", HLG: "HLG", LINEAR: "linear light", BT2020: "BT.2020", P3_D65: "Display P3"}
PEAK_NITS, WHITE_NITS = 1000.0, 203.0
# Where the shoulder of the tone curve begins, as a share of diffuse white.
_KNEE = 0.8
_CODES = 65536
# Rows converted at a time: a 4K frame in float32 would take 100 MB.
_STRIP = 128
# CIE x and y of red, green and blue (BT.709, BT.2020, SMPTE EG 432-1); the white of all is D65.
_CHROMATICITIES = {
    "709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    P3_D65: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)


def needs_conversion(transfer: int, primaries: int) -> bool:
    """Whether a signal with these code points would look wrong if it were taken for sRGB."""
    return transfer in (PQ, HLG, LINEAR) or primaries in (BT2020, P3_D65)


def to_srgb8(signal: NDArray[np.uint16], transfer: int, primaries: int) -> NDArray[np.uint8]:
    """R'G'B' signal [H,W,3], full range of 16 bits -> sRGB [H,W,3]. transfer, primaries: code points of H.273; HLG and
    PQ without primaries have those of BT.2020, as BT.2100 says."""
    hdr = transfer in (PQ, HLG)
    if hdr and primaries not in _CHROMATICITIES:
        primaries = BT2020
    matrix = bt709_from(primaries).astype(np.float32)
    decode = _decoder(transfer)
    encode = _encoder()
    out = np.empty(signal.shape, np.uint8)
    for top in range(0, len(signal), _STRIP):
        light = decode[signal[top : top + _STRIP]]
        if transfer == HLG:
            light = hlg_display(light, primaries)
        light = light @ matrix.T
        if hdr:
            light = rolled_off(light)
        codes = np.clip(light, 0.0, 1.0) * np.float32(_CODES - 1) + np.float32(0.5)
        out[top : top + _STRIP] = encode[codes.astype(np.uint16)]
    return out


def hlg_scene(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """HLG signal 0..1 -> scene light 0..1: the inverse OETF of BT.2100-2, table 5."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def hlg_display(scene: NDArray[np.float32], primaries: int) -> NDArray[np.float32]:
    """Scene light [...,3] 0..1 -> light of the display, 1 = diffuse white: the OOTF of BT.2100-2, table 5, with the
    system gamma of a peak of 1000 cd/m2, 1.2. The luminance is that of the primaries."""
    luminance = scene @ _xyz_from(primaries)[1].astype(np.float32)
    return scene * (luminance**0.2 * np.float32(PEAK_NITS / WHITE_NITS))[..., None]


def pq_display(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """PQ signal 0..1 -> light of the display, 1 = diffuse white: the EOTF of BT.2100-2, table 4 (SMPTE ST 2084)."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = signal ** (1 / m2)
    return (np.maximum(root - c1, 0.0) / (c2 - c3 * root)) ** (1 / m1) * (10000 / WHITE_NITS)


def rolled_off(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light [...,3], 1 = diffuse white, up to the peak -> 0..1. Below the knee nothing changes; above, the brightest
    channel follows a hyperbola that leaves the knee without a bend and is 1 at the peak; the others keep their share,
    so that no hue changes."""
    brightest = light.max(axis=-1, keepdims=True)
    over = np.maximum(brightest - np.float32(_KNEE), 0.0)
    bend = np.float32(1 / (1 - _KNEE) - 1 / (PEAK_NITS / WHITE_NITS - _KNEE))
    curve = np.float32(_KNEE) + over / (1 + over * bend)
    return np.where(over > 0, light * (curve / np.maximum(brightest, np.float32(_KNEE))), light)


@lru_cache
def bt709_from(primaries: int) -> NDArray[np.float64]:
    """[3,3]: linear light of these primaries to that of BT.709; the identity for any that are not wide."""
    if primaries not in _CHROMATICITIES:
        return np.eye(3)
    return np.linalg.inv(_xyz_from("709")) @ _xyz_from(primaries)


@lru_cache
def _xyz_from(primaries: int | str) -> NDArray[np.float64]:
    """[3,3]: linear RGB to CIE XYZ, with Y = 1 at white (SMPTE RP 177); the second row is the luminance."""

    def xyz(x: float, y: float) -> list[float]:
        return [x / y, 1.0, (1 - x - y) / y]

    columns = np.array([xyz(x, y) for x, y in _CHROMATICITIES[primaries]]).T
    return columns * np.linalg.solve(columns, xyz(*_D65))


@lru_cache
def _decoder(transfer: int) -> NDArray[np.float32]:
    """[65536] light of each code: of the scene for HLG, of the display for the others. BT.709's and
    those before it count as sRGB's: their displays are alike."""
    signal = np.arange(_CODES) / (_CODES - 1)
    if transfer == HLG:
        light = hlg_scene(signal)
    elif transfer == PQ:
        light = pq_display(signal)
    elif transfer == LINEAR:
        light = signal
    else:
        light = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


@lru_cache
def _encoder() -> NDArray[np.uint8]:
    """[65536] the sRGB value (IEC 61966-2-1) of each step of linear light."""
    light = np.arange(_CODES) / (_CODES - 1)
    return np.rint(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)).astype(
        np.uint8
    )

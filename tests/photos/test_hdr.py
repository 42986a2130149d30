# SPDX-License-Identifier: Apache-2.0
"""HDR and wide colours: the formulas give the values that the recommendations print, and films come out in the colours
that were filmed."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import ImageCms

from sparse3d.photos import hdr
from sparse3d.photos.files import decode, photo_info
from sparse3d.photos.video import extract_frames, frame_notes

# sRGB values of patches, and how far each may be off: white lies in the shoulder of the tone curve.
PATCHES = np.array([
    [255, 255, 255], [188, 188, 188], [118, 118, 118], [60, 60, 60],
    [200, 40, 40], [40, 160, 60], [40, 60, 200], [220, 180, 40],
], np.float64)  # fmt: skip
SIDE = 48


def test_levels_that_the_recommendations_print() -> None:
    # BT.2100: the two parts of the HLG curve meet at half of the signal and a twelfth of the light.
    np.testing.assert_allclose(hdr.hlg_scene(np.array([0.0, 0.5, 1.0])), [0.0, 1 / 12, 1.0], atol=1e-6)
    # BT.2408, table 1: diffuse white, 203 cd/m2, is 75 % HLG and 58 % PQ; peak white of HLG is 1000 cd/m2.
    for level, nits in ((0.75, 203.0), (1.0, 1000.0)):
        grey = np.full((1, 3), hdr.hlg_scene(np.array(level)), np.float32)
        np.testing.assert_allclose(hdr.hlg_display(grey, hdr.BT2020) * hdr.WHITE_NITS, nits, rtol=0.01)
    np.testing.assert_allclose(hdr.pq_display(np.array(0.58)) * hdr.WHITE_NITS, 203.0, rtol=0.01)
    np.testing.assert_allclose(hdr.pq_display(np.array(1.0)) * hdr.WHITE_NITS, 10000.0, rtol=1e-9)
    # SMPTE ST 2084 puts 100 cd/m2 at 0.508.
    np.testing.assert_allclose(hdr.pq_display(np.array(0.5081)) * hdr.WHITE_NITS, 100.0, rtol=0.002)


def test_primaries() -> None:
    # ITU-R BT.2087 prints the inverse of this one to four digits.
    bt2020_from_709 = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    np.testing.assert_allclose(np.linalg.inv(hdr.bt709_from(hdr.BT2020)), bt2020_from_709, atol=1e-4)
    for primaries in (hdr.BT2020, hdr.P3_D65):
        np.testing.assert_allclose(hdr.bt709_from(primaries).sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_array_equal(hdr.bt709_from(1), np.eye(3))


def test_the_tone_curve() -> None:
    light = np.linspace(0, hdr.PEAK_NITS / hdr.WHITE_NITS, 500, dtype=np.float32)
    out = hdr.rolled_off(np.repeat(light[:, None], 3, axis=1))[:, 0]
    np.testing.assert_array_equal(out[light <= 0.8], light[light <= 0.8])
    assert (np.diff(out) > 0).all()
    assert out[-1] == pytest.approx(1.0, abs=1e-6)
    # No bend where the shoulder begins, and no change of hue in it.
    slope = np.diff(out) / np.diff(light)
    assert np.abs(np.diff(slope)).max() < 0.11
    colour = hdr.rolled_off(np.array([[3.0, 1.5, 0.3]], np.float32))
    np.testing.assert_allclose(colour / colour[0, 0], [[1.0, 0.5, 0.1]], rtol=1e-6)


def linear(srgb: np.ndarray) -> np.ndarray:
    value = srgb / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def hlg_signal(nits: np.ndarray) -> np.ndarray:
    """Light of the display in cd/m2 [N,3] -> HLG signal, the inverse of the OOTF and of the inverse OETF, from the
    formulas of BT.2100 once more."""
    y = nits @ [0.2627, 0.6780, 0.0593]
    scene = nits / 1000 * (y[:, None] / 1000) ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def pq_signal(nits: np.ndarray) -> np.ndarray:
    y = (np.maximum(nits, 0) / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def sdr_signal(nits: np.ndarray) -> np.ndarray:
    light = nits / 203
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


# BT.2087's matrix from BT.709 to BT.2020, and the one to Display P3 (SMPTE EG 432-1).
TO_2020 = np.array(
    [[0.6274039, 0.3292830, 0.0433131], [0.0690973, 0.9195404, 0.0113623], [0.0163914, 0.0880133, 0.8955953]]
)
TO_P3 = np.array([[0.8224622, 0.1775380, 0.0], [0.0331942, 0.9668058, 0.0], [0.0170827, 0.0723974, 0.9105199]])


def write_patches(
    path: Path, signal: np.ndarray, *, ten_bit: bool, coding: str = "ffv1", frames: int = 4, **tags: int
) -> None:
    """Film of patches in a row, lossless by default. signal: [N,3] 0..1."""
    rgb = np.rint(signal * 65535).astype(np.uint16)[None].repeat(SIDE, axis=0).repeat(SIDE, axis=1)
    with av.open(str(path), "w") as container:
        options = {"crf": "5", "svtav1-params": "lp=1"} if coding != "ffv1" else {}
        stream = container.add_stream(coding, rate=10, options=options)
        stream.width, stream.height = rgb.shape[1], SIDE
        kind = "yuv444p" if coding == "ffv1" else "yuv420p"
        stream.pix_fmt = kind + "10le" if ten_bit else kind
        context = stream.codec_context
        context.color_range = 1
        for key, value in tags.items():
            setattr(context, key, value)
        space = 9 if tags["colorspace"] == 9 else 1
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb48le")
            out = frame.reformat(format=stream.pix_fmt, dst_colorspace=space, dst_color_range="MPEG")
            out.pts = number
            container.mux(stream.encode(out))
        container.mux(stream.encode())


CASES = {
    "HLG": (hlg_signal, TO_2020, {"color_trc": 18, "color_primaries": 9, "colorspace": 9}, "HDR, HLG and BT.2020"),
    "PQ": (pq_signal, TO_2020, {"color_trc": 16, "color_primaries": 9, "colorspace": 9}, "HDR, PQ and BT.2020"),
    "PQ in P3": (pq_signal, TO_P3, {"color_trc": 16, "color_primaries": 12, "colorspace": 1}, "HDR, PQ and Display P3"),
    "HLG alone": (hlg_signal, TO_2020, {"color_trc": 18, "color_primaries": 2, "colorspace": 9}, "HDR, HLG"),
    "BT.2020": (sdr_signal, TO_2020, {"color_trc": 14, "color_primaries": 9, "colorspace": 9}, "BT.2020"),
    "P3": (sdr_signal, TO_P3, {"color_trc": 1, "color_primaries": 12, "colorspace": 1}, "Display P3"),
    "linear": (
        lambda nits: nits / 203,
        np.eye(3),
        {"color_trc": 8, "color_primaries": 1, "colorspace": 1},
        "linear light",
    ),
    "BT.709": (sdr_signal, np.eye(3), {"color_trc": 1, "color_primaries": 1, "colorspace": 1}, None),
}


@pytest.mark.parametrize("ten_bit", [True, False], ids=["10 bit", "8 bit"])
@pytest.mark.parametrize("case", CASES)
def test_colours_are_those_that_were_filmed(tmp_path: Path, case: str, ten_bit: bool) -> None:
    signal_of, matrix, tags, name = CASES[case]
    signal = np.clip(signal_of(203 * linear(PATCHES) @ matrix.T), 0, 1)
    path = tmp_path / "v.mkv"
    write_patches(path, signal, ten_bit=ten_bit, **tags)
    rgb, _ = decode(extract_frames(path, tmp_path / "frames", 2)[0])
    found = np.array([rgb[12:-12, k * SIDE + 12 : (k + 1) * SIDE - 12].mean(axis=(0, 1)) for k in range(len(PATCHES))])
    hdr_film = tags["color_trc"] in (16, 18)
    np.testing.assert_allclose(found[0], PATCHES[0], atol=20 if hdr_film else 2)
    np.testing.assert_allclose(found[1:], PATCHES[1:], atol=5 if ten_bit else 9)
    notes = frame_notes(tmp_path / "frames")
    assert notes == (() if name is None else (f"v.mkv is filmed in {name}; its colours are converted to sRGB",))


@pytest.mark.parametrize("case", CASES)
def test_photos_too(tmp_path: Path, case: str) -> None:
    """AVIF says its colours in the same code points."""
    signal_of, matrix, tags, name = CASES[case]
    path = tmp_path / "p.avif"
    signal = np.clip(signal_of(203 * linear(PATCHES) @ matrix.T), 0, 1)
    write_patches(path, signal, ten_bit=True, coding="libsvtav1", frames=1, **tags)
    rgb, _ = decode(path)
    found = np.array([rgb[16:-16, k * SIDE + 16 : (k + 1) * SIDE - 16].mean(axis=(0, 1)) for k in range(len(PATCHES))])
    # Decoded to 8 bits of HDR, whose steps are three times as wide in dark colours.
    np.testing.assert_allclose(found[1:], PATCHES[1:], atol=18)
    assert photo_info(path).profile == name
    # A second picture in plain colours is a phone's, and the first is the plain one.
    data = path.read_bytes()
    path.write_bytes(data + b"\0\0\0\x13colrnclx\0\1\0\x0d\0\1\0")
    assert photo_info(path).profile is None


def png_with(colours: tuple[int, int, int, int], signal: np.ndarray, *, icc: bytes = b"") -> bytes:
    """A PNG of 16 bits with the chunk cICP (primaries, transfer, matrix, full range) and perhaps a profile."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = signal.shape[:2]
    rows = np.rint(signal * 65535).astype(">u2")
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", width, height, 16, 2, 0, 0, 0))
    out += chunk(b"cICP", bytes(colours)) + (chunk(b"iCCP", b"p\0\0" + zlib.compress(icc)) if icc else b"")
    return out + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("full", [True, False], ids=["full range", "narrow range"])
@pytest.mark.parametrize("case", CASES)
def test_png_says_its_colours_in_a_chunk(tmp_path: Path, case: str, full: bool) -> None:
    signal_of, matrix, tags, name = CASES[case]
    signal = np.clip(signal_of(203 * linear(PATCHES) @ matrix.T), 0, 1)
    signal = np.repeat(np.repeat(signal[None], 8, axis=0), 8, axis=1)
    if not full:
        signal = (4096 + 56064 * signal) / 65535
    path = tmp_path / "p.png"
    path.write_bytes(png_with((tags["color_primaries"], tags["color_trc"], 0, full), signal))
    rgb, alpha = decode(path)
    assert alpha is None
    np.testing.assert_allclose(rgb[4, 4 + 8 :: 8], PATCHES[1:], atol=2)
    np.testing.assert_allclose(rgb[4, 4], PATCHES[0], atol=20 if tags["color_trc"] in (16, 18) else 2)
    said = photo_info(path).profile
    assert said == (name if full else f"{name} and narrow range" if name else "narrow range")


def test_a_chunk_counts_more_than_a_profile_and_a_forbidden_one_for_nothing(tmp_path: Path) -> None:

    grey = np.full((8, 8, 3), 0.5)
    path = tmp_path / "p.png"
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    path.write_bytes(png_with((1, 13, 0, 1), grey, icc=lab))
    assert photo_info(path).profile is None
    assert abs(int(decode(path)[0].mean()) - 128) <= 1
    # BT.2020's matrix is for YCbCr, which PNG does not hold.
    path.write_bytes(png_with((9, 16, 9, 1), grey))
    assert photo_info(path).profile is None
    assert abs(int(decode(path)[0].mean()) - 128) <= 1

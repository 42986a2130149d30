# SPDX-License-Identifier: Apache-2.0
"""SogData to the files of a bundle or folder and back: which image holds what, and where a splat's pixel is."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.formats.checks import damaged
from sparse3d.formats.sog.data import SogData, SogPalette, splats_from_sog
from sparse3d.formats.sog.images import decode_image, encode_image
from sparse3d.formats.sog.meta import META_LIMIT, SogMeta, make_meta, parse_meta
from sparse3d.formats.sog.v1 import splats_from_v1
from sparse3d.splats import Splats, num_sh_rest

# Bytes of a named file, at most so many; raises DataError.
Loader = Callable[[str, int], bytes]
META = "meta.json"
_ROW_ENTRIES = 64
# A bomb's image unpacks to 10,000 times its bytes. Real images hold at most one splat a byte (places alone need more);
# a count beyond a million and these is refused: a small file may take some 500 MB of memory, another byte 1 kB more.
_FREE_COUNT, _SPLATS_A_BYTE = 1 << 20, 4
_COEFFICIENTS = {64 * num_sh_rest(degree): degree for degree in (1, 2, 3)}


def image_size(count: int) -> tuple[int, int]:
    """Width and height in pixels of the images of `count` splats: multiples of 4, nearly square."""
    width = 4 * math.ceil(math.sqrt(count) / 4)
    return width, 4 * math.ceil(count / width / 4)


def files_from_sog(data: SogData) -> dict[str, bytes]:
    """The files by name, meta.json first. Their lengths are the sizes of the parts."""
    count = len(data.means)
    numbers = [float(value) for value in data.mins], [float(value) for value in data.maxs]
    planes: dict[str, NDArray[np.uint8]] = {
        "means_l.webp": (data.means & 255).astype(np.uint8),
        "means_u.webp": (data.means >> 8).astype(np.uint8),
        "quats.webp": data.quats,
        "scales.webp": data.scales,
        "sh0.webp": data.colour,
    }
    groups: dict[str, dict[str, object]] = {
        "means": {"mins": numbers[0], "maxs": numbers[1], "files": ["means_l.webp", "means_u.webp"]},
        "scales": {"codebook": _listed(data.scale_codebook), "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": _listed(data.colour_codebook), "files": ["sh0.webp"]},
    }
    images = {name: _laid_out(plane) for name, plane in planes.items()}
    if data.palette is not None:
        entries, coefficients = data.palette.centroids.shape[:2]
        labels = np.stack([data.palette.labels & 255, data.palette.labels >> 8, 0 * data.palette.labels], axis=1)
        images["shN_centroids.webp"] = _palette_image(data.palette.centroids)
        images["shN_labels.webp"] = _laid_out(labels.astype(np.uint8))
        groups["shN"] = {
            "count": entries,
            "bands": round(math.sqrt(coefficients + 1)) - 1,
            "codebook": _listed(data.palette.codebook),
            "files": ["shN_centroids.webp", "shN_labels.webp"],
        }
    # The codec lets go of Python's lock: one image a thread.
    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        encoded = dict(zip(images, pool.map(encode_image, images.values()), strict=True))
    return {META: make_meta(count, data.antialias, groups, data.origin), **encoded}


def splats_from_files(load: Loader, total_bytes: int) -> Splats:
    """The splats of a SOG of `total_bytes` in all its files. Raises DataError for whatever is wrong with it."""
    meta = parse_meta(load(META, META_LIMIT))
    most = _FREE_COUNT + _SPLATS_A_BYTE * total_bytes
    if meta.count > most:
        raise damaged(f"meta.json says {meta.count} splats; {total_bytes} bytes of images hold at most {most}")
    # Some writers pad to whole tiles or powers of two.
    planes = {role: _plane(load, meta, role, total_bytes) for role in ("means_l", "means_u", "quats", "scales", "sh0")}
    low, high = planes["means_l"][:, :3].astype(np.uint16), planes["means_u"][:, :3].astype(np.uint16)
    means = (low | high << 8).astype(np.uint16)
    centroids, labels = _read_palette(load, meta, total_bytes)
    if meta.version == 1:
        return splats_from_v1(meta, means, planes["quats"], planes["scales"], planes["sh0"], centroids, labels)
    palette = None
    if centroids is not None and labels is not None:
        palette = SogPalette(centroids, labels, meta.tables["shN"].astype(np.float32))
    return splats_from_sog(
        SogData(
            means=means,
            mins=meta.tables["means_mins"],
            maxs=meta.tables["means_maxs"],
            quats=planes["quats"],
            scales=planes["scales"][:, :3],
            scale_codebook=meta.tables["scales"].astype(np.float32),
            colour=planes["sh0"],
            colour_codebook=meta.tables["sh0"].astype(np.float32),
            palette=palette,
            antialias=meta.antialias,
            origin=meta.origin,
        )
    )


def _plane(load: Loader, meta: SogMeta, role: str, limit: int) -> NDArray[np.uint8]:
    name = meta.files[role]
    pixels = decode_image(load(name, limit), name, meta.count, 4 * meta.count + (1 << 16))
    # Not a view: padding may be three times what counts.
    return pixels.reshape(-1, 4)[: meta.count].copy()


def _read_palette(
    load: Loader, meta: SogMeta, limit: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]] | tuple[None, None]:
    if meta.bands == 0:
        return None, None
    name = meta.files["centroids"]
    least = 1 if meta.bands is None else num_sh_rest(meta.bands) * (meta.palette or 1)
    pixels = decode_image(load(name, limit), name, least, 65536 * num_sh_rest(3))
    rows, width = pixels.shape[:2]
    degree = _COEFFICIENTS.get(width)
    if degree is None or meta.bands not in (None, degree):
        raise damaged(f"{name} is {width} pixels wide; expected {_width_text(meta.bands)} (64 entries a row)")
    entries = meta.palette or rows * _ROW_ENTRIES
    if entries > rows * _ROW_ENTRIES:
        raise damaged(f"{name} has {rows} rows of {_ROW_ENTRIES} entries; meta.json says {entries} entries")
    centroids = pixels[:, :, :3].reshape(rows * _ROW_ENTRIES, -1, 3)[:entries]
    plane = _plane(load, meta, "labels", limit)
    labels = (plane[:, 0].astype(np.uint16) | plane[:, 1].astype(np.uint16) << 8).astype(np.uint16)
    if int(labels.max()) >= entries:
        raise damaged(
            f"{meta.files['labels']} names entry {int(labels.max())} for splat {int(labels.argmax())}; the palette has "
            f"{entries}"
        )
    return centroids, labels


def _width_text(bands: int | None) -> str:
    return " or ".join(str(width) for width, degree in _COEFFICIENTS.items() if bands in (None, degree))


def _laid_out(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Values [N,C] as an image [H,W,C], row by row; the last is repeated to the end, which costs next to nothing."""
    width, height = image_size(len(values))
    padding = np.broadcast_to(values[-1], (width * height - len(values), values.shape[1]))
    return np.concatenate([values, padding]).reshape(height, width, -1)


def _palette_image(centroids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows = math.ceil(len(centroids) / _ROW_ENTRIES)
    padding = np.broadcast_to(centroids[-1], (rows * _ROW_ENTRIES - len(centroids), *centroids.shape[1:]))
    return np.concatenate([centroids, padding]).reshape(rows, -1, 3)


def _listed(values: NDArray[np.float32]) -> list[float]:
    # The shortest digits that name the same float32.
    return [float(str(value)) for value in values]

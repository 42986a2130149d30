# SPDX-License-Identifier: Apache-2.0
"""Per-pixel maps from files: npy, npz, png, tif and exr to arrays, unknown pixels as NaN."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparse3d.depth.priors.exr import read_exr
from sparse3d.errors import DataError

DEPTH_SUFFIXES = (".npy", ".npz", ".exr", ".png", ".tif", ".tiff")
NORMAL_SUFFIXES = (".npy", ".npz", ".png")
# Renderers write something like 1e10 where there is no surface.
_FAR_AWAY = 1e9
# Shorter or longer vectors are no normals: black borders of png files, for one, decode to a length of 1.7.
_LENGTHS = (0.7, 1.3)


def read_depth(path: Path, png_scale: float) -> NDArray[np.float32]:
    """[H,W] float32 of a depth map's file, NaN where it says nothing (NaN, infinite, beyond 1e9, or 0 in a png or tif
    of whole numbers). Whole numbers are multiplied by `png_scale`. Raises DataError with the path."""
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        values = _plane(_numpy(path, "depth"), path)
    elif suffix == ".exr":
        values = read_exr(path)
    else:
        values = _picture_depth(path, png_scale)
    values = values.astype(np.float32)
    values[~np.isfinite(values) | (np.abs(values) > _FAR_AWAY)] = np.nan
    if np.isnan(values).all():
        raise DataError(f"{path}: no pixel of this depth map has a value")
    return values


def read_normals(path: Path) -> NDArray[np.float32]:
    """[H,W,3] float32 of unit length in the file's own axes, zero where it says nothing. Raises DataError."""
    if path.suffix.lower() in (".npy", ".npz"):
        values = _numpy(path, "normal")
        if values.ndim == 4 and values.shape[0] == 1:
            values = values[0]
        if values.ndim == 3 and values.shape[0] == 3 and values.shape[2] != 3:
            values = np.moveaxis(values, 0, 2)
        if values.ndim != 3 or values.shape[2] != 3:
            raise DataError(f"{path}: is an array {list(values.shape)}; normals are [H,W,3] or [3,H,W]")
        normals = values.astype(np.float32) * (2.0 / 255.0) - 1.0 if values.dtype == np.uint8 else values
    else:
        with _open(path) as picture:
            if picture.mode != "RGB":
                raise DataError(f"{path}: is a {picture.mode} picture; normals are red, green and blue, 8 bits each")
            normals = np.asarray(picture, np.float32) * (2.0 / 255.0) - 1.0
    normals = normals.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        length = np.sqrt((normals.astype(np.float64) ** 2).sum(axis=2))
    known = (length > _LENGTHS[0]) & (length < _LENGTHS[1])
    if not known.any():
        raise DataError(
            f"{path}: holds no vector of length 1 (the median length is {np.nanmedian(length):.3g}); normals are -1..1 "
            "in npy files and 0..255 in png files"
        )
    return np.where(known[:, :, None], normals / np.where(known, length, 1.0)[:, :, None], 0.0).astype(np.float32)


def _numpy(path: Path, key: str) -> NDArray:
    """The array of an npy file, or of an npz file the one called `key`, else the only one."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            values = loaded
        else:
            with loaded:
                names = loaded.files
                name = key if key in names else names[0] if len(names) == 1 else None
                if name is None:
                    raise DataError(f"{path}: holds {', '.join(names) or 'nothing'}; the array must be called {key!r}")
                values = loaded[name]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is not a NumPy file of plain numbers ({error})") from error
    if values.dtype.kind not in "fui":
        raise DataError(f"{path}: holds {values.dtype} values instead of numbers")
    return values


def _plane(values: NDArray, path: Path) -> NDArray:
    """[H,W] of an array that may have further axes of length 1."""
    shape = values.shape
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim != 2 or 0 in values.shape:
        raise DataError(f"{path}: is an array {list(shape)}; a depth map is [H,W]")
    return values


def _picture_depth(path: Path, scale: float) -> NDArray[np.float32]:
    with _open(path) as picture:
        if picture.mode == "F":
            return np.array(picture, np.float32)
        if picture.mode != "L" and not picture.mode.startswith("I"):
            raise DataError(
                f"{path}: is a {picture.mode} picture; a depth map has one channel (16-bit png), not colours"
            )
        steps = np.array(picture).astype(np.float32)
    return np.where(steps > 0, steps * np.float32(scale), np.nan).astype(np.float32)


def _open(path: Path) -> Image.Image:
    try:
        picture = Image.open(path)
        picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be opened as a picture ({error})") from error
    return picture

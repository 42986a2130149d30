# SPDX-License-Identifier: Apache-2.0
"""A plain point cloud in a PLY file, as COLMAP, Open3D, CloudCompare and phones' scanners write it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparse3d.conventions import SH_C0
from sparse3d.errors import DataError
from sparse3d.formats.ply.header import read_header, read_vertices

_COLOUR_NAMES = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))


class PointCloud(NamedTuple):
    """xyz [N,3] float32 in the file's frame, rgb [N,3] float32 in 0..1 (sRGB; mid grey for a file without colour)."""

    xyz: NDArray[np.float32]
    rgb: NDArray[np.float32]


def read_points(path: Path) -> PointCloud:
    """Points of a PLY file; the splats of a splat PLY count as points with their base colour.

    Raises DataError, with the path, for a missing, truncated or empty file and for coordinates that are not finite.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            vertices = read_vertices(file, header := read_header(file))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if any(element.name == "chunk" for element in header.elements):
        raise DataError(f"{path}: is a compressed PLY (packed vertices), not a point cloud; save it as a plain PLY")
    names = vertices.dtype.names or ()
    if not {"x", "y", "z"} <= set(names):
        raise DataError(f"{path}: the vertices have no x y z (properties: {', '.join(names)})")
    if len(vertices) == 0:
        raise DataError(f"{path}: holds 0 points")
    xyz = np.stack([vertices[name].astype(np.float32) for name in ("x", "y", "z")], axis=1)
    bad = ~np.isfinite(xyz).all(axis=1)
    if bad.any():
        raise DataError(
            f"{path}: x y z is NaN or infinite in {int(bad.sum())} of {len(xyz)} points, "
            f"the first is point {int(bad.argmax())}"
        )
    return PointCloud(xyz, _colours(vertices))


def _colours(vertices: NDArray[np.void]) -> NDArray[np.float32]:
    names = set(vertices.dtype.names or ())
    for triple in _COLOUR_NAMES:
        if not set(triple) <= names:
            continue
        rgb = np.stack([vertices[name].astype(np.float32) for name in triple], axis=1)
        kind = vertices.dtype[triple[0]]
        if kind.kind in "iu":
            rgb /= np.float32(np.iinfo(kind).max)
        elif rgb.max() > 1.0:
            # Some programs store 0..255 as float; no sRGB value above 1 has another meaning.
            rgb /= np.float32(255.0)
        return np.clip(np.nan_to_num(rgb, nan=0.5), 0.0, 1.0)
    if {"f_dc_0", "f_dc_1", "f_dc_2"} <= names:
        sh0 = np.stack([vertices[f"f_dc_{i}"].astype(np.float32) for i in range(3)], axis=1)
        return np.clip(np.nan_to_num(0.5 + np.float32(SH_C0) * sh0, nan=0.5), 0.0, 1.0)
    return np.full((len(vertices), 3), 0.5, dtype=np.float32)

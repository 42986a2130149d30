# SPDX-License-Identifier: Apache-2.0
"""A plain point cloud in a PLY file, as COLMAP, Open3D, CloudCompare and phones' scanners write it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparse3d.conventions import SH_C0
from sparse3d.errors import DataError
from sparse3d.formats.ply.colours import unit_colours
from sparse3d.formats.ply.header import PlyHeader, read_header, read_vertices
from sparse3d.formats.ply.names import own_names

_COLOUR_NAMES = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_F_DC = ("f_dc_0", "f_dc_1", "f_dc_2")
_ROTATION = ("rot_0", "rot_1", "rot_2", "rot_3")


class PointCloud(NamedTuple):
    """xyz [N,3] float64 in the file's frame, rgb [N,3] float32 in 0..1 (sRGB; mid grey for a file without colour).
    notes: one sentence for each thing that was left out or guessed."""

    xyz: NDArray[np.float64]
    rgb: NDArray[np.float32]
    notes: tuple[str, ...] = ()


def read_points(path: Path) -> PointCloud:
    """Points of a PLY file; the splats of a splat PLY count as points with their base colour.

    Rows with a rotation of exactly zero are no splats and no points. Raises DataError, with the path, for a missing,
    truncated or empty file and for coordinates that are not finite.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            vertices = read_vertices(file, header := read_header(file))
        return _points(header, vertices)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}; check the path, and that you may read it"
        ) from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _points(header: PlyHeader, vertices: NDArray[np.void]) -> PointCloud:
    if any(element.name == "chunk" for element in header.elements):
        raise DataError("is a compressed PLY (packed vertices), not a point cloud; save it as a plain PLY")
    names = own_names(vertices.dtype.names or ())
    vertices.dtype.names = names
    if not {"x", "y", "z"} <= set(names):
        raise DataError(
            f"the vertices have no x y z (properties: {', '.join(names)[:200]}); export the points again, as PLY"
        )
    if len(vertices) == 0:
        raise DataError("holds 0 points; export the points again")
    vertices, notes = _without_empty(vertices)
    xyz = np.stack([vertices[name].astype(np.float64) for name in ("x", "y", "z")], axis=1)
    bad = ~np.isfinite(xyz).all(axis=1)
    if bad.any():
        advice = (
            "`sparse3d convert IN.ply OUT.ply --drop-invalid` leaves them out"
            if set(_ROTATION) <= set(names)
            else ("remove them with the program that wrote the file")
        )
        raise DataError(
            f"x y z is NaN or infinite in {int(bad.sum())} of {len(xyz)} points, the first is point "
            f"{int(bad.argmax())}; {advice}"
        )
    rgb, more = _colours(vertices)
    unknown = int((~np.isfinite(rgb)).any(axis=1).sum())
    if unknown:
        more += (f"colours of {unknown} of {len(xyz)} points are no numbers: grey stands for these",)
    return PointCloud(xyz, np.clip(np.nan_to_num(rgb, nan=0.5, posinf=0.5, neginf=0.5), 0.0, 1.0), (*notes, *more))


def _without_empty(vertices: NDArray[np.void]) -> tuple[NDArray[np.void], tuple[str, ...]]:
    """The rows but those of deleted splats, and the sentence that counts these."""
    if not set(_ROTATION) <= set(vertices.dtype.names or ()):
        return vertices, ()
    empty = np.all([vertices[name] == 0 for name in _ROTATION], axis=0)
    count = int(empty.sum())
    if not count:
        return vertices, ()
    if count == len(vertices):
        raise DataError(f"all {count} rows have a rotation of exactly zero and are no splats; export the scene again")
    note = f"{count} of {len(vertices)} rows have a rotation of exactly zero and are no splats: they were left out"
    return vertices[~empty], (note,)


def _colours(vertices: NDArray[np.void]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """[N,3] with white at 1, not cut, and notes on what was guessed."""
    names = set(vertices.dtype.names or ())
    if set(_F_DC) <= names:
        sh0 = np.stack([vertices[name].astype(np.float32) for name in _F_DC], axis=1)
        return np.float32(0.5) + np.float32(SH_C0) * sh0, ()
    for triple in _COLOUR_NAMES:
        if set(triple) <= names:
            return unit_colours(vertices, triple)
    return np.full((len(vertices), 3), 0.5, dtype=np.float32), ("the points have no colour: grey stands for it",)

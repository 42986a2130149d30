# SPDX-License-Identifier: Apache-2.0
"""The meta.json of SOG, versions 1 and 2: every value is checked before it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse3d.errors import DataError
from sparse3d.formats.checks import damaged
from sparse3d.formats.sog.zip import check_name
from sparse3d.geometry.places import Origin, as_origin

# A meta.json of 256-entry codebooks is 4 to 20 KB; some writers indent it.
META_LIMIT = 1 << 20
MAX_COUNT = 1 << 26
_BANDS = (1, 2, 3)


@dataclass(frozen=True)
class SogMeta:
    """What meta.json says. files: names of the images by role (means_l, means_u, quats, scales, sh0 and, where there
    are harmonics, centroids, labels). tables: arrays float64 by role: codebooks [256] in version 2; `*_mins`, `*_maxs`.
    bands: degree of the harmonics, 0 for none, None where version 1 leaves it to the size of the image.
    palette: entries (None: as many as the image has)."""

    version: int
    count: int
    antialias: bool
    files: Mapping[str, str]
    tables: Mapping[str, NDArray[np.float64]]
    bands: int | None
    palette: int | None
    origin: Origin = (0.0, 0.0, 0.0)


def parse_meta(data: bytes) -> SogMeta:
    """Raises DataError that names the field, what was expected and what was found."""
    try:
        root = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(f"meta.json is not JSON: {str(error)[:200]}") from None
    if not isinstance(root, dict):
        raise damaged(f"meta.json holds {_seen(root)}, expected an object")
    version = root.get("version", 1)
    if version not in (1, 2) or isinstance(version, bool):
        raise DataError(
            f"meta.json: version is {_seen(version)}, expected 2 (or none, for version 1); export it as version 2, or "
            "as PLY"
        )
    files = {
        **_files(root, "means", ("means_l", "means_u")),
        **_files(root, "scales", ("scales",)),
        **_files(root, "quats", ("quats",)),
        **_files(root, "sh0", ("sh0",)),
    }
    tables = {f"means_{end}": _numbers(root, f"means.{end}", 3) for end in ("mins", "maxs")}
    if (np.abs([*tables.values()]) > 80).any():
        raise damaged("meta.json: means.mins and means.maxs are logarithms, expected within -80 to 80")
    if "shN" in root:
        files.update(_files(root, "shN", ("centroids", "labels")))
    return _version_1(root, files, tables) if version == 1 else _version_2(root, files, tables)


def _version_2(root: dict[str, Any], files: dict[str, str], tables: dict[str, NDArray[np.float64]]) -> SogMeta:
    for role in ("scales", "sh0", *(("shN",) if "shN" in root else ())):
        tables[role] = _numbers(root, f"{role}.codebook", 256)
    bands = palette = 0
    if "shN" in root:
        bands = _integer(root, "shN.bands", 1, 3)
        palette = _integer(root, "shN.count", 1, 65536)
    antialias = root.get("antialias", False)
    if not isinstance(antialias, bool):
        raise damaged(f"meta.json: antialias is {_seen(antialias)}, expected true or false")
    # splat-transform writes the second form, the specification has the first.
    antialias = antialias or root.get("model") == "antialiased"
    count = _integer(root, "count", 1, MAX_COUNT)
    return SogMeta(2, count, antialias, files, tables, bands, palette, _origin(root))


def _origin(root: dict[str, Any]) -> Origin:
    asset = root.get("asset")
    if not isinstance(asset, dict) or "origin" not in asset:
        return (0.0, 0.0, 0.0)
    return as_origin(_numbers(root, "asset.origin", 3))


def _version_1(root: dict[str, Any], files: dict[str, str], tables: dict[str, NDArray[np.float64]]) -> SogMeta:
    shape = _field(root, "means.shape")
    if not isinstance(shape, list) or not shape:
        raise damaged(f"meta.json: means.shape is {_seen(shape)}, expected [number of splats, 3]")
    count = _within("means.shape[0]", shape[0], 1, MAX_COUNT)
    for end in ("mins", "maxs"):
        tables[f"scales_{end}"] = _numbers(root, f"scales.{end}", 3)
        tables[f"sh0_{end}"] = _numbers(root, f"sh0.{end}", 4)
        if "shN" in root:
            # One number for all coefficients; some writers put it into a list.
            value = _field(root, f"shN.{end}")
            tables[f"shN_{end}"] = _array(f"shN.{end}", value if isinstance(value, list) else [value], 1)
    return SogMeta(1, count, False, files, tables, None if "shN" in root else 0, None)


def make_meta(
    count: int, antialias: bool, groups: Mapping[str, Mapping[str, object]], origin: Origin = (0.0, 0.0, 0.0)
) -> bytes:
    """meta.json of version 2; `groups` are the objects means, scales, quats, sh0 and shN in that order. origin: that
    of the means, noted where the file says who wrote it."""
    asset: dict[str, object] = {"generator": "sparse3d"}
    if any(origin):
        asset["origin"] = list(origin)
    root: dict[str, object] = {"version": 2, "asset": asset, "count": count}
    root["antialias"] = antialias
    if antialias:
        root["model"] = "antialiased"
    root.update(groups)
    return json.dumps(root, separators=(",", ":")).encode("ascii")


def _files(root: dict[str, Any], group: str, roles: tuple[str, ...]) -> dict[str, str]:
    names = _field(root, f"{group}.files")
    if not isinstance(names, list) or len(names) != len(roles) or not all(isinstance(name, str) for name in names):
        raise damaged(f"meta.json: {group}.files is {_seen(names)}, expected {len(roles)} file names")
    for name in names:
        check_name(name)
    return dict(zip(roles, names, strict=True))


def _field(root: dict[str, Any], path: str) -> Any:
    value: Any = root
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise damaged(f"meta.json has no {path}")
        value = value[key]
    return value


def _numbers(root: dict[str, Any], path: str, count: int) -> NDArray[np.float64]:
    return _array(path, _field(root, path), count)


def _array(path: str, value: Any, count: int) -> NDArray[np.float64]:
    good = isinstance(value, list) and len(value) == count and all(_is_number(item) for item in value)
    if not good:
        raise damaged(f"meta.json: {path} is {_seen(value)}, expected {count} finite numbers")
    return np.array(value, dtype=np.float64)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # Beyond float32 every reader would have infinities; NaN fails the comparison too.
    return abs(value) < 1e38


def _integer(root: dict[str, Any], path: str, low: int, high: int) -> int:
    return _within(path, _field(root, path), low, high)


def _within(path: str, value: Any, low: int, high: int) -> int:
    if not _is_number(value) or not low <= value <= high or value != math.floor(value):
        raise damaged(f"meta.json: {path} is {_seen(value)}, expected a whole number {low} to {high}")
    return int(value)


def _seen(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    return repr(value)[:60]

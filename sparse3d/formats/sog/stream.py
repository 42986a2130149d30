# SPDX-License-Identifier: Apache-2.0
"""Streamed SOG: one scene in several levels of detail, cut into chunks that a viewer fetches as it needs them.

A folder with `lod-meta.json` and folders `LEVEL_NUMBER/meta.json`, each a SOG of one level. The tree of lod-meta.json
halves space; each leaf says, for each level, which rows of which file lie in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparse3d.compress.order import morton_order
from sparse3d.errors import DataError, UsageError
from sparse3d.formats.atomic import atomic_file
from sparse3d.formats.checks import unit_quats
from sparse3d.formats.format import WriteOptions, check_options
from sparse3d.formats.sog.data import permuted
from sparse3d.formats.sog.files import files_from_sog
from sparse3d.formats.sog.quantise import check_splats, sog_from_splats
from sparse3d.formats.sog.sog import Sog, write_files
from sparse3d.geometry.quaternions import rotation_from_quats
from sparse3d.splats import Splats

INDEX = "lod-meta.json"
_DIGITS = 7


def write_streamed_sog(
    folder: Path, levels: Sequence[Splats], opts: WriteOptions | None = None, *, chunk: int = 1 << 19
) -> dict[str, int]:
    """Write `levels` (finest first, each a whole scene by itself) as streamed SOG; returns bytes by file.

    chunk: splats of all levels in a leaf, at most, and about the splats of one level in a file. lod-meta.json is
    written last. Raises UsageError for no levels, DataError for a level without splats or with NaN.
    """
    format_, opts = Sog(), opts or WriteOptions()
    check_options(format_, opts)
    if not levels or chunk < 1:
        raise UsageError(
            f"streamed SOG needs one level of detail or more and a chunk of 1 or more, found {len(levels)}"
        )
    for number, level in enumerate(levels):
        try:
            check_splats(level)
        except DataError as error:
            raise DataError(f"level {number}: {error}") from None
    (folder / INDEX).unlink(missing_ok=True)
    tree = _Tree(levels, chunk)
    root = tree.build(np.concatenate([level.means.double().numpy() for level in levels]), np.arange(tree.starts[-1]))
    sizes: dict[str, int] = {}
    for name, (number, rows) in tree.files.items():
        part = levels[number].select(torch.from_numpy(np.concatenate(rows)))
        data = sog_from_splats(part, format_.settings(part, opts))
        # The rows of a leaf stay together: only the palette is put into their order.
        files = files_from_sog(permuted(data, np.arange(part.num_splats)))
        write_files(folder / Path(name).parent, files)
        sizes |= {f"{Path(name).parent}/{file}": len(data) for file, data in files.items()}
    counts = [level.num_splats for level in levels]
    meta = {
        "version": 1,
        "asset": {"generator": "sparse3d"},
        "count": sum(counts),
        "counts": counts,
        "lodLevels": len(levels),
        "lodErrors": False,
        "filenames": list(tree.files),
        "tree": root,
    }
    data = json.dumps(meta, separators=(",", ":")).encode("ascii")
    with atomic_file(folder / INDEX) as file:
        file.write(data)
    return {INDEX: len(data), **sizes}


class _Tree:
    """Leaves of at most `chunk` splats of all levels together, and the files that their rows go to."""

    def __init__(self, levels: Sequence[Splats], chunk: int) -> None:
        self._levels, self._chunk = levels, chunk
        self.starts = np.cumsum([0, *(level.num_splats for level in levels)])
        self._low, self._high = (np.concatenate(ends) for ends in zip(*map(_boxes, levels), strict=True))
        # Name of a file: its level and the rows of each leaf in it, in order.
        self.files: dict[str, tuple[int, list[NDArray[np.int64]]]] = {}
        self._open: dict[int, str] = {}

    def build(self, means: NDArray[np.float64], index: NDArray[np.int64]) -> dict[str, Any]:
        """The node of the splats at `index` (over all levels): halved at the median of its longest side."""
        if len(index) > self._chunk:
            here = means[index]
            axis = int((here.max(axis=0) - here.min(axis=0)).argmax())
            order = np.argsort(here[:, axis], kind="stable")
            half = len(index) // 2
            children = [self.build(means, np.sort(index[part])) for part in (order[:half], order[half:])]
            return {"bound": _bound(self._low[index], self._high[index]), "children": children}
        lods: dict[str, dict[str, int]] = {}
        for number in range(len(self._levels)):
            rows = index[(index >= self.starts[number]) & (index < self.starts[number + 1])] - self.starts[number]
            if len(rows):
                lods[str(number)] = self._place(number, rows)
        return {"bound": _bound(self._low[index], self._high[index]), "lods": lods}

    def _place(self, number: int, rows: NDArray[np.int64]) -> dict[str, int]:
        """Append a leaf's rows of one level to the level's open file, along a Z-order curve."""
        name = self._open.get(number)
        if name is None:
            mine = sum(1 for level, _ in self.files.values() if level == number)
            name = self._open[number] = f"{number}_{mine}/meta.json"
            self.files[name] = (number, [])
        parts = self.files[name][1]
        offset = sum(map(len, parts))
        parts.append(rows[morton_order(self._levels[number].means[torch.from_numpy(rows)]).numpy()])
        if offset + len(rows) >= self._chunk:
            del self._open[number]
        return {"file": list(self.files).index(name), "offset": offset, "count": len(rows)}


def _boxes(splats: Splats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners [N,3] of the boxes around one standard deviation of each splat."""
    turn = rotation_from_quats(torch.from_numpy(unit_quats(splats.quats_wxyz.numpy())).double()).abs()
    half = torch.einsum("nij,nj->ni", turn, splats.scales.double()).numpy()
    means = splats.means.double().numpy()
    return means - half, means + half


def _bound(low: NDArray[np.float64], high: NDArray[np.float64]) -> dict[str, list[float]]:
    ends = {"min": low.min(axis=0), "max": high.max(axis=0)}
    return {name: [float(f"{value:.{_DIGITS}g}") for value in end] for name, end in ends.items()}

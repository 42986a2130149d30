# SPDX-License-Identifier: Apache-2.0
"""Streamed SOG: every splat of every level is in exactly one leaf, where its bounds say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sparse3d import formats
from sparse3d.errors import DataError, UsageError
from sparse3d.formats.sog.stream import write_streamed_sog
from sparse3d.splats import PARAMETER_NAMES, Splats
from tests.formats.makers import differences, make_splats


def leaves(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [leaf for below in node["children"] for leaf in leaves(below)] if "children" in node else [node]


def test_levels_chunks_and_bounds(tmp_path: Path) -> None:
    levels = [make_splats(n, 1, seed=n) for n in (300, 120, 30)]
    sizes = write_streamed_sog(tmp_path, levels, chunk=100)
    meta = json.loads((tmp_path / "lod-meta.json").read_text())
    assert (meta["version"], meta["lodLevels"], meta["counts"], meta["count"]) == (1, 3, [300, 120, 30], 450)
    found = [formats.read(tmp_path / name) for name in meta["filenames"]]
    assert len(found) >= 5
    assert sizes == {str(p.relative_to(tmp_path)): p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()}
    rows: dict[int, int] = {}
    parts: list[list[Splats]] = [[] for _ in levels]
    for leaf in leaves(meta["tree"]):
        low, high = torch.tensor(leaf["bound"]["min"]), torch.tensor(leaf["bound"]["max"])
        assert sum(place["count"] for place in leaf["lods"].values()) <= 100
        for number, place in leaf["lods"].items():
            assert place["offset"] == rows.get(place["file"], 0)
            rows[place["file"]] = place["offset"] + place["count"]
            part = found[place["file"]].select(torch.arange(place["offset"], rows[place["file"]]))
            assert part.num_splats == place["count"]
            assert bool((part.means >= low - 1e-3).all())
            assert bool((part.means <= high + 1e-3).all())
            parts[int(number)].append(part)
    assert [rows[i] for i in range(len(found))] == [splats.num_splats for splats in found]
    for level, pieces in zip(levels, parts, strict=True):
        columns = {name: torch.cat([getattr(p, name) for p in pieces]) for name in PARAMETER_NAMES}
        whole = replace(level, **columns)
        # Every splat once, none twice: `differences` asks for that.
        assert differences(whole, level)["sh0"] < 0.02


def test_one_small_level_is_one_leaf_and_the_same_bytes_again(tmp_path: Path) -> None:
    for name in "ab":
        write_streamed_sog(tmp_path / name, [make_splats(20, 0)])
    files = [{p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in "ab"]
    assert files[0] == files[1]
    assert set(json.loads((tmp_path / "a" / "lod-meta.json").read_text())["tree"]) == {"bound", "lods"}


def test_no_levels_and_empty_levels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one level of detail or more"):
        write_streamed_sog(tmp_path, [])
    with pytest.raises(DataError, match="level 1: there are no splats"):
        write_streamed_sog(tmp_path, [make_splats(3, 0), make_splats(0, 0)])

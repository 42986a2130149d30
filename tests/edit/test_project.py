# SPDX-License-Identifier: Apache-2.0
"""Projects: the same bits again, nothing outside of their folder, and one sentence for each thing that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparse3d import formats
from sparse3d.edit import Context, Document, apply, open_project, write_project
from sparse3d.edit.project import confined, reader
from sparse3d.errors import DataError, UsageError
from tests.edit.clouds import before_it, cloud, same_bits


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A project with a merge, a selection by what is seen, and edits of values."""
    folder = tmp_path / "Bühne 1"
    formats.write(folder / "szene ä.ply", cloud())
    formats.write(folder / "parts" / "more.ply", cloud(30, degree=3, seed=7))
    document = Document(formats.read(folder / "szene ä.ply"))
    context = Context(read=reader(folder), values={"confidence": np.linspace(0, 1, 200)})
    view = before_it()
    pose = {"cam_from_world": view.cam_from_world.tolist()}
    camera = {name: getattr(view, name) for name in ("width", "height", "fx", "fy", "cx", "cy")} | pose
    for op in (
        {"op": "select_range", "of": "confidence", "high": 0.1},
        {"op": "delete"},
        {"op": "select_rectangle", "camera": camera, "corners": [0, 0, 40, 30], "seen_only": True},
        {"op": "rotate", "quat_wxyz": [1, 0.2, 0, 0]},
        {"op": "recolour", "contrast": 1.3, "white": [0.9, 0.8, 0.7], "on": "all"},
        {"op": "merge", "file": "parts/more.ply"},
        {"op": "remove", "criterion": "isolated", "value": 2},
    ):
        apply(document, op, context)
        context = Context(read=reader(folder))
    write_project(folder / "edit.s3dproj", document, folder / "szene ä.ply")
    formats.write(folder / "expected.ply", document.splats())
    return folder / "edit.s3dproj"


def test_a_project_reopens_to_the_same_bits_wherever_its_folder_is(saved: Path, tmp_path: Path) -> None:
    moved = saved.parent.rename(tmp_path / "elsewhere")
    document, _ = open_project(moved / "edit.s3dproj")
    assert same_bits(document.splats(), formats.read(moved / "expected.ply"))
    assert len(document.history.done) == 7
    write_project(moved / "again.s3dproj", document, moved / "szene ä.ply")
    assert (moved / "again.s3dproj").read_bytes() == (moved / "edit.s3dproj").read_bytes()


def _changed(path: Path, **values: Any) -> Path:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({name: v for name, v in {**content, **values}.items() if v is not ...}))
    return path


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"format": "ply"}, "is not a project of sparse3d"),
        ({"version": 2}, "has version 2, this program reads 1"),
        ({"files": ...}, "the field 'files' is missing"),
        ({"macro": 1}, "the field 'macro' is not known"),
        ({"files": {}}, "has the SHA-256 of the source"),
        ({"source": 3}, "has the SHA-256 of the source 3"),
        ({"files": {"szene ä.ply": "00"}}, "a SHA-256 of 64 letters"),
        ({"source": "../x.ply", "files": {"../x.ply": "0" * 64}, "operations": []}, "no path below the folder"),
        ({"source": "/etc/passwd", "files": {"/etc/passwd": "0" * 64}, "operations": []}, "no path below the folder"),
        ({"source": "C:/x.ply", "files": {"C:/x.ply": "0" * 64}, "operations": []}, "no path below the folder"),
        (
            {"source": "gone.ply", "files": {"gone.ply": "0" * 64}, "operations": []},
            "there is no such file, but the project needs it",
        ),
        ({"operations": [{"op": "explode"}]}, "operations, edit 1: unknown edit 'explode'"),
        ({"operations": [{"op": "scale", "factor": "2"}]}, "edit 1: scale.factor is '2'"),
        ({"operations": [{"op": "delete"}]}, r"edit 1 \(delete\): delete: nothing is selected"),
        ({"operations": [{"op": "merge", "file": "../a.ply"}]}, "files lacks '../a.ply'"),
        ({"operations": {}}, "must be a list of edits"),
    ],
)
def test_a_wrong_project_is_one_sentence(saved: Path, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        open_project(_changed(saved, **values))


def test_a_changed_source_is_noticed(saved: Path) -> None:
    formats.write(saved.parent / "szene ä.ply", cloud(seed=9))
    with pytest.raises(DataError, match=r"szene ä\.ply is not the file that was edited"):
        open_project(saved)


def test_what_is_no_json_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.s3dproj"
    with pytest.raises(DataError, match="there is no such file"):
        open_project(path)
    for text in ("", "{", "[" * 100_000, "\x00"):
        path.write_text(text)
        with pytest.raises(DataError, match="is not JSON"):
            open_project(path)


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    formats.write(tmp_path / "secret.ply", cloud(3))
    (tmp_path / "inside" / "link.ply").symlink_to(tmp_path / "secret.ply")
    with pytest.raises(DataError, match="over a link"):
        confined(tmp_path / "inside", "link.ply")


def test_a_project_beside_other_files_is_refused(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.ply", cloud(3))
    (tmp_path / "below").mkdir()
    with pytest.raises(UsageError, match="outside of the project's folder"):
        write_project(tmp_path / "below" / "x.s3dproj", Document(cloud(3)), tmp_path / "a.ply")

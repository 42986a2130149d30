# SPDX-License-Identifier: Apache-2.0
"""`sparse3d edit`: scripts and projects on files and runs, and what is said where that cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparse3d import formats
from sparse3d.cli.main import main
from sparse3d.edit import Document, replay
from tests.cli.helpers import run
from tests.edit.clouds import cloud, same_bits

OPS: list[dict[str, Any]] = [
    {"op": "remove", "criterion": "faint", "value": 0.2},
    {"op": "select_range", "of": "x", "low": 0.5},
    {"op": "separate", "file": "parts/right.ply"},
    {"op": "recolour", "saturation": 0.2, "on": "all"},
]


def _script(folder: Path, ops: Any = OPS) -> Path:
    path = folder / "ops é.json"
    path.write_text(json.dumps(ops), encoding="utf-8")
    return path


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "szene 1.ply"
    formats.write(path, cloud())
    return path


def test_a_script_makes_the_edits(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "edit", scene, tmp_path / "out.ply", "--script", _script(tmp_path), "--json")
    assert result.code == 0, result.err
    values = json.loads(result.out)
    expected = Document(formats.read(scene))
    outcomes = replay(expected, OPS)
    assert same_bits(formats.read(tmp_path / "out.ply"), expected.splats())
    assert same_bits(formats.read(tmp_path / "parts" / "right.ply"), outcomes[2].pieces[0][1])
    assert [item["count"] for item in values["edits"]] == [outcome.count for outcome in outcomes]
    assert values["splats_before"] == 200
    assert values["splats_after"] == expected.splats().num_splats < 200
    assert values["psnr"] == [None, None]
    assert same_bits(formats.read(scene), cloud())


def test_a_project_keeps_the_edits_beside_the_source(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, project = _script(tmp_path), tmp_path / "work.s3dproj"
    assert run(capsys, "edit", scene, project, "--script", script).code == 0
    assert run(capsys, "edit", scene, tmp_path / "direct.ply", "--script", script, "--overwrite").code == 0
    result = run(capsys, "edit", project, tmp_path / "later.ply")
    assert result.code == 0, result.err
    assert "made the 4 edits of" in result.err
    assert (tmp_path / "later.ply").read_bytes() == (tmp_path / "direct.ply").read_bytes()
    more = _script(tmp_path, {"operations": [{"op": "scale", "factor": 2, "on": "all"}]})
    assert run(capsys, "edit", project, project, "--script", more, "--overwrite").code == 0
    assert len(json.loads(project.read_text(encoding="utf-8"))["operations"]) == 5


def test_merge_reads_beside_the_script(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    formats.write(tmp_path / "more.ply", cloud(5, degree=0, seed=3))
    ops = _script(tmp_path, [{"op": "merge", "file": "more.ply"}])
    result = run(capsys, "edit", scene, tmp_path / "out.ply", "--script", ops)
    assert result.code == 0, result.err
    assert "more.ply: splats of SH degree 0 were padded with zeros to degree 2." in result.err
    assert formats.read(tmp_path / "out.ply").num_splats == 205


@pytest.mark.parametrize(
    ("ops", "code", "sentence"),
    [
        ([{"op": "delete"}], 2, "edit 1 (delete): delete: nothing is selected"),
        ([{"op": "delte"}], 2, "did you mean 'delete'?"),
        ([{"op": "select_all"}, {"op": "delete"}], 2, "no splat is left after the edits"),
        ([{"op": "select_all"}, {"op": "separate"}], 2, "separate needs the field file here"),
        ([{"op": "separate", "file": "../x.ply"}], 3, "no path below the folder"),
        ([{"op": "separate", "file": "out.ply"}], 2, "cannot go into IN or OUT itself"),
        ([{"op": "separate", "file": "x.ply"}] * 2, 2, "two edits separate splats into it"),
        ([{"op": "separate", "file": "x.mesh"}], 2, "no splat format has this suffix"),
        ([{"op": "merge", "file": "/etc/passwd"}], 3, "no path below the folder"),
        ([{"op": "merge", "file": "gone.ply"}], 3, "there is no such file"),
        ([{"op": "remove", "criterion": "unseen"}], 2, "only photos can say that"),
        (7, 2, "must be a list of edits"),
    ],
)
def test_what_cannot_be_made_is_one_sentence_and_writes_nothing(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ops: Any, code: int, sentence: str
) -> None:
    before = {*tmp_path.rglob("*")} | {tmp_path / "ops é.json"}
    result = run(capsys, "edit", scene, tmp_path / "out.ply", "--script", _script(tmp_path, ops))
    assert result.code == code
    assert sentence in result.err
    assert "Traceback" not in result.err
    assert {*tmp_path.rglob("*")} == before


def test_arguments_that_cannot_be(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script, out = _script(tmp_path), tmp_path / "out.ply"
    for words, sentence in (
        ([scene, out], "--script is missing"),
        ([scene, scene, "--script", script], "exists; add --overwrite"),
        ([scene, tmp_path, "--script", script], "is a folder"),
        ([scene, tmp_path / "out.xyz", "--script", script], "no splat format has this suffix"),
        ([scene, out, "--script", tmp_path / "none.json"], "there is no such file"),
        ([scene, out, "--script", script, "--judge"], "--judge needs photos"),
        ([scene, tmp_path / "x.s3dproj", "--script", script, "--drop-invalid"], "needs every splat"),
    ):
        result = run(capsys, "edit", *words)
        assert result.code in (2, 3)
        assert sentence in result.err


def test_photos_of_a_run_decide_and_judge(
    tmp_path: Path, sample_scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    few = [
        "--views",
        "4",
        "--max-side",
        "64",
        "--steps",
        "12",
        "--schedule.half-size-until",
        "0",
        "--density.cap",
        "600",
    ]
    assert main(["train", str(sample_scene), *few, "--few-views", "off", "--dense", "off", "--out", str(folder)]) == 0
    ops = [{"op": "remove", "criterion": "unseen"}, {"op": "remove", "criterion": "faint", "value": 0.05}]
    words = ["--script", _script(tmp_path, ops), "--judge", "--json"]
    result = run(capsys, "edit", folder, folder / "edit.s3dproj", *words)
    assert result.code == 0, result.err
    values = json.loads(result.out)
    assert values["judged_by"].endswith("held-out photos")
    assert all(np.isfinite(values["psnr"]))
    assert values["edits"][0]["count"] > 0
    # The project needs no photos: it keeps what they decided.
    again = run(capsys, "edit", folder / "edit.s3dproj", tmp_path / "again.ply")
    assert again.code == 0, again.err
    assert formats.read(tmp_path / "again.ply").num_splats == values["splats_after"]

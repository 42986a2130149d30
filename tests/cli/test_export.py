# SPDX-License-Identifier: Apache-2.0
"""`sparse3d export` and `compress`: files by target, their reports, and words for what cannot be done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from sparse3d import formats
from sparse3d.cli.export import with_json_path
from sparse3d.compress.sampled_cameras import sample_cameras
from sparse3d.export import source
from tests.cli.helpers import run
from tests.formats.makers import make_splats


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and small pictures to judge by: what is tested here is the command."""
    monkeypatch.setattr(source, "sample_cameras", lambda splats, count: sample_cameras(splats, 3, side_px=48))


@pytest.fixture
def ply(tmp_path: Path) -> Path:
    path = tmp_path / "Szene é.ply"
    formats.write(path, make_splats(400, 1))
    return path


def test_a_file_of_a_size_and_its_report(ply: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "phone.spz"
    done = run(capsys, "compress", ply, out, "--max-size", "4kB", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["bytes"] == [ply.stat().st_size, out.stat().st_size, out.stat().st_size]
    assert 0.98 * 4000 <= out.stat().st_size <= 4000
    assert result["splats"] == [400, formats.read(out).num_splats]
    assert result["bytes_unpadded"] == 400 * 4 * (17 + 9)
    assert result["held_out"] is None
    assert 10.0 < result["to_source"]["psnr"] < 100.0
    assert "no photos are known" in result["without_photos"]
    report = tmp_path / "report.json"
    words = ("compress", ply, out, "--overwrite", "--max-size", "4kB")
    table = run(capsys, *words, "--json", report)
    assert table.code == 0, table.err
    again = json.loads(report.read_text(encoding="utf-8"))
    assert again["bytes"] == result["bytes"]
    assert "400 ->" in table.out
    assert "cameras around the scene" in table.err


def test_a_page_says_how_to_open_it_and_a_folder_is_whole(
    ply: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = run(capsys, "export", ply, tmp_path / "a.html", "--max-size", "3kB")
    assert page.code == 0, page.err
    for words in ("double click", "Chrome", "https", "with what plays the scene"):
        assert words in page.out
    assert str(tmp_path) not in (tmp_path / "a.html").read_text(encoding="utf-8")
    meta = tmp_path / "folder" / "meta.json"
    done = run(capsys, "export", ply, meta, "--max-size", "8kB", "--json")
    assert done.code == 0, done.err
    total = sum(path.stat().st_size for path in meta.parent.iterdir())
    assert total == json.loads(done.out)["bytes"][1]
    assert 7840 <= total <= 8000


def test_streamed_levels_within_a_size(ply: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "stream"
    done = run(capsys, "export", ply, out, "--lod", "--max-size", "9kB", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert total == result["bytes"][2] <= 9000
    assert json.loads((out / "lod-meta.json").read_text())["counts"] == result["levels"]
    refused = run(capsys, "export", ply, out, "--lod")
    assert refused.code == 2
    assert "add --overwrite" in refused.err


def test_a_sweep_is_drawn(ply: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "plot.png"
    done = run(capsys, "compress", ply, tmp_path / "a.splat", "--max-size", "2kB", "--sweep", plot, "--json")
    assert done.code == 0, done.err
    points = json.loads(done.out)["sweep"]
    assert len(points) == 5
    assert [point["bytes"] for point in points] == sorted(point["bytes"] for point in points)
    assert points[-1]["psnr"] > points[0]["psnr"] + 1.0
    with Image.open(plot) as picture:
        assert picture.size == (900, 560)
        colours = picture.convert("RGB").getcolors(1 << 20)
    assert colours is not None
    assert sum(count for count, colour in colours if colour == (30, 90, 200)) > 300


def test_json_with_and_without_a_path() -> None:
    assert with_json_path(["a", "b", "--json"]) == ["a", "b", "--json=-"]
    assert with_json_path(["--json", "a", "b.spz"]) == ["--json=-", "a", "b.spz"]
    assert with_json_path(["a", "b", "--json", "r.json"]) == ["a", "b", "--json", "r.json"]
    assert with_json_path(["--json", "run", "x/meta.json"]) == ["--json=-", "run", "x/meta.json"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["in.ply", "out.xyz"], 2, "no splat format has this suffix"),
        (["in.ply", "out.ksplat"], 2, "ksplat files are read but not written"),
        (["in.ply", "in.ply"], 2, "exists; add --overwrite"),
        (["in.ply", "a.spz", "--max-size", "big"], 2, "--max-size 'big': give a size as 1MB"),
        (["in.ply", "a.spz", "--max-size", "1MB", "--max-drop", "1"], 2, "contradict each other"),
        (["in.ply", "a.splat", "--max-size", "12"], 2, "the smallest possible splat file has 32 bytes"),
        (["in.ply", "a.ply", "--spz-version", "4"], 2, "--spz-version is for .spz files, OUT is a.ply"),
        (["in.ply", "a.spz", "--knob", "sharpness=3"], 2, "spz has no knob 'sharpness'"),
        (["in.ply", "a.spz", "--refine", "on"], 2, "--refine on needs photos"),
        (["in.ply", "a.spz", "--device-budget", "fridge"], 2, "expected one of"),
        (["none.ply", "a.spz"], 3, "there is no such file or folder"),
        (["empty", "a.spz"], 3, "is neither the folder of a run (no config.toml) nor of splats"),
        (["empty", "a.spz", "--lod", "--sweep", "p.png"], 2, "--sweep draws files of one level"),
        (["in.ply", "a.spz", "--scene", "gone"], 3, "say with --scene where they are"),
    ],
)
@pytest.mark.parametrize("command", ["export", "compress"])
def test_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str,
    words: list[str], code: int, text: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    formats.write(Path("in.ply"), make_splats(3, 0))
    Path("empty").mkdir()
    done = run(capsys, command, *words)
    assert done.code == code, done.err
    assert text in done.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "in.ply"]

# SPDX-License-Identifier: Apache-2.0
"""The page of a run, without a browser: what is in it, what is not, and what goes wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from sparse3d import formats
from sparse3d.cli import report as cli_report
from sparse3d.report import report as report_module
from sparse3d.report.facts import duration, tiles
from sparse3d.report.report import title_of, write_report
from sparse3d.report.scene import shown
from sparse3d.runs.finished import FinishedRun
from tests.cli.helpers import run
from tests.formats.makers import make_splats

SMALL = ["--views", "4", "--max-side", "64", "--steps", "6", "--schedule.half-size-until", "0", "--density.cap", "400"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, sample_scene: Path) -> Path:
    """The folder of a finished run of a scene whose name looks like markup."""
    from sparse3d.cli.main import main

    scene = tmp_path_factory.mktemp("scenes") / "Tisch <b>&amp"
    shutil.copytree(sample_scene, scene)
    path = tmp_path_factory.mktemp("runs") / "r"
    assert main(["train", str(scene), *SMALL, "--out", str(path)]) == 0
    return path


def without_data(page: str) -> str:
    return re.sub(r"[A-Za-z0-9+/]{200,}={0,2}", "", page)


def test_the_page_holds_the_scene_the_pictures_and_the_numbers(trained: Path) -> None:
    page = (trained / "report.html").read_text(encoding="utf-8")
    metrics = json.loads((trained / "metrics.json").read_text())
    assert page.count("data:image/webp;base64,") == 3, "poster, compare.png and coverage.png"
    assert f"<b>{metrics['psnr']:.1f} dB</b><span>PSNR</span>" in page
    assert page.count('<g class="train"') == 4
    assert page.count('<g class="test"') == 3
    for title in ("What to photograph next", "Beside photos it never saw", "What the photos support", "Times"):
        assert f"<h2>{title}</h2>" in page
    back = formats.read(trained / "report.html")
    assert back.num_splats == metrics["num_splats"]


def test_nothing_of_the_machine_and_no_markup_of_names(trained: Path, tmp_path: Path) -> None:
    page = without_data((trained / "report.html").read_text(encoding="utf-8"))
    assert "<title>Tisch &lt;b&gt;&amp;amp</title>" in page
    assert "Tisch <b>" not in page
    assert str(trained) not in page
    assert not re.search(r"/(home|root|tmp|work|Users)/", page)
    assert not re.search(r"\b(https?|wss?|ftp|file):", page)
    assert not re.search(r"\s(style|on\w+)\s*=", page)
    assert "url(" not in page
    first = (trained / "report.html").read_bytes()
    again = write_report(FinishedRun.open(trained), tmp_path / "again.html")
    assert again.read_bytes() == first


def test_a_run_without_pictures_and_cameras_has_a_page_too(trained: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.toml", "splat.ply", "metrics.json"):
        shutil.copy(trained / name, bare / name)
    page = write_report(FinishedRun.open(bare)).read_text(encoding="utf-8")
    assert "What to photograph next" not in page
    assert "<img" in page, "the poster"
    assert "What the photos support" not in page


def test_the_command(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    result = run(capsys, "report", trained, "--out", out)
    assert result.code == 0, result.err
    assert re.fullmatch(rf"page: {re.escape(str(out))} \(\d\.\d MB\)\n", result.out)
    assert run(capsys, "report", trained, "--out", tmp_path / "page.pdf").code == 2
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(trained / "config.toml", unfinished)
    result = run(capsys, "report", unfinished)
    assert result.code == 3
    assert "no metrics.json yet; finish it first" in result.err


def test_a_page_that_cannot_be_written_costs_the_run_nothing(
    sample_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError("no space left")

    monkeypatch.setattr(report_module, "_below", full)
    opened: list[Path] = []
    monkeypatch.setattr(cli_report.webbrowser, "open", opened.append)
    result = run(capsys, "train", sample_scene, *SMALL, "--out", tmp_path / "r", "--open")
    assert result.code == 0
    assert "the run is complete, but its page could not be written (no space left); try `sparse3d report" in result.err
    assert result.out.splitlines()[1] == f"run folder: {tmp_path / 'r'}"
    assert (tmp_path / "r" / "metrics.json").is_file()
    assert not (tmp_path / "r" / "report.html").exists()
    assert opened == []


def test_open_and_no_report(
    trained: Path,
    sample_scene: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(cli_report.webbrowser, "open", lambda address: bool(opened.append(address)))
    result = run(capsys, "report", trained, "--open")
    assert opened == [(trained / "report.html").as_uri()]
    assert "no browser could be started; open" in result.err
    assert run(capsys, "train", sample_scene, *SMALL, "--out", tmp_path / "r", "--no-report").code == 0
    assert not (tmp_path / "r" / "report.html").exists()
    result = run(capsys, "train", sample_scene, "--out", tmp_path / "s", "--no-report", "--open")
    assert result.code == 2
    assert "drop one of them" in result.err


def test_large_scenes_are_shown_smaller_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    splats = make_splats(500)
    assert shown(splats).splats is splats
    assert (shown(splats).degree, shown(splats).note) == (3, "")
    monkeypatch.setattr("sparse3d.report.scene._AIM", 500 * 18)
    lower = shown(splats)
    assert lower.degree == 1
    assert lower.note == "To stay small, this page shows colours of degree 1 in place of 3; splat.ply has all."
    monkeypatch.setattr("sparse3d.report.scene._MOST", 100)
    fewer = shown(splats)
    assert fewer.splats.num_splats == 100
    assert "the 100 splats that weigh most of 500" in fewer.note
    sides = splats.scales.double().sort(dim=1).values
    weights = splats.opacities.double() * sides[:, 1] * sides[:, 2]
    least = weights.sort(descending=True).values[99]
    assert torch.equal(fewer.splats.means, splats.means[weights >= least])


def test_names_and_words(trained: Path, tmp_path: Path) -> None:
    assert title_of(FinishedRun.open(trained)) == "Tisch <b>&amp"
    assert [duration(s) for s in (3.14, 42.4, 125, 7800)] == ["3.1 s", "42 s", "2 min 05 s", "2 h 10 min"]
    record = {"psnr": None, "ssim": None, "lpips": None, "views": {"train": 4, "test": 0}, "coverage": None}
    assert "so no unseen view is measured" in tiles(record)

# SPDX-License-Identifier: Apache-2.0
"""`sparse3d convert`: between any two formats, with words for what is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparse3d import formats
from sparse3d.formats import FORMATS
from tests.cli.helpers import run
from tests.formats.makers import differences, make_splats

WRITABLE = [fmt.suffixes[0] for fmt in FORMATS if fmt.limits.writable]


@pytest.mark.parametrize("target", WRITABLE)
@pytest.mark.parametrize("source", WRITABLE)
def test_between_any_two(tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, target: str) -> None:
    splats = make_splats(30, 2)
    formats.write(tmp_path / f"in{source}", splats)
    done = run(capsys, "convert", tmp_path / f"in{source}", tmp_path / f"out{target}", "--json")
    assert done.code == 0
    result = json.loads(done.out)
    assert result["num_splats"] == 30
    assert result["bytes"][1] == (tmp_path / f"out{target}").stat().st_size
    found = differences(formats.read(tmp_path / f"out{target}"), splats)
    # Two roundings at most: of scales in SPZ, of quaternions in .splat, of colours in both.
    # SPZ of version 2, in glTF, has bytes for x, y and z and nothing for w: little is known of it near 0.
    turned = 0.1 if ".spz.glb" in (source, target) else 0.06
    limits = {"means": 0.05, "rotations": turned, "log_scales": 0.08, "opacities": 0.01, "sh0": 0.035}
    assert {name: d for name, d in found.items() if name in limits and d > limits[name]} == {}


def test_says_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    formats.write(tmp_path / "in.ply", make_splats(30, 3, antialias=True))
    done = run(capsys, "convert", tmp_path / "in.ply", tmp_path / "out.splat")
    assert "lost: spherical harmonics above degree 0 were dropped (the splats have degree 3)" in done.err
    assert "lost: the antialias flag" in done.err
    assert "32" in done.out
    done = run(capsys, "convert", tmp_path / "in.ply", tmp_path / "out.ply", "--sh-degree", "1")
    assert "above degree 1 were dropped" in done.err
    assert formats.read(tmp_path / "out.ply").sh_degree == 1


def test_versions_and_knobs_reach_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    formats.write(tmp_path / "in.ply", make_splats(30, 3))
    run(capsys, "convert", tmp_path / "in.ply", tmp_path / "out.spz", "--spz-version", "4")
    assert (tmp_path / "out.spz").read_bytes()[:5] == b"NGSP\x04"
    knobs = ("--knob", "sh1_bits=8", "sh_rest_bits=8", "sh_rounding=0", "position_bits=16")
    done = run(capsys, "convert", tmp_path / "in.ply", tmp_path / "out.spz", "--overwrite", *knobs)
    assert done.code == 0
    found = differences(formats.read(tmp_path / "out.spz"), make_splats(30, 3))
    assert found["sh_rest"] < 0.004
    assert found["means"] < 1e-5


def test_a_page_says_how_to_open_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    formats.write(run_folder / "splat.ply", make_splats(30, 1))
    pose = [[1, 0, 0, 0.25], [0, 1, 0, 0], [0, 0, 1, 3], [0, 0, 0, 1]]
    entry = {"width": 90, "height": 60, "fx": 80, "fy": 80, "cx": 45, "cy": 30, "cam_from_world": pose}
    cameras = {"cameras": [{**entry, "split": "test", "fx": 50}, {**entry, "split": "train"}]}
    (run_folder / "cameras.json").write_text(json.dumps(cameras), encoding="utf-8")
    page = tmp_path / "My fox & co.html"
    done = run(capsys, "convert", run_folder, page)
    assert done.code == 0
    for words in (f"{page} (0.", "Computer: double click it. Android: open it with Chrome. iPhone and iPad: put it on"):
        assert words in done.out
    text = page.read_text(encoding="utf-8")
    assert "<title>My fox &amp; co</title>" in text
    assert '<img id="poster"' in text
    assert '"position":[-0.25,-0.0,3.0]' in text, "in the page's frame, at the training photo"
    assert '"fov":' in text
    assert run(capsys, "convert", run_folder / "splat.ply", tmp_path / "b.html", "--json").out.startswith("{")
    assert '"position":[-0.25' not in (tmp_path / "b.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["in.ply", "out.xyz"], 2, "no splat format has this suffix"),
        (["in.ply", "out.ksplat"], 2, "ksplat files are read but not written; choose one of ply"),
        (["in.ply", "in.ply"], 2, "exists; add --overwrite"),
        (["in.ply", "a.ply", "--spz-version", "4"], 2, "--spz-version is for .spz files, OUT is a.ply"),
        (
            ["in.ply", "a.spz", "--knob", "sharpness=3"],
            2,
            "spz has no knob 'sharpness' (known: position_bits, sh1",
        ),
        (["in.ply", "a.spz", "--knob", "sh1_bits=9"], 2, "sh1_bits is 9.0, expected 1 to 8"),
        (["in.ply", "a.spz", "--knob", "sh1_bits"], 2, "--knob sh1_bits: expected NAME=NUMBER"),
        (["none.ply", "a.spz"], 3, "there is no such file"),
    ],
)
def test_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], code: int,
    text: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    formats.write(Path("in.ply"), make_splats(3, 0))
    done = run(capsys, "convert", *words)
    assert done.code == code
    assert text in done.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.ply"]


@pytest.mark.parametrize("suffix", [".spz", ".sog", ".glb"])
def test_high_quality_is_nearer_to_the_source(tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    splats = make_splats(200, 3)
    formats.write(tmp_path / "in.ply", splats)
    off = []
    for quality in ("default", "high"):
        out = tmp_path / f"{quality}{suffix}"
        done = run(capsys, "convert", tmp_path / "in.ply", out, "--quality", quality)
        assert done.code == 0, done.err
        off.append(max(d for name, d in differences(formats.read(out), splats).items() if name.startswith("sh_")))
    assert off[1] <= off[0]
    if suffix == ".spz":
        assert off[1] < 0.3 * off[0]

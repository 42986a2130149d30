# SPDX-License-Identifier: Apache-2.0
"""Every user error's sentence and exit code, word by word. SPARSE3D_REGENERATE=1 writes the snapshots anew."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sparse3d import formats
from sparse3d.splats import Splats
from tests.cli.helpers import make_scene, run

SNAPSHOTS = Path(__file__).parent / "snapshots"
REGENERATE = bool(os.environ.get("SPARSE3D_REGENERATE"))


Words = list[str | Path]


def splats_file(path: Path, n: int = 3) -> Path:
    parameters = (torch.zeros(n, 3), torch.ones(n, 4), torch.zeros(n, 3), torch.zeros(n), torch.zeros(n, 1, 3))
    formats.write(path, Splats(*parameters, torch.zeros(n, 0, 3)))
    return path


def cut(path: Path, length: int) -> Path:
    path.write_bytes(path.read_bytes()[:length])
    return path


def run_folder(path: Path) -> Path:
    path.mkdir()
    (path / "config.toml").write_text('scene_path = "gone"\npreset = "fast"\n')
    return path


def faint_file(path: Path) -> Path:
    """Splats of which most are nearly transparent."""
    splats = formats.read(splats_file(path))
    splats.logit_opacities[1:] = -9.0
    formats.write(path, splats)
    return path


def only_photos(path: Path) -> Path:
    make_scene(path)
    (path / "transforms.json").unlink()
    return path / "images"


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def train(tmp: Path, *words: str | Path) -> Words:
    """Training on a small scene that is whole."""
    return ["train", make_scene(tmp / "s"), *words, "--out", tmp / "r"]


def train_with(tmp: Path, name: str, content: bytes | int) -> Words:
    """Training on a small scene of which one file holds `content`, or is cut to that many bytes."""
    words = train(tmp)
    path = tmp / "s" / name
    path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    return words


def render(tmp: Path, *words: str | Path) -> Words:
    return ["render", splats_file(tmp / "a.ply"), *words]


def info(path: Path) -> Words:
    return ["info", path]


# Name of the case: what makes the command's words from an empty folder.
CASES: dict[str, Callable[[Path], Words]] = {
    # Words that mean nothing.
    "command unknown": lambda tmp: ["trian", "x"],
    "command of a group unknown": lambda tmp: ["bench", "stp"],
    "option before the command": lambda tmp: ["--views", "4", "train", "x"],
    "option unknown": lambda tmp: ["train", "x", "--max-sid", "240"],
    "option unknown with value": lambda tmp: ["train", "x", "--stps=3"],
    "option unknown nested": lambda tmp: ["train", "x", "--density.cup", "3"],
    "option far from all": lambda tmp: ["info", "x", "--zzz"],
    "argument missing": lambda tmp: ["train"],
    "argument too many": lambda tmp: ["info", "x", "y"],
    "value missing": lambda tmp: ["train", "x", "--out"],
    "value not a number": lambda tmp: ["train", "x", "--steps", "many"],
    "value not an optional number": lambda tmp: ["train", "x", "--test-every", "big"],
    "value neither a number nor a word": lambda tmp: ["train", "x", "--max-side", "big"],
    "value not a choice": lambda tmp: ["train", "x", "--protocol", "llf"],
    "preset unknown": lambda tmp: ["train", "x", "--preset", "fats"],
    # Settings that contradict each other or cannot be.
    "steps 0": lambda tmp: ["train", "x", "--steps", "0"],
    "max-side tiny": lambda tmp: ["train", "x", "--max-side", "3"],
    "downscale below 1": lambda tmp: ["train", "x", "--downscale", "0.5"],
    "downscale and max-side": lambda tmp: ["train", "x", "--downscale", "2", "--max-side", "100"],
    "resume without out": lambda tmp: ["train", "x", "--resume"],
    "resume nothing": lambda tmp: ["train", "x", "--out", tmp / "r", "--resume"],
    "resume and overwrite": lambda tmp: ["train", "x", "--out", tmp / "r", "--resume", "--overwrite"],
    "resume with another preset": lambda tmp: [
        "train", "--out", run_folder(tmp / "r"), "--resume", "--preset", "quality",
    ],
    "out not empty": lambda tmp: ["train", make_scene(tmp / "s"), "--out", tmp / "s"],
    "out a file": lambda tmp: ["train", make_scene(tmp / "s"), "--out", text(tmp / "f", "")],
    # Scenes that cannot be used.
    "scene not there": lambda tmp: ["train", tmp / "none", "--out", tmp / "r"],
    "scene empty": lambda tmp: ["train", tmp, "--out", tmp.parent / f"{tmp.name}-r"],
    "scene json broken": lambda tmp: train_with(tmp, "transforms.json", b"{"),
    "scene kind wrong": lambda tmp: train(tmp, "--kind", "colmap"),
    "scene kind unknown": lambda tmp: train(tmp, "--kind", "colmp"),
    "photo cut off": lambda tmp: train_with(tmp, "images/001.png", 700),
    "photo no picture": lambda tmp: train_with(tmp, "images/001.png", b"x"),
    "views 0": lambda tmp: train(tmp, "--views", "0"),
    "views out of range": lambda tmp: train(tmp, "--views", "1,7"),
    "views unknown name": lambda tmp: train(tmp, "--views", "name:0001.png"),
    "views no sense": lambda tmp: train(tmp, "--views", "some"),
    "test every photo": lambda tmp: train(tmp, "--test-every", "1"),
    "points not there": lambda tmp: train(tmp, "--points", tmp / "p.ply"),
    "points cut off": lambda tmp: train(tmp, "--points", cut(splats_file(tmp / "p.ply"), 500)),
    "lpips weights not there": lambda tmp: train(tmp, "--lpips-weights", tmp / "w.safetensors"),
    # Files and runs.
    "info nothing there": lambda tmp: info(tmp / "none"),
    "info of another file": lambda tmp: info(text(tmp / "a.txt", "hello")),
    "info of an empty file": lambda tmp: info(text(tmp / "a.ply", "")),
    "info of a cut file": lambda tmp: info(cut(splats_file(tmp / "a.ply"), 480)),
    "eval of no run": lambda tmp: ["eval", tmp],
    "eval of an unfinished run": lambda tmp: ["eval", run_folder(tmp / "r")],
    "eval without its scene": lambda tmp: ["eval", splats_file(run_folder(tmp / "r") / "splat.ply").parent],
    "eval with an unknown key": lambda tmp: [
        "eval", splats_file(text(run_folder(tmp / "r") / "config.toml", "presett = 1\n").parent / "splat.ply").parent,
    ],
    "clean of nothing": lambda tmp: ["clean", tmp / "none.ply", tmp / "b.ply"],
    "clean of an unfinished run": lambda tmp: ["clean", run_folder(tmp / "r"), tmp / "b.ply"],
    "clean without its scene": lambda tmp: [
        "clean", splats_file(run_folder(tmp / "r") / "splat.ply").parent, tmp / "b.ply",
    ],
    "clean onto a file": lambda tmp: ["clean", splats_file(tmp / "a.ply"), tmp / "a.ply"],
    "clean into a folder": lambda tmp: ["clean", splats_file(tmp / "a.ply"), run_folder(tmp / "r.ply")],
    "clean to an unknown suffix": lambda tmp: ["clean", splats_file(tmp / "a.ply"), tmp / "b.obj"],
    "clean with too much to remove": lambda tmp: ["clean", faint_file(tmp / "a.ply"), tmp / "b.ply"],
    "clean with a share of 2": lambda tmp: [
        "clean", splats_file(tmp / "a.ply"), tmp / "b.ply", "--floaters.max-share", "2",
    ],
    "clean by photos without cameras": lambda tmp: [
        "clean", splats_file(tmp / "a.ply"), tmp / "b.ply", "--scene", only_photos(tmp / "s"),
    ],
    "render of nothing": lambda tmp: ["render", tmp / "none.ply"],
    "render of an unfinished run": lambda tmp: ["render", run_folder(tmp / "r")],
    "render to an unknown suffix": lambda tmp: render(tmp, "--out", tmp / "a.gif"),
    "render path unknown": lambda tmp: render(tmp, "--path", "spiral"),
    "render path without cameras": lambda tmp: render(tmp, "--path", "interpolate"),
    "render cameras not there": lambda tmp: render(tmp, "--path", str(tmp / "c.json")),
    "render cameras incomplete": lambda tmp: render(tmp, "--path", text(tmp / "c.json", '{"cameras": [{"width": 3}]}')),
    "render into a full folder": lambda tmp: render(tmp, "--out", text(tmp / "f", "").parent),
    "render size no sense": lambda tmp: render(tmp, "--size", "big"),
    "render no frames": lambda tmp: render(tmp, "--frames", "0"),
    "replay nothing": lambda tmp: ["replay", tmp / "dump.safetensors"],
    "replay another file": lambda tmp: ["replay", text(tmp / "dump.safetensors", "hello")],
    # Data and benches.
    "data get unknown": lambda tmp: ["data", "get", "fix"],
    "data get http": lambda tmp: ["data", "get", "http://example.com/a.zip", "--sha256", "0" * 64],
    "data get no checksum": lambda tmp: ["data", "get", "https://example.com/a.zip"],
    "data get bad checksum": lambda tmp: ["data", "get", "https://example.com/a.zip", "--sha256", "abc"],
    "data get full folder": lambda tmp: ["data", "get", "fox", "--out", text(tmp / "f", "").parent],
    "data get checksum of a name": lambda tmp: ["data", "get", "fox", "--sha256", "0" * 64],
    "bench depth views": lambda tmp: ["bench", "depth", make_scene(tmp / "s"), "--views", "0,99"],
    "bench depth no file": lambda tmp: ["bench", "depth", make_scene(tmp / "s"), "--views", "0,1", "--truth", "files"],
    "bench step size": lambda tmp: ["bench", "step", "--scene", make_scene(tmp / "s"), "--size", "30x24"],
    "bench step no splats": lambda tmp: ["bench", "step", "--splats", "0"],
    "bench train nothing held out": lambda tmp: ["bench", "train", make_scene(tmp / "s")],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_sentence(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = CASES[case](tmp_path)
    result = run(capsys, *words)
    said = [line for line in result.err.splitlines() if line.startswith("sparse3d: ")]
    assert len(said) == 1, f"one sentence, found:\n{result.err}"
    assert "Traceback" not in result.err
    assert result.out == ""
    assert result.code in (2, 3, 4)
    shown = f"sparse3d {' '.join(str(word) for word in words)}"
    found = _stable(f"$ {shown}\n{said[0]}\nexit code {result.code}\n", tmp_path)
    path = SNAPSHOTS / f"{case.replace(' ', '_')}.txt"
    if REGENERATE:
        SNAPSHOTS.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert path.is_file(), "no snapshot yet: run with SPARSE3D_REGENERATE=1 and read it"
    assert found == path.read_text(encoding="utf-8")


def _stable(message: str, tmp: Path) -> str:
    """Paths of this machine taken out."""
    message = message.replace(str(tmp), "TMP").replace(tmp.name, "TMP")
    message = re.sub(r"\S*/pytest-[^/ ]*/[^/ ]*/TMP", "TMP", message)
    return re.sub(r"\S*/TMP-r", "TMP-r", message)


def test_every_snapshot_has_its_case() -> None:
    found = {path.stem for path in SNAPSHOTS.glob("*.txt")}
    assert found == {case.replace(" ", "_") for case in CASES}


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_sentences_do_not_depend_on_the_terminal(encoding: str, repo: Path) -> None:
    for words, sentence in [
        (["train"], "sparse3d: SCENE is missing (`sparse3d train --help` shows the options)\n"),
        (["train", "x", "--steps", "many"], "sparse3d: --steps is 'many', expected a number (`sparse3d train --help`"),
        (
            ["info", "é"],
            "sparse3d: \\xe9: there is no such file or folder\n".replace(
                "\\xe9", "é" if encoding == "utf-8" else "\\xe9"
            ),
        ),
    ]:
        command = [sys.executable, "-m", "sparse3d", *words]
        done = subprocess.run(command, capture_output=True, encoding=encoding, cwd=repo, check=False, timeout=120,
                              env={**os.environ, "PYTHONIOENCODING": encoding})  # fmt: skip
        assert done.returncode in (2, 3)
        assert done.stderr.startswith(sentence)


def test_a_simd_level_that_is_not_there_is_exit_code_4(tmp_path: Path, repo: Path, sample_scene: Path) -> None:
    words = ["train", str(sample_scene), "--max-side", "64", "--out", str(tmp_path / "r")]
    done = subprocess.run([sys.executable, "-m", "sparse3d", *words], capture_output=True, text=True, cwd=repo,
                          env={**os.environ, "S3D_SIMD": "v9"}, check=False, timeout=300)  # fmt: skip
    assert done.returncode == 4
    assert "S3D_SIMD asks for the CPU kernels 'v9'" in done.stderr


def test_an_empty_run_is_not_left_behind_by_a_wrong_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "train", "x", "--steps", "0", "--out", tmp_path / "r").code == 2
    assert not (tmp_path / "r").exists()

# SPDX-License-Identifier: Apache-2.0
"""The entry point: what is imported for whom, and how each kind of end becomes an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparse3d.cli import context
from sparse3d.cli import main as entry
from sparse3d.cli.commands import COMMANDS
from tests.cli.helpers import run


def in_subprocess(code: str, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False, timeout=120
    )


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["bench", "train", "--help"], ["data", "list"], ["trian"]]
)
def test_talk_imports_no_torch(words: list[str], repo: Path) -> None:
    code = f"import sys; from sparse3d.cli.main import main; main({words!r}); sys.exit('torch' in sys.modules)"
    done = in_subprocess(code, cwd=repo)
    assert done.returncode == 0, done.stderr


def test_top_help_imports_neither_numpy_nor_tyro(repo: Path) -> None:
    code = (
        "import sys; from sparse3d.cli.main import main; main(['--help']); "
        "print({'numpy', 'tyro', 'rich'} & {*sys.modules})"
    )
    assert in_subprocess(code, cwd=repo).stdout.endswith("set()\n")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "--help")
    assert result.code == 0
    for name, command in COMMANDS.items():
        assert f"  {name} {command.arguments}".rstrip() in result.out
        assert command.help in result.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, *name.split(), "--help")
    assert result.code == 0
    assert f"usage: sparse3d {name} [-h]" in result.out
    assert "--help" in result.out
    assert result.err == ""


def test_every_setting_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    import dataclasses

    from sparse3d.load.config import SceneConfig
    from sparse3d.start.config import StartConfig
    from sparse3d.train.config import TrainConfig

    text = run(capsys, "train", "--help").out
    names = [f.name for kind in (SceneConfig, StartConfig) for f in dataclasses.fields(kind)]
    for field in dataclasses.fields(TrainConfig):
        value = getattr(TrainConfig(), field.name)
        inner = (
            [f"{field.name}.{f.name}" for f in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else None
        )
        names += [field.name] if inner is None else inner
    for name in names:
        option = name.replace("_", "-")
        group, _, last = option.rpartition(".")
        off = f"--{group + '.' if group else ''}no-{last}"
        assert f"--{option}" in text or off in text, option


def test_groups_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert "sparse3d bench step" in run(capsys, "bench").out
    assert run(capsys, "--version").out.startswith("sparse3d ")
    assert run(capsys).out == run(capsys, "--help").out


def test_an_unexpected_error_is_a_sentence_and_a_traceback_in_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(words: list[str]) -> int:
        context.set_run_folder(tmp_path)
        raise RuntimeError("the cat sat on it")

    monkeypatch.setattr(entry, "_dispatch", broken)
    result = run(capsys, "train")
    assert result.code == 1
    assert result.err.startswith(
        f"sparse3d: internal error: RuntimeError: the cat sat on it (the traceback is in {tmp_path}"
    )
    assert "Traceback" not in result.err
    assert "in broken" in (tmp_path / "error.txt").read_text()
    assert "in broken" in run(capsys, "train", "--debug").err


def test_interrupts_and_closed_pipes_are_no_errors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "_dispatch", interrupted)
    assert run(capsys, "train") == (130, "", "sparse3d: interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end differently on Windows")
def test_a_reader_that_leaves_early(repo: Path) -> None:
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "sparse3d", "data", "list"], stdout=write, stderr=subprocess.PIPE, cwd=repo
    )
    os.close(write)
    os.close(read)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")

# SPDX-License-Identifier: Apache-2.0
"""The task runner: what it asks of a machine, what it installs, how it counts."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

POSIX = sys.platform != "win32"


@pytest.fixture
def do(repo: Path) -> ModuleType:
    """scripts/do as a module, fresh for each test."""
    loader = SourceFileLoader("sparse3d_do", str(repo / "scripts" / "do"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def program(folder: Path, name: str, first_line: str) -> Path:
    """An executable that prints one line, as a compiler does for --version."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{first_line}'\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_help_names_every_verb(repo: Path, do: ModuleType) -> None:
    out = subprocess.run(
        [sys.executable, repo / "scripts" / "do", "--help"], capture_output=True, text=True, check=True
    )
    for verb in do.VERBS:
        assert f"\n    {verb} " in out.stdout


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "setup"),
        (["settup"], 1, "unknown verb 'settup'; known: setup demo test"),
        (["lint", "x y"], 1, "`lint` takes no arguments, found 'x y'"),
    ],
)
def test_wrong_words(repo: Path, words: list[str], code: int, text: str) -> None:
    out = subprocess.run([sys.executable, repo / "scripts" / "do", *words], capture_output=True, text=True, check=False)
    assert out.returncode == code
    assert text in out.stdout + out.stderr


def test_old_python_is_refused(do: ModuleType) -> None:
    with pytest.raises(do.Failed, match=r"needs Python 3\.10 or newer, this is 3\.9\.2"):
        do.check_python((3, 9, 2))


@pytest.mark.parametrize(
    ("platform", "what", "command"),
    [
        ("linux", "g++", "sudo apt-get install g++"),
        ("linux", "python", "python3-venv"),
        ("darwin", "g++", "xcode-select --install"),
        ("darwin", "python", "brew install"),
    ],
)
def test_says_what_to_install(
    do: ModuleType, monkeypatch: pytest.MonkeyPatch, platform: str, what: str, command: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert command in do.how_to_install(what)


@pytest.mark.skipif(not POSIX, reason="compilers are stood in for by shell scripts")
@pytest.mark.parametrize(
    ("line", "kind", "major"),
    [
        ("g++ (Debian 12.2.0-14+deb12u1) 12.2.0", "g++", 12),
        ("c++ (GCC) 13.2.1 20230801", "g++", 13),
        ("g++-11 (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0", "g++", 11),
        ("Ubuntu clang version 15.0.7", "clang", 15),
        ("Apple clang version 16.0.0 (clang-1600.0.26.6)", "clang", 16),
    ],
)
def test_compiler_version(do: ModuleType, tmp_path: Path, line: str, kind: str, major: int) -> None:
    assert do.compiler_version(str(program(tmp_path, "c++", line))) == (kind, major, line)


@pytest.mark.skipif(not POSIX, reason="compilers are stood in for by shell scripts")
def test_old_or_missing_compiler_is_refused(do: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(program(tmp_path, "old", "g++ (Debian 10.2.1-6) 10.2.1 20210110")))
    with pytest.raises(do.Failed, match=r"needs g\+\+ 12 or clang 15, found 'g\+\+ \(Debian 10.*set CXX"):
        do.check_compiler()
    monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    with pytest.raises(do.Failed, match=r"CXX=.*absent does not run\. .*install"):
        do.check_compiler()
    monkeypatch.setenv("CXX", str(program(tmp_path, "new", "g++ (GCC) 14.1.0")))
    do.check_compiler()


@pytest.fixture
def installs(do: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What pip would have been asked for, in an environment where torch is not there; indexes give nothing."""
    asked: list[str] = []

    def pip(*words: object, venv: Path | None = None, check: bool = True) -> int:
        asked.append(" ".join(map(str, words)))
        return 1 if "--index-url" in words else 0

    monkeypatch.setattr(do, "pip", pip)
    monkeypatch.setattr(do, "run", lambda *words, **options: 1)
    monkeypatch.setattr(do, "has_gpu", lambda: False)
    for name in ("SPARSE3D_TORCH", "SPARSE3D_TORCH_INDEX"):
        monkeypatch.delenv(name, raising=False)
    return asked


def test_torch_as_named(do: ModuleType, installs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSE3D_TORCH", "torch==2.13.0")
    do.install_torch(Path("anywhere"))
    assert installs == ["torch==2.13.0"]


@pytest.fixture
def index(tmp_path: Path):
    """A package index on this machine that has a page for torch."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "index.html").write_text("<a href='torch.whl'>torch</a>", encoding="utf-8")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Tests print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_torch_from_an_index_that_answers(
    do: ModuleType, installs: list[str], index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU index first; the tested version through pip's own configuration where that fails; plain torch never."""
    monkeypatch.setenv("SPARSE3D_TORCH_INDEX", index)
    do.install_torch(Path("anywhere"))
    assert installs == [f"--index-url {index} torch>=2.4", do.TORCH_PINNED]


def test_torch_without_network(do: ModuleType, installs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that does not answer is not asked for each dependency in turn."""
    monkeypatch.setenv("SPARSE3D_TORCH_INDEX", "http://127.0.0.1:9")
    do.install_torch(Path("anywhere"))
    assert installs == [do.TORCH_PINNED]


def test_torch_that_imports_is_kept(do: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(do, "pip", lambda *words, **options: asked.append(str(words)))
    do.install_torch(Path(sys.prefix))
    assert asked == []


def test_build_key_follows_what_the_build_reads(
    do: ModuleType, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "repo"
    (copy / "scripts").mkdir(parents=True)
    (copy / "cpu").mkdir()
    for name in ("pyproject.toml", "CMakeLists.txt", "scripts/do"):
        shutil.copy(repo / name, copy / name)
    (copy / "cpu" / "a.cpp").write_text("int a;\n", encoding="utf-8")
    monkeypatch.setattr(do, "REPO", copy)
    monkeypatch.setattr(do, "__file__", str(copy / "scripts" / "do"))
    keys = [do.build_key([]), do.build_key([]), do.build_key(["test"])]
    (copy / "cpu" / "notes.md").write_text("not built\n", encoding="utf-8")
    keys.append(do.build_key([]))
    (copy / "cpu" / "a.cpp").write_text("int b;\n", encoding="utf-8")
    keys.append(do.build_key([]))
    monkeypatch.setenv("SPARSE3D_CUDA", "off")
    keys.append(do.build_key([]))
    assert keys[0] == keys[1] == keys[3]
    assert len({keys[0], keys[2], keys[4], keys[5]}) == 4


def test_counts_and_unlisted_skips(do: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real pytest run on a small suite: a skip counts as skipped only for a reason that is on the list."""
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "allowed_skips.txt").write_text("# reasons\nscene \\w+ is not here\n", encoding="utf-8")
    (tests / "test_small.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): raise ValueError\n"
        "def test_listed(): pytest.skip('scene fox is not here')\n"
        "def test_unlisted(): pytest.skip('scene fox is not here today')\n"
        "@pytest.fixture\n"
        "def broken(): raise ValueError\n"
        "def test_error(broken): pass\n",
        encoding="utf-8",
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    monkeypatch.setattr(do, "REPO", tmp_path)
    monkeypatch.setattr(do, "VENV", Path(sys.prefix))
    monkeypatch.setattr(do, "run", functools.partial(do.run, cwd=tmp_path))
    assert do.pytest("-q") == {"passed": 1, "failed": 3, "skipped": 1}


def test_wrong_tool_version_is_refused(do: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = 'lint = [\n  "pytest==0.0.1",\n]\n'
    (tmp_path / "pyproject.toml").write_text(pins, encoding="utf-8")
    monkeypatch.setattr(do, "REPO", tmp_path)
    monkeypatch.setattr(do, "VENV", Path(sys.prefix))
    with pytest.raises(do.Failed, match=rf"wrong version: pytest {pytest.__version__} \(pinned: 0\.0\.1\)"):
        do.check_tool_versions()


@pytest.mark.skipif(not POSIX, reason="CI's script is for bash")
def test_ci_script_is_sound(repo: Path) -> None:
    script = repo / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", script], check=True)
    assert "scripts/do ci" in script.read_text(encoding="utf-8")


def test_browser_that_cannot_be_had_is_a_skip(
    do: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(do.os, "environ", {k: v for k, v in os.environ.items() if k != "SPARSE3D_BROWSER"})
    monkeypatch.setattr(do, "setup", lambda *extras: asked.extend(extras))
    monkeypatch.setattr(do, "apt_install", lambda *packages: bool(asked.extend(packages)))
    monkeypatch.setattr(do.shutil, "which", lambda name: None)
    assert do.setup_browser() == {"skipped": 1}
    assert asked == ["browser", "chromium"]
    assert "sudo apt-get install chromium" in capsys.readouterr().out
    assert "SPARSE3D_BROWSER" not in do.os.environ
    monkeypatch.setattr(do.shutil, "which", lambda name: "/usr/bin/chromium" if name == "chromium" else None)
    assert do.setup_browser() == {}
    assert asked == ["browser", "chromium", "browser"]
    assert do.os.environ["SPARSE3D_BROWSER"] == "required", "a browser test that is skipped after this has failed"


def test_player_without_npm(repo: Path, tmp_path: Path) -> None:
    script = repo / "scripts" / "build_player.py"
    empty = {**os.environ, "PATH": str(tmp_path)}
    # -S: not the Node.js that pyright may have brought.
    out = subprocess.run([sys.executable, "-S", script], env=empty, capture_output=True, text=True, check=False)
    assert out.returncode == 1
    assert "built with npm" in out.stderr


@pytest.mark.skipif(not POSIX, reason="the made npm is a shell script")
def test_a_player_that_was_not_built_from_its_sources(repo: Path, tmp_path: Path) -> None:
    """A made npm that "builds" what the second word of its folder's file says."""
    script, player = tmp_path / "scripts" / "build_player.py", tmp_path / "viewer" / "player"
    (player / "dist").mkdir(parents=True)
    script.parent.mkdir()
    script.write_bytes((repo / "scripts" / "build_player.py").read_bytes())
    (player / "dist" / "player.js").write_text("new", encoding="utf-8")
    npm = tmp_path / "npm"
    npm.write_text('#!/bin/sh\nprintf new > dist/player.js\n[ "$3" != test ] || exit $FAILING\n', encoding="utf-8")
    npm.chmod(0o755)

    def built(*words: str, failing: str = "0") -> tuple[int, str]:
        env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "FAILING": failing}
        command = [sys.executable, "-S", script, *words]
        out = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        return out.returncode, out.stdout + out.stderr

    assert built("--check") == (0, "dist is as it was\n")
    code, text = built("--check", failing="3")
    assert code == 1
    assert "`npm run --silent test` ended with exit code 3" in text
    (player / "dist" / "player.js").write_text("changed by hand", encoding="utf-8")
    code, text = built("--check")
    assert code == 1
    assert "dist was not built from its sources: player.js" in text
    (player / "dist" / "extra.js").write_text("", encoding="utf-8")
    (player / "dist" / "player.js").write_text("old", encoding="utf-8")
    assert built() == (0, "dist changed: player.js\n")


def test_parts_that_a_machine_cannot_run_count_as_skipped(
    do: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CI without a cross compiler, an emulator and the means to install them: skipped in words, and nothing failed."""
    for name in ("setup", "setup_browser", "lint", "player", "lower_bounds", "fuzz", "race", "wheel"):
        monkeypatch.setattr(do, name, lambda *words: None)
    monkeypatch.setattr(do, "pytest", lambda: {"passed": 5, "failed": 0, "skipped": 1})
    monkeypatch.setattr(do, "apt_install", lambda *packages: False)
    monkeypatch.setattr(do.shutil, "which", lambda name: None)
    do.ci()
    out = capsys.readouterr().out
    assert "skipped: needs a cross compiler and an emulator: sudo apt-get install" in out
    assert out.endswith("\n5 passed, 0 failed, 2 skipped\n")


def test_race_without_a_thread_sanitizer_is_a_skip(
    do: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    assert do.race() == {"skipped": 1}
    assert "has no thread sanitizer" in capsys.readouterr().out


@pytest.mark.skipif(not POSIX, reason="the made self-test is a shell script")
@pytest.mark.parametrize(("code", "failed"), [(0, 0), (66, 1)])
def test_race_counts_a_report_of_the_sanitizer(
    do: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, failed: int
) -> None:
    """A sanitizer that found a race ends a program whose own checks all passed with another exit code."""
    made = program(tmp_path, "selftest", "2 passed, 0 failed")
    made.write_text(made.read_text(encoding="utf-8") + f"exit {code}\n", encoding="utf-8")
    monkeypatch.setattr(do.selftests, "sanitizer_launcher", lambda name: [])
    monkeypatch.setattr(do.selftests, "_build", lambda *words: made)
    assert do.race() == ({"failed": 1} if failed else {"passed": 2, "failed": 0})

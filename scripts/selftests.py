# SPDX-License-Identifier: Apache-2.0
"""The kernels' self-test without Python (cpu/selftest), built and run: `scripts/do race` and `cross`.

`run` runs a command and raises where it fails; `say` tells the user; `cmake` is the environment's, which may be absent.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., int]
Say = Callable[[str], None]


def cross(run: Run, say: Say, apt_install: Callable[..., bool], repo: Path, cmake: Path) -> dict[str, int]:
    """The aarch64 kernels: compiled by a cross compiler, run under user-mode emulation. Counts of the self-test."""
    compiler, emulator = "aarch64-linux-gnu-g++", "qemu-aarch64"
    packages = ("g++-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user")
    if not (shutil.which(compiler) and shutil.which(emulator)) and not apt_install(*packages):
        say(f"skipped: needs a cross compiler and an emulator: sudo apt-get install {' '.join(packages)}")
        return {"skipped": 1}
    target = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", "-DCMAKE_EXE_LINKER_FLAGS=-static"]
    program = _build(run, repo, cmake, "s3d_selftest_neon", *target, f"-DCMAKE_CXX_COMPILER={compiler}")
    return _counts(say, emulator, program)


def race(run: Run, say: Say, repo: Path, cmake: Path) -> dict[str, int]:
    """The thread pool's part, built and watched by the compiler's thread sanitizer. Counts of the self-test."""
    launcher = sanitizer_launcher("thread")
    if launcher is None:
        say("skipped: the C++ compiler has no thread sanitizer (-fsanitize=thread) that runs here")
        return {"skipped": 1}
    level = "base" if platform.machine().lower() in ("x86_64", "amd64") else "neon"
    settings = ["-DSPARSE3D_SANITIZE=thread", f"-DSPARSE3D_SIMD_LEVELS={level}"]
    return _counts(say, *launcher, _build(run, repo, cmake, f"s3d_race_{level}", *settings))


def sanitizer_launcher(name: str) -> list[str] | None:
    """What to write before a program that the compiler's sanitizer watches; None where such a program does not run.

    ThreadSanitizer wants its memory at known places: where the kernel scatters it too widely, `setarch -R` helps.
    """
    compiler = shlex.split(os.environ.get("CXX") or "c++")
    launchers: list[list[str]] = [[], ["setarch", "-R"]]
    with tempfile.TemporaryDirectory(prefix="sparse3d-sanitizer-") as folder:
        source, program = Path(folder) / "empty.cpp", Path(folder) / "empty"
        source.write_text("int main() {}\n", encoding="utf-8")
        try:
            subprocess.run([*compiler, f"-fsanitize={name}", source, "-o", program], capture_output=True, check=True)
            for launcher in launchers:
                if subprocess.run([*launcher, program], capture_output=True, check=False).returncode == 0:
                    return launcher
        except (OSError, subprocess.CalledProcessError):
            return None
    return None


def _build(run: Run, repo: Path, cmake: Path, target: str, *settings: str) -> Path:
    """Builds one program of the self-test below build/ with these settings of CMake and returns its path."""
    program = cmake if cmake.exists() else shutil.which("cmake")
    build = repo / "build" / target
    run(program, "-S", repo, "-B", build, "-DCMAKE_BUILD_TYPE=Release", "-DSPARSE3D_SELFTEST=ON", *settings)
    run(program, "--build", build, "--parallel", os.cpu_count() or 1, "--target", target)
    return build / target


def _counts(say: Say, *command: object) -> dict[str, int]:
    """Runs the self-test and shows what it says. Counts that are missing or do not fit the exit code, as after a crash
    or a sanitizer's report, are one failure."""
    out = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    print(out.stdout, out.stderr, flush=True)
    counts = re.search(r"^(\d+) passed, (\d+) failed$", out.stdout, re.M)
    if not counts or (out.returncode == 0) != (counts[2] == "0"):
        say(f"FAILED: the self-test ended with exit code {out.returncode} and no count that fits")
        return {"failed": 1}
    return {"passed": int(counts[1]), "failed": int(counts[2])}

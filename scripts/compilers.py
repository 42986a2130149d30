# SPDX-License-Identifier: Apache-2.0
"""What a C++ compiler says about itself, and what to type on a system that has none."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

OLDEST_COMPILER = {"g++": 12, "clang": 15}


def how_to_install(what: str) -> str:
    """The command that installs a compiler ("g++") or Python's headers ("python") on this system."""
    if sys.platform == "darwin":
        return {"g++": "xcode-select --install", "python": "brew install python@3.12"}[what]
    if os.name == "nt":
        return {"g++": "install LLVM, set CXX=clang++", "python": "install it from python.org"}[what]
    debian = {"g++": "g++", "python": "python3-dev python3-venv"}[what]
    fedora = {"g++": "gcc-c++", "python": "python3-devel"}[what]
    return f"sudo apt-get install {debian}   (Debian, Ubuntu)   or   sudo dnf install {fedora}   (Fedora)"


def compiler_version(program: str) -> tuple[str, int, str] | None:
    """Kind ("g++" or "clang"), major version, first line of --version; None where the program does not run."""
    try:
        out = subprocess.run([*shlex.split(program), "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    first = (out.stdout or out.stderr).strip().splitlines()[:1]
    if out.returncode or not first:
        return None
    kind = "clang" if "clang" in out.stdout.lower() else "g++"
    found = re.search(r"version (\d+)", first[0]) if kind == "clang" else re.search(r"\) (\d+)\.", first[0] + ".")
    return (kind, int(found.group(1)), first[0]) if found else None

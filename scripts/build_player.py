# SPDX-License-Identifier: Apache-2.0
"""Makes viewer/player/dist anew from its sources: checked, tested, built. A test compares the two."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "viewer" / "player"


def main() -> int:
    npm = shutil.which("npm")
    if npm is None:
        print("the player is built with npm (Node.js 20 or newer), which is not installed: nodejs.org", file=sys.stderr)
        return 1
    steps = ["ci --no-audit --no-fund", "run --silent check", "run --silent test", "run --silent build"]
    return max(subprocess.run([npm, *step.split()], cwd=FOLDER, check=False).returncode for step in steps)


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/formats/sog_* and glb_*: the seeded splats of source.ply as other programs write them.

    python scripts/make_sog_glb_golden.py TOOLS

TOOLS is as for make_format_golden.py: gaussforge 0.6.0 in `venv/`, @playcanvas/splat-transform 3.7.0 in
`node_modules/`, Node.js 22 or newer as `bin/node24`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parents[1] / "tests" / "golden" / "formats"

_IN_VENV = """
import sys, gaussforge
source, out = sys.argv[1:]
forge = gaussforge.GaussForge()
written = forge.write(forge.read(open(source, "rb").read(), "ply")["data"], "sog")
open(out + "/sog_gaussforge.sog", "wb").write(written["data"] if isinstance(written, dict) else written)
"""


def main(tools: Path) -> None:
    source = OUT / "source.ply"
    cli = tools / "node_modules" / "@playcanvas" / "splat-transform" / "bin" / "cli.mjs"
    node = [str(tools / "bin" / "node24"), str(cli), "-q", "-w", "-g", "cpu", str(source)]
    for name in ("sog_splat_transform.sog", "glb_splat_transform.glb"):
        subprocess.run([*node, str(OUT / name)], check=True)
    subprocess.run([str(tools / "venv" / "bin" / "python"), "-c", _IN_VENV, str(source), str(OUT)], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

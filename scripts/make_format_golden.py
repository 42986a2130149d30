# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/formats: the same seeded splats as files of every format that other programs write.

    python scripts/make_format_golden.py TOOLS

TOOLS is a folder with `venv/` (gsply 0.4.6, gaussforge 0.6.0, numpy), `bin/node24` (Node.js 22 or newer) and
`node_modules/` (@playcanvas/splat-transform 3.7.0, @adobe/spz 0.2.3, @mkkellogg/gaussian-splats-3d 0.4.7, three).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from sparse3d import formats
from sparse3d.splats import Splats

OUT = Path(__file__).resolve().parents[1] / "tests" / "golden" / "formats"
NUM_SPLATS = 40

_IN_VENV = """
import sys, gaussforge, gsply
source, out = sys.argv[1:]
data = gsply.plyread(source)
gsply.plywrite(out + "/gsply.compressed.ply", data, compressed=True)
gsply.write_spz(out + "/gsply.spz", data)
forge = gaussforge.GaussForge()
read = forge.read(open(source, "rb").read(), "ply")["data"]
for suffix in ("splat", "spz"):
    written = forge.write(read, suffix)
    open(f"{out}/gaussforge.{suffix}", "wb").write(written["data"] if isinstance(written, dict) else written)
"""


def seeded_splats() -> Splats:
    """40 splats without any symmetry, in a box that no axis shares with another, inside the range of every format."""
    g = torch.Generator().manual_seed(41)
    n = NUM_SPLATS

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=g) * 2 - 1

    return Splats(
        means=uniform(n, 3) * torch.tensor([1.0, 2.0, 0.5]) + torch.tensor([0.3, -0.7, 1.9]),
        quats_wxyz=torch.nn.functional.normalize(torch.randn(n, 4, generator=g), dim=1),
        log_scales=uniform(n, 3) - 3.0,
        logit_opacities=uniform(n) * 2 + 1,
        sh0=uniform(n, 1, 3) * 1.2,
        shN=uniform(n, 15, 3) * 0.45,
    )


def main(tools: Path) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    source = OUT / "source.ply"
    formats.write(source, seeded_splats())
    node = tools / "bin" / "node24"
    transform = [node, tools / "node_modules/@playcanvas/splat-transform/bin/cli.mjs", "-q", "-w"]
    for name, options in (
        ("splat_transform.compressed.ply", []),
        ("splat_transform_v3.spz", ["--spz-version", "3"]),
        ("splat_transform_v4.spz", ["--spz-version", "4"]),
    ):
        subprocess.run([*transform, *options, source, OUT / name], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([tools / "venv/bin/python", "-c", _IN_VENV, source, OUT], check=True)
    script = Path(__file__).with_name("make_format_golden.mjs")
    subprocess.run([node, script, tools / "node_modules", source, OUT], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

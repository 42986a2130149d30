# SPDX-License-Identifier: Apache-2.0
"""`sparse3d bench step`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparse3d.cli.parse import parse
from sparse3d.cli.render import parse_size
from sparse3d.cli.table import aligned
from sparse3d.cli.terminal import Bar, say
from sparse3d.errors import DataError, UsageError

if TYPE_CHECKING:
    from sparse3d.records.scene import Scene


@dataclass(frozen=True)
class Args:
    """Time one training step, stage by stage: project, sort, blend, loss, backward, Adam; nothing is added or removed.

    The splats are jittered copies of the scene's points with random colours, seeded; or those of --run.
    """

    scene: Path | None = None
    """Scene whose points, cameras and photos are used (default: the sample scene)."""
    splats: int = 20_000
    """Number of splats."""
    size: str | None = None
    """Size of the photos, as 270x480 (default: as they are)."""
    sh: int = 3
    """Degree of view-dependent colour, 0 to 4."""
    steps: int = 50
    """Steps that are timed."""
    warmup: int = 10
    """Steps before them."""
    threads: int = 0
    """Threads of the kernels (0: one a core)."""
    seed: int = 0
    """Seed of the splats."""
    run: Path | None = None
    """Folder of a run, whose splats are used instead of the made ones (also: --from)."""
    no_reference: bool = False
    """Leave out the slow step of the plain-torch reference, and with it the ratio."""
    json: bool = False
    """One JSON object instead of a table."""


def main(words: Sequence[str]) -> int:
    # `from` is a keyword of Python and cannot be a field.
    words = ["--run" + word[6:] if word == "--from" or word.startswith("--from=") else word for word in words]
    args = parse(Args, words, prog="bench step")
    if args.splats < 1 or args.steps < 1 or args.warmup < 0 or not 0 <= args.sh <= 4:
        raise UsageError("bench step: --splats and --steps must be 1 or more, --warmup 0 or more, --sh 0 to 4")
    from sparse3d import formats
    from sparse3d.bench import step
    from sparse3d.runs.finished import splat_file

    cfg = step.StepBenchConfig(
        splats=args.splats, sh_degree=args.sh, steps=args.steps, warmup=args.warmup, threads=args.threads,
        seed=args.seed, reference=not args.no_reference,
    )  # fmt: skip
    splats = None if args.run is None else formats.read(splat_file(args.run))
    scene = _load(args)
    try:
        result = {"scene": str(scene.root), **step.run(scene, cfg, splats=splats)}
    finally:
        scene.images.close()
    result |= {f"{name}_ms": value for name, value in result["stages_ms"].items()}
    if args.json:
        print(json.dumps(result, allow_nan=False))
        return 0
    print(aligned([(key.replace("_", " "), _text(value)) for key, value in result.items() if key != "stages_ms"]))
    return 0


def _load(args: Args) -> Scene:
    from sparse3d.load.cards import cards_folder
    from sparse3d.load.config import SceneConfig
    from sparse3d.load.scene import load_scene

    path = args.scene if args.scene is not None else cards_folder() / "sample"
    wanted = None if args.size is None else parse_size(args.size)
    cfg = SceneConfig(max_side="full" if wanted is None else max(wanted), seed=args.seed)
    with Bar("loading") as bar:
        scene = load_scene(path, cfg, progress=lambda what, f: bar.show(f, what))
    for note in scene.notes:
        say(f"note: {note}")
    found = {(scene.cameras[i].width, scene.cameras[i].height) for i in scene.train}
    if wanted is not None and found != {wanted}:
        sizes = ", ".join(f"{w}x{h}" for w, h in sorted(found))
        raise DataError(f"--size {args.size}: the photos of {path} become {sizes} at that longer side; give that size")
    return scene


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return (
        "-" if value is None else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    )

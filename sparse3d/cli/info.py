# SPDX-License-Identifier: Apache-2.0
"""`sparse3d info`: what a run, a file of splats or a scene folder holds, without training or writing anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from sparse3d.cli.parse import parse
from sparse3d.cli.table import aligned, result_table
from sparse3d.errors import DataError

if TYPE_CHECKING:
    from sparse3d.splats import Splats


@dataclass(frozen=True)
class Args:
    """Say what a run, a file of splats or a scene folder holds."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """Run folder, file of splats, or scene."""
    drop_invalid: bool = False
    """Leave out splats that hold NaN or infinite values, and count them."""
    json: bool = False
    """One JSON object instead of a table."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="info")
    values = describe(args.path, drop_invalid=args.drop_invalid)
    if args.json:
        print(json.dumps(values, allow_nan=False))
        return 0
    metrics = values.pop("metrics", None)
    notes = values.pop("notes", [])
    print(aligned([(key.replace("_", " "), _text(value)) for key, value in values.items()]))
    if metrics:
        print(result_table(metrics))
        notes = [*notes, *metrics.get("warnings", ())]
    for note in notes:
        print(f"note: {note}")
    return 0


def describe(path: Path, *, drop_invalid: bool = False) -> dict[str, Any]:
    """Plain values about `path`. Raises DataError where it is nothing we know."""
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    from sparse3d.runs.finished import is_run

    if is_run(path):
        return _run(path)
    if path.is_file() and path.suffix.lower() != ".json" and not _is_video(path):
        return _file(path, drop_invalid)
    return _scene(path)


def _run(path: Path) -> dict[str, Any]:
    from sparse3d.config import read_layer
    from sparse3d.runs.finished import FinishedRun, read_json

    run = FinishedRun.open(path)
    # As it is stored: a run of another version can still be told of.
    config = read_layer(path / "config.toml").values
    out: dict[str, Any] = {"kind": "run", "scene": config.get("scene_path", ""), "preset": config.get("preset", "")}
    checkpoint = read_json(path / "checkpoint.json")
    steps = config.get("train", {}).get("steps")
    if run.metrics is not None:
        out["state"] = "finished"
    elif checkpoint is not None:
        out["state"] = f"not finished: {checkpoint['step']} of {steps} steps (go on with train --out {path} --resume)"
    else:
        out["state"] = "not finished: no checkpoint yet"
    if run.has_splats:
        out |= {key: value for key, value in _file(run.splat_file).items() if key != "kind"}
    if run.metrics is not None:
        out["metrics"] = run.metrics
    return out


def _file(path: Path, drop_invalid: bool = False) -> dict[str, Any]:
    from sparse3d import formats

    splats, notes = formats.read_with_notes(path, drop_invalid=drop_invalid)
    with path.open("rb") as file:
        name = formats.find_format(file.read(formats.HEAD_BYTES), path).name
    out = {"kind": "splats", "format": name, "bytes": path.stat().st_size, **_splats(splats)}
    return out | ({"notes": list(notes)} if notes else {})


def _splats(splats: Splats) -> dict[str, Any]:
    import numpy as np

    means = splats.means.double().numpy()
    scales = np.sort(splats.scales.double().numpy().max(axis=1))
    opacities = np.sort(splats.opacities.double().numpy())
    # Bounds of the middle 98 %: one stray splat at infinity says nothing about a scene.
    low, high = np.quantile(means, 0.01, axis=0), np.quantile(means, 0.99, axis=0)
    return {
        "num_splats": splats.num_splats,
        "sh_degree": splats.sh_degree,
        "antialias": splats.antialias,
        **({"origin": [list(splats.origin)]} if any(splats.origin) else {}),
        "bounds_98": [[round(float(v), 4) for v in low], [round(float(v), 4) for v in high]],
        "median_scale": float(f"{scales[len(scales) // 2]:.4g}"),
        "median_opacity": round(float(opacities[len(opacities) // 2]), 4),
    }


def _is_video(path: Path) -> bool:
    from sparse3d.photos.video import is_video

    return is_video(path)


def _scene(path: Path) -> dict[str, Any]:
    from sparse3d.load.config import SceneConfig
    from sparse3d.load.parsers.parser import Work
    from sparse3d.load.scene import find_kind
    from sparse3d.load.views import split_views
    from sparse3d.photos.files import photo_info
    from sparse3d.photos.masks import find_masks

    parser, notes = find_kind(path)
    out: dict[str, Any] = {"kind": "scene", "layout": parser.kind}
    if parser.kind == "video":
        return out | {"notes": list(notes)}
    cfg = SceneConfig()
    parsed = parser.parse(path, cfg, Work(None, None))
    photos, mask_notes = find_masks(parsed.root, parsed.photos)
    split = split_views([p.name for p in photos], [p.split for p in photos], views=cfg.views, test_every=None,
                        protocol="none")  # fmt: skip
    sizes = sorted({photo_info(p.path).size(False) for p in photos})
    shown = ", ".join(f"{w}x{h}" for w, h in sizes[:4]) + (f" and {len(sizes) - 4} more" if len(sizes) > 4 else "")
    posed = sum(p.camera is not None for p in photos)
    return out | {
        "photos": len(photos),
        "sizes": shown,
        "cameras": f"{posed} given" if posed else "none: structure from motion comes first",
        "masks": sum(p.mask_path is not None or p.alpha_is_mask for p in photos),
        "points": 0 if parsed.points is None else len(parsed.points),
        "train": len(split.train),
        "test": len(split.test),
        "notes": [*notes, *parsed.notes, *mask_notes, split.note],
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return " to ".join("(" + ", ".join(f"{v:.10g}" for v in corner) + ")" for corner in value)
    return str(value)

# SPDX-License-Identifier: Apache-2.0
"""`sparse3d clean`: removes floaters from a run's splats or a file of splats."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from sparse3d.cli.parse import parse
from sparse3d.cli.run_args import SceneArgs
from sparse3d.cli.table import aligned
from sparse3d.cli.terminal import Bar, say
from sparse3d.errors import DataError, UsageError
from sparse3d.judge.floater_config import FloaterConfig
from sparse3d.runs.config import RunConfig

if TYPE_CHECKING:
    from sparse3d.judge.floaters import Floaters
    from sparse3d.records.scene import Scene
    from sparse3d.splats import Splats

_WHAT = {
    "front": "in front of what photos show",
    "dense": "in front of dense depth",
    "harmful": "less error without them",
    "stray": "alone beside the photos, near a camera",
    "isolated": "far from all others",
    "faint": "nearly transparent",
    "useless": "without weight in any photo",
}


@dataclass(frozen=True)
class Args:
    """Remove floaters: splats in front of what the photos show, lone ones that no photo asks for, and nearly
    transparent ones. Photos decide; without a scene, neighbours and opacity alone."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """Run folder, or a file of splats."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """File of splats to write."""
    scene: Path | None = None
    """Photos with cameras, in the frame of the splats (default: a run's own, and its training photos)."""
    load: Annotated[SceneArgs, tyro.conf.arg(name="")] = field(default_factory=SceneArgs)
    """Scene loading, as for train."""
    floaters: FloaterConfig = field(default_factory=FloaterConfig)
    """Which splats are floaters."""
    force: bool = False
    """Remove also more than --floaters.max-share of the splats."""
    threads: int = 0
    """Threads of the kernels (0: one a core). The result does not depend on it."""
    overwrite: bool = False
    """Replace OUT where it exists."""
    json: bool = False
    """One JSON object instead of a table."""


def main(words: Sequence[str]) -> int:
    own = _own_config(words)
    default = None if own is None else _with_scene(own)
    args = parse(Args, words, prog="clean", default=default)
    from sparse3d import formats

    formats.format_for_suffix(args.out)
    if args.out.is_dir():
        raise UsageError(f"{args.out}: is a folder; OUT is the file to write, as clean.ply")
    if args.out.exists() and not args.overwrite:
        raise UsageError(f"{args.out}: exists; add --overwrite to replace it, or choose another OUT")
    splats = formats.read(_splat_file(args.source))
    from sparse3d.kernels import cpu

    cpu.set_threads(args.threads)
    scene_path = args.scene or (Path(own.scene_path) if own is not None else None)
    result = _clean(args, splats, None if scene_path is None else _load(args, scene_path), own or RunConfig())
    if args.json:
        print(json.dumps(result, allow_nan=False))
    else:
        _print(result)
    return 0


def _clean(args: Args, splats: Splats, scene: Scene | None, cfg: RunConfig) -> dict[str, Any]:
    from sparse3d import formats
    from sparse3d.judge.floaters import check_share, find_floaters

    began = time.perf_counter()
    try:
        before = _scores(scene, splats, cfg)
        with Bar("looking for floaters") as bar:
            bar.show(None, "without photos" if scene is None else f"{len(scene.train)} photos")
            found: Floaters = find_floaters(
                splats, _photos(scene, cfg), args.floaters, hull=_hull(scene), backend=_backend(cfg)
            )
        check_share(found, args.floaters, forced=args.force)
        cleaned = splats.select(~found.remove)
        after = _scores(scene, cleaned, cfg)
    finally:
        if scene is not None:
            scene.images.close()
    for note in formats.write(args.out, cleaned):
        say(f"note: {note}")
    return {
        "in": str(args.source), "out": str(args.out), "photos": 0 if scene is None else len(scene.train),
        "splats_before": splats.num_splats, "splats_after": cleaned.num_splats, "removed": found.counts,
        "psnr_train": [before["train"], after["train"]], "psnr_test": [before["test"], after["test"]],
        "seconds": round(time.perf_counter() - began, 3),
    }  # fmt: skip


def _photos(scene: Scene | None, cfg: RunConfig) -> Any:
    if scene is None:
        return ()
    from sparse3d.judge.background import evaluation_background
    from sparse3d.judge.photos import JudgingPhotos
    from sparse3d.judge.pictures import TrainViews

    return JudgingPhotos(TrainViews(scene, cfg.train), evaluation_background(scene, cfg.train))


def _hull(scene: Scene | None) -> Any:
    """As while training: of many masks more than one is wrong somewhere, so only few may remove anything."""
    if scene is None:
        return None
    from sparse3d.depth.hull import scene_hull
    from sparse3d.runs.few_views import FEW_PHOTOS

    return scene_hull(scene) if len(scene.train) <= FEW_PHOTOS else None


def _scores(scene: Scene | None, splats: Splats, cfg: RunConfig) -> dict[str, float | None]:
    """PSNR on the training photos and on the held-out ones, None where there are none."""
    if scene is None:
        return {"train": None, "test": None}
    from sparse3d.judge.background import evaluation_background
    from sparse3d.judge.evaluate import evaluate, image_renderer

    draw = image_renderer(splats, evaluation_background(scene, cfg.train), cfg.train.backend)
    return {"train": evaluate(scene, scene.train, draw).psnr, "test": evaluate(scene, scene.test, draw).psnr}


def _backend(cfg: RunConfig) -> str | None:
    return None if cfg.train.backend == "auto" else cfg.train.backend


def _own_config(words: Sequence[str]) -> RunConfig | None:
    """The settings of IN, where that is a run folder: they lie under the options given by hand."""
    for before, word in zip(("", *words), words, strict=False):
        if word.startswith("-") or before == "--scene":
            continue
        if (Path(word) / "config.toml").is_file():
            from sparse3d import config as configs

            return configs.resolve(RunConfig(), [configs.read_layer(Path(word) / "config.toml")])
    return None


def _with_scene(own: RunConfig) -> Args:
    values = {name: getattr(own.scene, name) for name in SceneArgs.__dataclass_fields__}
    return Args(source=tyro.MISSING, out=tyro.MISSING, load=SceneArgs(**values))


def _load(args: Args, path: Path) -> Scene:
    from sparse3d.load.config import SceneConfig
    from sparse3d.load.scene import find_kind, load_scene

    if not path.exists():
        raise DataError(f"{path}: the photos are not there; say with --scene where they are")
    if not args.source.is_dir() and find_kind(path, args.load.kind)[0].kind in ("photos", "video"):
        raise DataError(
            f"{path}: the photos come without cameras, and estimated ones would not be in the frame of {args.source}; "
            "give a scene with cameras, or the run folder that the splats come from"
        )
    fields = {name: getattr(args.load, name) for name in SceneConfig.__dataclass_fields__}
    work = args.source if args.source.is_dir() else None
    with Bar("loading") as bar:
        scene = load_scene(path, SceneConfig(**fields), progress=lambda what, f: bar.show(f, what), workdir=work)
    if not scene.train:
        scene.images.close()
        raise DataError(f"{path}: there is no training photo to judge by")
    return _as_refined(scene, args.source)


def _as_refined(scene: Scene, source: Path) -> Scene:
    """The scene with the cameras that a run has written: training may have refined them."""
    if not (source / "cameras.json").is_file():
        return scene
    from sparse3d.render.camera_file import read_camera_file

    poses = {named.camera.name: named.camera.cam_from_world for named in read_camera_file(source / "cameras.json")}
    cameras = [
        replace(camera, cam_from_world=poses.get(name, camera.cam_from_world))
        for name, camera in zip(scene.names, scene.cameras, strict=True)
    ]
    return replace(scene, cameras=tuple(cameras))


def _splat_file(source: Path) -> Path:
    if not source.is_dir():
        return source
    if not (source / "splat.ply").is_file():
        raise DataError(f"{source}: holds no splat.ply; is it the folder of a finished run?")
    return source / "splat.ply"


def _print(result: dict[str, Any]) -> None:
    before, after = result["splats_before"], result["splats_after"]
    share = (before - after) / before
    rows = [("splats", f"{before:,} -> {after:,}", f"{before - after:,} removed, {share:.1%}")]
    rows += [(f"  {name}", f"{number:,}", _WHAT[name]) for name, number in result["removed"].items()]
    for key, what in (("psnr_train", "the training photos"), ("psnr_test", "the held-out photos")):
        first, last = result[key]
        if first is not None and last is not None:
            rows.append(("PSNR", f"{first:.2f} -> {last:.2f} dB", what))
    by = f"judged by {result['photos']} photos" if result["photos"] else "without photos (--scene): neighbours, opacity"
    rows.append(("time", f"{result['seconds']:.1f} s", by))
    print(aligned(rows))
    print(result["out"])

# SPDX-License-Identifier: Apache-2.0
"""`bench quality`: published protocols over scenes, numbers of views and seeds, each run in its own process."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparse3d import config as configs
from sparse3d.bench.ablation import Switch, chosen, paired, switches
from sparse3d.bench.cells import Cell, run_cell, settings_digest, stored_cell
from sparse3d.bench.draws import (
    Selection,
    ceiling_selection,
    leave_one_out_draws,
    protocol_selection,
    random_draws,
    tuning_pool,
    tuning_train,
)
from sparse3d.bench.protocol import SceneFacts, adaptations, check_no_leak, default_options, examine, verdict
from sparse3d.bench.quality_table import TUNING, markdown
from sparse3d.bench.statistics import rows
from sparse3d.errors import DataError, UsageError
from sparse3d.formats.atomic import atomic_file
from sparse3d.train.config import RunConfig

# Words of `sparse3d train` to the settings they mean; raises UsageError for words that mean none.
Resolve = Callable[[Sequence[str]], RunConfig]
CEILING_PRESET = "quality"
# Options that the measurement sets itself, so that they cannot be given for every run.
_OURS = (
    "--views", "--test", "--test-every", "--protocol", "--seed", "--preset", "--out", "--resume", "--overwrite",
    "--lpips-weights", "--json",
)  # fmt: skip


@dataclass(frozen=True)
class QualityConfig:
    """views: numbers of training photos. seeds: how many, from 0. options: for every training run. draws: tuning mode
    with so many random choices of photos, leave_one_out: with each training photo held out in turn; neither ever looks
    at the protocol's test photos. only: names of what the ablation leaves out (None: everything)."""

    protocol: str
    views: tuple[int, ...] = (3,)
    seeds: int = 3
    preset: str = "default"
    options: tuple[str, ...] = ()
    ceiling: bool = False
    ablate: bool = False
    only: str | None = None
    draws: int = 0
    leave_one_out: bool = False
    lpips_weights: Path | None = None

    def __post_init__(self) -> None:
        if not self.views or min(self.views) < 1 or len(set(self.views)) != len(self.views):
            raise UsageError(f"--views {','.join(map(str, self.views))}: give different numbers of photos, 1 or more")
        if self.seeds < 1:
            raise UsageError(f"--seeds {self.seeds}: give 1 or more")
        if self.draws < 0:
            raise UsageError(f"--draw {self.draws}: give the number of draws, 1 or more")
        if self.draws and self.leave_one_out:
            raise UsageError("--draw and --leave-one-out are two ways to choose photos for tuning; give one of them")
        if self.tuning and self.ceiling:
            raise UsageError(
                "--ceiling measures on the protocol's test photos, --draw and --leave-one-out never look at them; "
                "give one of them"
            )
        chosen((), self.only)
        for word in self.options:
            if word.split("=")[0] in _OURS:
                raise UsageError(f"{word} after -- is set by `bench quality` itself; leave it out there")

    @property
    def tuning(self) -> bool:
        return self.draws > 0 or self.leave_one_out


@dataclass(frozen=True)
class Plan:
    """cells: the whole runs in their order. verdicts: by (scene, views, draw) what stands in the column `protocol`."""

    cells: tuple[Cell, ...]
    verdicts: dict[tuple[str, int, str], str]


def plan(scenes: Sequence[Path], cfg: QualityConfig, resolve: Resolve) -> Plan:
    """Everything that will be run, checked before the first run begins.

    Raises UsageError or DataError where a scene does not fit the protocol, or where the start of training would see
    photos that are held out.
    """
    if not scenes:
        raise UsageError("no SCENE was given; name one folder or more")
    labels = _labels(scenes)
    ceilings: list[Cell] = []
    cells: list[Cell] = []
    verdicts: dict[tuple[str, int, str], str] = {}
    for label, path in zip(labels, scenes, strict=True):
        scene = _Scene(label, path, cfg, resolve)
        if cfg.ceiling:
            selection = ceiling_selection(scene.facts.names, scene.facts.splits, cfg.protocol)
            views = len(selection.train)
            verdicts[label, views, selection.title] = f"not few views: preset {CEILING_PRESET}, seed 0"
            ceilings.append(scene.cell(views, 0, selection))
        for views in cfg.views:
            for selection in scene.selections(views):
                verdicts[label, views, selection.title] = scene.verdict(views)
                cells += [scene.cell(views, seed, selection) for seed in range(cfg.seeds)]
    return Plan((*ceilings, *cells), verdicts)


class _Scene:
    """One scene's facts, and the words that train it."""

    def __init__(self, label: str, path: Path, cfg: QualityConfig, resolve: Resolve) -> None:
        self._label, self._path, self._cfg, self._resolve = label, path, cfg, resolve
        settings = resolve([*self._words(cfg.preset), "--views", "1"]).scene
        check_no_leak(settings)
        self.facts: SceneFacts = examine(path, settings)
        self._settings = settings

    def verdict(self, views: int) -> str:
        if self._cfg.tuning:
            return TUNING
        return verdict(adaptations(self.facts, self._cfg.protocol, views, self._settings))

    def selections(self, views: int) -> tuple[Selection, ...]:
        names, splits, cfg = self.facts.names, self.facts.splits, self._cfg
        if not cfg.tuning:
            return (protocol_selection(names, splits, cfg.protocol, views),)
        own = tuning_train(names, splits, cfg.protocol, views)
        if cfg.leave_one_out:
            return leave_one_out_draws(own)
        # The photos that no measurement of this call would test on.
        pool = tuning_pool(names, splits, cfg.protocol, min(cfg.views))
        return random_draws(pool, views, cfg.draws, own)

    def cell(self, views: int, seed: int, selection: Selection) -> Cell:
        ceiling = selection.key == "ceiling"
        words = self._words(CEILING_PRESET if ceiling else self._cfg.preset)
        if selection.key in ("", "ceiling"):
            # A list of positions also where all train: `all` would let structure from motion see the held-out photos.
            words += ["--views", _positions(selection.train) if ceiling else str(views)]
        else:
            words += ["--views", _positions(selection.train), "--test", _positions(selection.test)]
        words += ["--seed", str(seed)]
        run = self._resolve(words)
        check_no_leak(run.scene)
        digest = settings_digest(run, self._cfg.lpips_weights)
        return Cell(self._label, views, seed, selection, tuple(words), digest, self.facts.names)

    def _words(self, preset: str) -> list[str]:
        given = {word.split("=")[0] for word in self._cfg.options}
        words = [str(self._path), "--preset", preset]
        for name, value in default_options(self._cfg.protocol).items():
            taken = {f"--{name}"} | ({"--downscale"} if name == "max-side" else set())
            # With --test the protocol has no say in which photos are held out.
            if not given & taken and not (name == "protocol" and self._cfg.tuning):
                words += [f"--{name}", value]
        return words + list(self._cfg.options)


def without(cell: Cell, switch: Switch, cfg: QualityConfig, resolve: Resolve) -> Cell:
    """The same run with one part left out."""
    words = (*cell.words, *switch.words)
    return replace(cell, words=words, without=switch, digest=settings_digest(resolve(words), cfg.lpips_weights))


def run(
    planned: Plan, cfg: QualityConfig, out: Path, resolve: Resolve, *, resume: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Run every cell that an earlier measurement in `out` (with resume) has not finished; then the ablation.

    Writes out/results.json and out/table.md after every run; returns what stands in results.json. A failed run does
    not end the others. Raises UsageError where `out` is not empty and resume is not given.
    """
    earlier = _earlier(out, resume)
    done: list[dict[str, Any]] = []

    def one(cell: Cell, count: str) -> dict[str, Any]:
        record = stored_cell(cell, out / "runs", earlier)
        kept = record is not None
        if record is None:
            record = run_cell(cell, out / "runs", cfg.lpips_weights)
        done.append(record)
        write(out, result(planned, cfg, done))
        say(f"{count}: {cell.title}: {_said(record)}{', kept' if kept else ''}")
        return record

    for number, cell in enumerate(planned.cells, 1):
        one(cell, f"{number} of {len(planned.cells)}")
    if cfg.ablate:
        less = [
            without(cell, switch, cfg, resolve)
            for cell, record in zip(planned.cells, list(done), strict=True)
            if record["ok"] and cell.selection.key != "ceiling"
            for switch in chosen(switches(_run_config(out / "runs" / cell.name)), cfg.only)
        ]
        if not less:
            say("ablation: nothing is on that could be left out")
        for number, cell in enumerate(less, 1):
            one(cell, f"ablation, {number} of {len(less)}")
    return result(planned, cfg, done)


def result(planned: Plan, cfg: QualityConfig, cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What results.json holds."""
    from sparse3d.train.pipeline import package_version

    return {
        "schema": 1,
        "protocol": cfg.protocol,
        "preset": cfg.preset,
        "seeds": list(range(cfg.seeds)),
        "options": list(cfg.options),
        "tuning": cfg.tuning,
        "version": package_version(),
        "rows": rows([cell for cell in cells if cell["without"] is None], planned.verdicts),
        "ablation": paired(cells),
        "cells": list(cells),
    }


def write(out: Path, values: dict[str, Any]) -> None:
    """results.json and table.md, each whole or as it was."""
    for name, text in (
        ("results.json", json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"),
        ("table.md", markdown(values)),
    ):
        with atomic_file(out / name) as file:
            file.write(text.encode("utf-8"))


def _earlier(out: Path, resume: bool) -> list[dict[str, Any]]:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out wants a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return []
    if not resume:
        raise UsageError(f"{out} is not empty; give --resume to keep the runs in it that fit, or another --out")
    path = out / "results.json"
    if not path.is_file():
        return []
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["cells"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is no result of `bench quality` ({error}); choose another --out") from None


def _run_config(folder: Path) -> RunConfig:
    return configs.resolve(RunConfig(), [configs.read_layer(folder / "config.toml")])


def _said(record: dict[str, Any]) -> str:
    if not record["ok"]:
        return f"failed: {record['why']}"
    shown = ["no PSNR" if record["psnr"] is None else f"PSNR {record['psnr']:.2f} dB"]
    shown += [] if record["ssim"] is None else [f"SSIM {record['ssim']:.3f}"]
    shown.append(f"{record['seconds']['total']:.0f} s")
    shown += [] if record["peak_rss_mb"] is None else [f"{record['peak_rss_mb']:.0f} MB"]
    return ", ".join([*shown, f"{record['num_splats']:,} splats"])


def _labels(scenes: Sequence[Path]) -> list[str]:
    """The folders' names, numbered where two are the same."""
    found: list[str] = []
    for path in scenes:
        resolved = path.resolve()
        name = resolved.parent.name if resolved.suffix.lower() == ".json" else resolved.name
        same = sum(label == name or label.startswith(f"{name} (") for label in found)
        found.append(f"{name} ({same + 1})" if same else name)
    return found


def _positions(values: Sequence[int]) -> str:
    """A single position has a comma behind it, so that it is not read as a number of photos."""
    return ",".join(map(str, values)) + ("," if len(values) == 1 else "")

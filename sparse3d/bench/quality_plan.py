# SPDX-License-Identifier: Apache-2.0
"""What `bench quality` will run: scenes times numbers of views times seeds, checked before the first run begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sparse3d.bench.ablation import Switch, chosen
from sparse3d.bench.cells import Cell, settings_digest
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
from sparse3d.bench.quality_table import TUNING
from sparse3d.errors import UsageError
from sparse3d.runs.config import RunConfig

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
    """views: numbers of training photos. seeds: how many, counted from 0. options: for every training run. draws:
    tuning mode with this many random choices of photos; leave_one_out: with each training photo held out in turn;
    neither ever looks at the protocol's test photos. only: names of what the ablation leaves out (None: everything)."""

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

    Raises UsageError or DataError if a scene does not fit the protocol, or if what training begins with would have seen
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
            # A list of positions even if all train: `all` would let structure from motion see the held-out photos.
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
    """Positions as --views takes them; a single one ends with a comma, or it would be read as a number of photos."""
    return ",".join(map(str, values)) + ("," if len(values) == 1 else "")

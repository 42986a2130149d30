# SPDX-License-Identifier: Apache-2.0
"""One training run of a measurement, in a process of its own, so that its seconds and memory are its own, too."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse3d import config as configs
from sparse3d.bench.ablation import Switch
from sparse3d.bench.draws import Selection
from sparse3d.errors import DataError
from sparse3d.formats.atomic import atomic_file
from sparse3d.runs.config import RunConfig

# What is taken from metrics.json.
_VALUES = (
    "psnr", "ssim", "lpips", "psnr_full", "ssim_full", "seconds", "peak_rss_mb", "num_splats", "steps", "cameras",
    "device", "version", "terms",
)  # fmt: skip
# A run that is told to end saves first; after this many seconds it is killed.
_END_S = 20.0


@dataclass(frozen=True)
class Cell:
    """scene: its label. words: arguments of `sparse3d train`, without --out. digest: of the settings. names: of all
    photos."""

    scene: str
    views: int
    seed: int
    selection: Selection
    words: tuple[str, ...]
    digest: str
    names: tuple[str, ...]
    without: Switch | None = None

    @property
    def name(self) -> str:
        """Unique in a measurement, and fit for a folder."""
        parts = [self.scene, f"{self.views}v", f"s{self.seed}", self.selection.key]
        parts += [f"no-{self.without.name}"] if self.without is not None else []
        return re.sub(r"[^\w.-]+", "_", "-".join(part for part in parts if part))

    @property
    def title(self) -> str:
        text = f"{self.scene}, {self.views} view{'s' if self.views != 1 else ''}, seed {self.seed}"
        text += f", {self.selection.title}" if self.selection.title else ""
        return f"{text}, without {self.without.title}" if self.without is not None else text

    def record(self) -> dict[str, Any]:
        """What stands in results.json before the run."""
        return {
            "cell": self.name,
            "scene": self.scene,
            "views": self.views,
            "seed": self.seed,
            "draw": self.selection.title,
            "without": None if self.without is None else self.without.title,
            "train": [self.names[i] for i in self.selection.train],
            "test": [self.names[i] for i in self.selection.test],
            "digest": self.digest,
        }


def settings_digest(cfg: RunConfig, lpips_weights: Path | None) -> str:
    """Digest of every setting and of the presets' text: a run may be kept only while all of that is unchanged."""
    presets = {path.name: path.read_text(encoding="utf-8") for path in sorted(configs.presets_folder().glob("*.toml"))}
    wanted = {name: text for name, text in presets.items() if name in (f"{cfg.preset}.toml", "few_views.toml")}
    return configs.digest({"settings": configs.to_dict(cfg), "presets": wanted, "lpips": str(lpips_weights)})


def run_cell(cell: Cell, folder: Path, lpips_weights: Path | None = None) -> dict[str, Any]:
    """Train in `folder`/NAME, with the output in NAME.log and the result in NAME.json beside it. A failed run leaves no
    result, and its record says ok false and why.

    A run that trained on other photos than it should have, or could not turn off what it should have, has failed, too.
    Checkpoints of finished runs are removed, as nothing resumes from them.
    """
    run = folder / cell.name
    _record_path(cell, folder).unlink(missing_ok=True)
    words = [*cell.words, "--out", str(run), "--overwrite"]
    if lpips_weights is not None:
        words += ["--lpips-weights", str(lpips_weights)]
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{cell.name}.log"
    code = _train(words, log)
    record = cell.record()
    if code != 0:
        return record | {"ok": False, "why": _reason(log, code)}
    try:
        values = _finished(run, cell)
    except (OSError, ValueError, KeyError, DataError) as error:
        return record | {"ok": False, "why": f"{error}"}
    for name in ("checkpoint.safetensors", "checkpoint.json"):
        run.joinpath(name).unlink(missing_ok=True)
    record |= {"ok": True, **values}
    with atomic_file(_record_path(cell, folder)) as file:
        file.write(json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8"))
    return record


def stored_cell(cell: Cell, folder: Path) -> dict[str, Any] | None:
    """The result of an earlier run of this cell that finished, with the same settings and photos; None without one."""
    try:
        record = json.loads(_record_path(cell, folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or not (folder / cell.name / "metrics.json").is_file():
        return None
    return record if all(record.get(key) == value for key, value in cell.record().items()) else None


def _record_path(cell: Cell, folder: Path) -> Path:
    return folder / f"{cell.name}.json"


def _train(words: Sequence[str], log: Path) -> int:
    package_root = str(Path(__file__).resolve().parents[2])
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([package_root, *filter(None, [environment.get("PYTHONPATH")])])
    with log.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "sparse3d", "train", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file, env=environment,
        )  # fmt: skip
        try:
            return child.wait()
        finally:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(_END_S)
                finally:
                    child.kill()
                    child.wait()


def _finished(run: Path, cell: Cell) -> dict[str, Any]:
    """The values of a run. Raises DataError if it did something other than what the cell asks for."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    cameras = json.loads((run / "cameras.json").read_text(encoding="utf-8"))["cameras"]
    for split, positions in (("train", cell.selection.train), ("test", cell.selection.test)):
        wanted = {cell.names[i] for i in positions}
        found = {camera["name"] for camera in cameras if camera["split"] == split}
        if wanted != found:
            other = sorted(wanted ^ found)
            raise DataError(
                f"other {split} photos were used than the selection names ({len(found)} for {len(wanted)}; {other[0]})"
            )
    if metrics["cameras"] == "sfm_all":
        raise DataError("the cameras come from structure from motion that saw the held-out photos")
    if cell.without is not None:
        value = configs.at(configs.read_layer(run / "config.toml").values, cell.without.key)
        if value != cell.without.off:
            raise DataError(f"{cell.without.title} could not be left out: {cell.without.key} is {value!r} in the run")
    return {name: metrics.get(name) for name in _VALUES}


def _reason(log: Path, code: int) -> str:
    """The sentence with which the command ended."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = [line.removeprefix("sparse3d: ") for line in lines if line.startswith("sparse3d: ")]
    last = said[-1] if said else lines[-1] if lines else "it said nothing"
    return f"{last} (exit code {code})"

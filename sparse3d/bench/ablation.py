# SPDX-License-Identifier: Apache-2.0
"""What each part of the settings is worth: what can be turned off, one part at a time, and how much that changes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparse3d.bench.statistics import mean, sd
from sparse3d.config import at, to_dict
from sparse3d.errors import UsageError
from sparse3d.runs.config import RunConfig
from sparse3d.train.splats.terms.config import WEIGHTS, active_terms


@dataclass(frozen=True)
class Switch:
    """One thing to leave out. key: dotted name in the settings; off: its value then; words: options that set it."""

    title: str
    key: str
    off: Any
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """The last part of the key: what `--ablate-only` takes."""
        return self.key.rpartition(".")[2]


# What is no training term and can be left out all the same; settings that this version lacks are passed over.
_OTHERS = (
    Switch("dense initial points", "start.dense", "off", ("--dense", "off")),
    Switch("guess around the photos", "start.surround", 0.0, ("--surround", "0")),
    Switch("mean colour behind", "train.background", "auto", ("--train-background", "auto")),
    Switch("rising degree of colour", "train.schedule.sh_degree_every", 0.0, ("--schedule.sh-degree-every", "0")),
    Switch("half size at first", "train.schedule.half_size_until", 0.0, ("--schedule.half-size-until", "0")),
)


def switches(cfg: RunConfig) -> tuple[Switch, ...]:
    """Everything that is on in the resolved settings of a run and can be turned off."""
    found = [
        Switch(WEIGHTS[name], f"train.terms.{name}", 0.0, (f"--terms.{name.replace('_', '-')}", "0"))
        for name in active_terms(cfg.train.terms)
    ]
    values = to_dict(cfg)
    found += [switch for switch in _OTHERS if at(values, switch.key) not in (None, switch.off)]
    return tuple(found)


def chosen(found: Sequence[Switch], only: str | None) -> tuple[Switch, ...]:
    """Those that `only` (names separated by commas) asks for; all if it is None. Parts that are off are ignored.

    Raises UsageError for a name that no switch could have.
    """
    if only is None:
        return tuple(found)
    wanted = [part.strip().replace("-", "_") for part in only.split(",") if part.strip()]
    known = [*WEIGHTS, *(switch.name for switch in _OTHERS)]
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"--ablate-only {name}: there is nothing of that name{hint} (known: {', '.join(known)})")
    return tuple(switch for switch in found if switch.name in wanted)


def paired(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each scene, number of views and part left out, then one for each part over all scenes and views.

    Each run without a part is compared with the whole run of the same scene, views, seed and photos. difference: PSNR
    without minus PSNR with, in dB, so that it is negative for a part that helps; its sd is of the paired differences.
    """
    whole = {_pair_key(cell): cell for cell in cells if cell["without"] is None}
    groups: dict[tuple[str, int | None, str], list[tuple[float, float]]] = {}
    for cell in cells:
        base = whole.get(_pair_key(cell))
        if cell["without"] is None or base is None or cell.get("psnr") is None or base.get("psnr") is None:
            continue
        pair = (base["psnr"], cell["psnr"])
        groups.setdefault((cell["scene"], cell["views"], cell["without"]), []).append(pair)
    over_all: dict[tuple[str, int | None, str], list[tuple[float, float]]] = {}
    for (_, _, without), pairs in groups.items():
        over_all.setdefault(("all", None, without), []).extend(pairs)
    several = len({key[:2] for key in groups}) > 1
    return [_row(*key, pairs) for key, pairs in [*groups.items(), *(over_all.items() if several else ())]]


def _pair_key(cell: dict[str, Any]) -> tuple[Any, ...]:
    return cell["scene"], cell["views"], cell["seed"], cell["draw"]


def _row(scene: str, views: int | None, without: str, pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    differences = [b - a for a, b in pairs]
    return {
        "scene": scene,
        "views": views,
        "without": without,
        "pairs": len(pairs),
        "psnr_with": mean([a for a, _ in pairs]),
        "psnr_without": mean([b for _, b in pairs]),
        "difference": mean(differences),
        "difference_sd": sd(differences),
    }

# SPDX-License-Identifier: Apache-2.0
"""What can be left out of a run's settings, and that a run without a part is compared with its own twin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sparse3d.bench import ablation
from sparse3d.bench.ablation import chosen, paired, switches
from sparse3d.bench.quality_table import markdown
from sparse3d.config import at, to_dict
from sparse3d.errors import UsageError
from sparse3d.runs.config import RunConfig
from sparse3d.start.config import StartConfig
from sparse3d.train.config import ScheduleConfig, TrainConfig
from sparse3d.train.splats.terms.config import WEIGHTS, TermsConfig
from tests.bench.helpers import resolve

PLAIN = ScheduleConfig(half_size_until=0.0, sh_degree_every=0.0)
NO_START = StartConfig(dense="off", surround=0.0)


def with_terms(**weights: Any) -> RunConfig:
    return RunConfig(start=NO_START, train=TrainConfig(terms=TermsConfig(**weights), schedule=PLAIN))


def run(scene: str, seed: int, psnr: float | None, without: str | None = None, draw: str = "") -> dict[str, Any]:
    return {"scene": scene, "views": 3, "seed": seed, "draw": draw, "without": without, "psnr": psnr}


def test_every_term_that_is_on_is_a_switch_and_its_words_turn_it_off() -> None:
    on = dict.fromkeys(WEIGHTS, 0.25)
    cfg = with_terms(**on)
    found = switches(cfg)
    assert [switch.title for switch in found] == list(WEIGHTS.values())
    for switch in found:
        values = to_dict(
            resolve(["scene", *(f"--terms.{n.replace('_', '-')}={on[n]}" for n in WEIGHTS), *switch.words])
        )
        assert at(values, switch.key) == switch.off == 0.0
        assert all(at(values, f"train.terms.{name}") == on[name] for name in WEIGHTS if name != switch.name)
    assert switches(with_terms()) == ()
    assert [switch.name for switch in switches(with_terms(dropout=0.1))] == ["dropout"]


def test_starts_that_are_no_terms_are_switches_too() -> None:
    cfg = RunConfig()
    found = switches(cfg)
    assert {"dense", "surround", "sh_degree_every", "half_size_until"} <= {switch.name for switch in found}
    assert "background" not in {switch.name for switch in found}
    mean = replace(cfg, train=TrainConfig(background="mean"))
    assert "background" in {switch.name for switch in switches(mean)}
    for switch in found:
        assert at(to_dict(resolve(["scene", *switch.words])), switch.key) == switch.off
    assert switches(replace(cfg, start=NO_START, train=TrainConfig(schedule=PLAIN))) == ()


def test_dense_points_are_a_switch_where_the_setting_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = with_terms()
    for value, expected in (
        ("auto", ["dense initial points"]),
        ("on", ["dense initial points"]),
        ("off", []),
        (None, []),
    ):
        monkeypatch.setattr(ablation, "to_dict", lambda _, value=value: {"start": {"dense": value}})
        assert [switch.title for switch in switches(cfg)] == expected


def test_only_the_named_ones() -> None:
    found = switches(with_terms(dropout=0.1, opacity_decay=3.0))
    assert [switch.name for switch in chosen(found, "opacity-decay, dense")] == ["opacity_decay"]
    assert chosen(found, None) == found
    with pytest.raises(UsageError, match="--ablate-only dropuot: there is nothing of that name; did you mean dropout"):
        chosen(found, "dropuot")


def test_pairs_are_of_the_same_seed_scene_and_photos() -> None:
    cells = [
        run("fern", 0, 20.0), run("fern", 1, 21.0), run("fox", 0, 18.0),
        run("fern", 0, 19.0, "dropout"), run("fern", 1, 20.5, "dropout"), run("fox", 0, 18.5, "dropout"),
        run("fern", 0, 20.0, "decay"),
        # Without a twin: no pair.
        run("fern", 2, 5.0, "dropout"), run("fern", 0, 5.0, "dropout", draw="draw 0"), run("fern", 1, None, "decay"),
    ]  # fmt: skip
    found = {(row["scene"], row["without"]): row for row in paired(cells)}
    fern = found["fern", "dropout"]
    assert fern["pairs"] == 2
    assert (fern["psnr_with"], fern["psnr_without"]) == (20.5, 19.75)
    assert fern["difference"] == pytest.approx(-0.75)
    # Differences -1.0 and -0.5: the spread of the pairs, not of the runs.
    assert fern["difference_sd"] == pytest.approx(0.25 * 2**0.5)
    assert (found["fern", "decay"]["pairs"], found["fern", "decay"]["difference_sd"]) == (1, None)
    assert found["all", "dropout"]["pairs"] == 3
    assert found["all", "dropout"]["difference"] == pytest.approx((-1.0 - 0.5 + 0.5) / 3)
    assert len(found) == 5


def test_the_table_shows_the_sign() -> None:
    result = {
        "protocol": "llff", "preset": "fast", "seeds": [0], "options": ["--threads", "1"], "tuning": False,
        "version": "1", "rows": [], "cells": [],
        "ablation": paired([run("fern", 0, 20.0), run("fern", 1, 21.0), run("fern", 0, 20.2, "dropout"),
                            run("fern", 1, 21.4, "dropout")]),
    }  # fmt: skip
    text = markdown(result)
    assert "| fern | 3 | dropout | 20.50 | 20.80 | +0.30 ± 0.14 | 2 |" in text
    assert "Options of every run: `--threads 1`." in text

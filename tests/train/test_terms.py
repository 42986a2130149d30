# SPDX-License-Identifier: Apache-2.0
"""What every training term promises: off it changes nothing, on it does, and a resumed run ends with the same bits."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sparse3d.errors import UsageError
from sparse3d.scene.records import Scene
from sparse3d.splats import Splats
from sparse3d.train.config import TrainConfig
from sparse3d.train.terms.config import WEIGHTS, TermsConfig, active_terms, describe_terms
from sparse3d.train.terms.table import TERMS
from sparse3d.train.trainer import train
from tests.train import kill_worker, tiny
from tests.train.test_resume import assert_same_run, go

# Strong enough to show in a run of a few steps.
STRENGTH = {"dropout": 0.4, "anchor_dropout": 0.1, "sh_dropout": 0.5, "opacity_decay": 5.0}


def config(**terms: float) -> TrainConfig:
    return replace(kill_worker.config("adaptive"), steps=24, terms=TermsConfig(**terms))


def trained(scene: Scene, cfg: TrainConfig, threads: int = 1) -> Splats:
    loop = train(scene, tiny.initial(), replace(cfg, threads=threads), None)
    while True:
        try:
            next(loop)
        except StopIteration as end:
            return end.value


def same(a: Splats, b: Splats) -> bool:
    pairs = zip(a.named(), b.named(), strict=True)
    return all(left.shape == right.shape and torch.equal(left, right) for (_, left), (_, right) in pairs)


def test_every_weight_has_its_term_and_a_strength_here():
    assert set(TERMS.names()) == set(WEIGHTS) == set(STRENGTH)
    assert {field.name for field in dataclasses.fields(TermsConfig)} >= set(WEIGHTS)
    assert active_terms(TermsConfig()) == {}
    assert describe_terms(TermsConfig(dropout=0.2, opacity_decay=5)) == "opacity dropout 0.2, opacity decay 5"


def test_terms_that_are_off_change_no_bit(tiny_scene: Scene):
    """Whatever their other settings say."""
    others = {f.name: f.default for f in dataclasses.fields(TermsConfig) if f.name not in WEIGHTS}
    changed = {name: value / 2 if isinstance(value, float) else value + 1 for name, value in others.items()}
    assert same(trained(tiny_scene, config()), trained(tiny_scene, config(**changed)))


@pytest.mark.parametrize("name", list(WEIGHTS))
def test_a_term_resumes_to_the_same_bits_on_any_number_of_threads(tiny_scene: Scene, tmp_path: Path, name: str):
    cfg = config(**{name: STRENGTH[name]})
    go(tiny_scene, tmp_path / "a", cfg)
    go(tiny_scene, tmp_path / "b", cfg, stop_at=13)
    go(tiny_scene, tmp_path / "b", replace(cfg, threads=2), resume=True)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert not same(trained(tiny_scene, cfg), trained(tiny_scene, config())), "the term did nothing"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dropout": -0.1}, r"train\.terms\.dropout is -0\.1; give 0 \(off\) or more"),
        ({"dropout": 1.0}, r"train\.terms\.dropout is 1\.0; it is a share"),
        ({"opacity_decay": float("nan")}, r"train\.terms\.opacity_decay is nan"),
        ({"opacity_decay_start": 1.5}, r"train\.terms\.opacity_decay_start is 1\.5; it is a moment of the run"),
    ],
)
def test_impossible_weights_are_refused(values: dict[str, float], message: str):
    with pytest.raises(UsageError, match=message):
        TermsConfig(**values)

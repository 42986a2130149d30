# SPDX-License-Identifier: Apache-2.0
"""What every training term promises: off it changes nothing, on it does, and a resumed run ends with the same bits."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sparse3d.errors import UsageError
from sparse3d.formats.tensor_file import read_tensors
from sparse3d.records.scene import Scene
from sparse3d.splats import PARAMETER_NAMES, Splats
from sparse3d.train import checkpoint
from sparse3d.train.config import TrainConfig
from sparse3d.train.events import Event, Stepped
from sparse3d.train.run_folder import RunFolder, open_run
from sparse3d.train.splats.terms.config import WEIGHTS, TermsConfig, active_terms, describe_terms
from sparse3d.train.splats.terms.table import TERMS
from tests.train import kill_worker, tiny
from tests.train.test_resume import assert_same_run
from tests.train.tiny import train

# Strong enough to show in a run of a few steps.
STRENGTH = {
    "dropout": 0.4,
    "opacity_decay": 5.0,
    "depth": 1.0,
    "depth_pearson": 1.0,
    "normal": 1.0,
    "outside": 1.0,
}


def config(**terms: Any) -> TrainConfig:
    return replace(kill_worker.config("adaptive"), steps=24, terms=TermsConfig(**terms))


def events(scene: Scene, cfg: TrainConfig, folder: RunFolder | None, **options) -> Generator[Event, None, Splats]:
    maps = tiny.depth_maps(scene)
    return train(scene, tiny.initial(), cfg, folder, depth_maps=maps, **options)


def trained(scene: Scene, cfg: TrainConfig) -> Splats:
    loop = events(scene, cfg, None)
    while True:
        try:
            next(loop)
        except StopIteration as end:
            return end.value


def go(scene: Scene, out: Path, cfg: TrainConfig, *, resume: bool = False, stop_at: int | None = None) -> None:
    stop = threading.Event()
    with open_run(out, resume=resume) as folder:
        for event in events(scene, cfg, folder, resume=resume, stop=stop):
            if isinstance(event, Stepped) and event.step == stop_at:
                stop.set()


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
    others: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(TermsConfig) if f.name not in WEIGHTS}
    changed: dict[str, Any] = {k: v / 2 if isinstance(v, float) else v + 1 for k, v in others.items()}
    assert len(changed) == 2
    assert same(trained(tiny_scene, config()), trained(tiny_scene, config(**changed)))


@pytest.fixture(scope="module")
def plain(tiny_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """Tensors of the checkpoint of a run without terms."""
    folder = tmp_path_factory.mktemp("plain")
    go(tiny.scene(tiny_photos, masks=True), folder / "run", config())
    return read_tensors(folder / "run" / checkpoint.FILE_NAME)[0]


@pytest.mark.parametrize("name", list(WEIGHTS))
def test_a_term_resumes_to_the_same_bits_on_any_number_of_threads(
    tiny_photos: Path, tmp_path: Path, plain: dict[str, Tensor], name: str
):
    scene = tiny.scene(tiny_photos, masks=True)
    weight: dict[str, Any] = {name: STRENGTH[name]}
    cfg = config(**weight)
    go(scene, tmp_path / "a", cfg)
    go(scene, tmp_path / "b", cfg, stop_at=13)
    go(scene, tmp_path / "b", replace(cfg, threads=2), resume=True)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    with_term = read_tensors(tmp_path / "a" / checkpoint.FILE_NAME)[0]
    assert plain.keys() <= with_term.keys()
    names = [f"params.{parameter}" for parameter in PARAMETER_NAMES]
    assert not all(torch.equal(plain[key], with_term[key]) for key in names), "the term did nothing"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dropout": -0.1}, r"train\.terms\.dropout is -0\.1; give 0 \(off\) or more"),
        ({"dropout": 1.0}, r"train\.terms\.dropout is 1\.0; it is a share"),
        ({"opacity_decay": float("nan")}, r"train\.terms\.opacity_decay is nan"),
        ({"opacity_decay_start": 1.5}, r"train\.terms\.opacity_decay_start is 1\.5; it is a moment of the run"),
    ],
)
def test_impossible_weights_are_refused(values: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        TermsConfig(**values)

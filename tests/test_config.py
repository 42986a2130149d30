# SPDX-License-Identifier: Apache-2.0
"""Layers of settings: defaults < preset < given by hand."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sparse3d import config
from sparse3d.config import Layer, resolve
from sparse3d.errors import UsageError
from sparse3d.runs.config import RunConfig
from sparse3d.train.config import TrainConfig


def test_a_value_given_by_hand_wins_even_where_it_is_the_default():
    default = RunConfig()
    fast = resolve(default, [config.preset("fast")])
    assert fast.train.steps < default.train.steps
    given = Layer("command line", {"train": {"steps": default.train.steps}})
    both = resolve(default, [config.preset("fast"), given])
    assert both.train.steps == default.train.steps
    assert both.train.density == fast.train.density


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": {"step": 1}}, "here: unknown key 'train.step'; did you mean 'train.steps'?"),
        ({"trian": {}}, "here: unknown key 'trian'; did you mean 'train'?"),
        (
            {"train": {"density": {"capp": 1}}},
            "here: unknown key 'train.density.capp'; did you mean 'train.density.cap'?",
        ),
        ({"train": {"steps": "many"}}, "here: train.steps is 'many', expected int"),
        ({"train": {"steps": True}}, "here: train.steps is True, expected int"),
        ({"train": {"steps": 1.5}}, "here: train.steps is 1.5, expected int"),
        ({"train": {"antialias": 1}}, "here: train.antialias is 1, expected bool"),
        ({"train": 3}, "here: train is 3, expected TrainConfig"),
    ],
)
def test_wrong_keys_and_values_are_named(values: dict, message: str):
    with pytest.raises(UsageError) as caught:
        resolve(RunConfig(), [Layer("here", values)])
    assert str(caught.value) == message


def test_wrong_choices_name_the_nearest():
    with pytest.raises(UsageError, match=r"train\.background is 'blak', expected one of .*; did you mean 'black'\?"):
        resolve(RunConfig(), [Layer("here", {"train": {"background": "blak"}})])
    with pytest.raises(UsageError, match=r"unknown preset 'fats'; did you mean 'fast'\?"):
        config.preset("fats")


@pytest.mark.parametrize("changes", [{"steps": 0}, {"ssim_weight": 1.5}, {"report_every": 0}, {"initial_opacity": 1.0}])
def test_impossible_values_are_refused(changes: dict):
    with pytest.raises(UsageError, match=next(iter(changes))):
        replace(TrainConfig(), **changes)


def test_the_resolved_config_reads_back_to_the_same(tmp_path: Path):
    given = {
        "scene_path": 'a "quoted" \\ Straße\n',
        "scene": {"points": "a/b.ply", "max_side": 480, "test_every": 4},
        "train": {"seed": 7, "antialias": True, "rates": {"means": 1}, "density": {"policy": "mcmc"}},
    }
    first = resolve(RunConfig(), [config.preset("quality"), Layer("x", given)])
    assert first.train.rates.means == 1.0
    assert first.scene.points == Path("a/b.ply")
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml(first, "for the test"), encoding="utf-8")
    assert path.read_text().startswith("# for the test\n")
    again = resolve(RunConfig(), [config.read_layer(path)])
    assert again == first
    assert config.digest(config.to_dict(again)) == config.digest(config.to_dict(first))
    assert config.differences(config.to_dict(first), config.to_dict(replace(first, preset="fast"))) == ["preset"]


def test_broken_toml_names_the_file(tmp_path: Path):
    path = tmp_path / "config.toml"
    path.write_text("steps = = 1")
    with pytest.raises(UsageError, match=r"config\.toml: not valid TOML"):
        config.read_layer(path)
    with pytest.raises(UsageError, match="no such configuration file"):
        config.read_layer(tmp_path / "none.toml")


@pytest.mark.parametrize("name", config.preset_names())
def test_presets_are_effort_only_and_say_what_they_are_for(name: str):
    assert config.preset_purpose(name).startswith("For ")
    values = config.preset(name).values
    assert set(values) == {"scene", "train"}
    assert set(values["scene"]) == {"max_side", "auto_side"}
    effort = {"steps", "checkpoint_every", "density", "schedule"}
    # The same in all of them.
    assert values["train"].pop("background") == "mean"
    assert values["train"].pop("terms") == {"outside": 0.2}
    assert values["train"].pop("floaters") == {"air_at": [0.33, 0.67, 1.0]}
    assert set(values["train"]) <= effort, "a preset changes effort, not what is trained"
    resolve(RunConfig(), [config.preset(name)])


def test_the_layer_for_few_photos_is_no_preset_and_changes_training_only():
    layer = config.few_views()
    assert set(layer.values) == {"train"}
    assert "few_views" not in config.preset_names()
    with pytest.raises(UsageError, match="unknown preset 'few_views'"):
        config.preset("few_views")
    assert resolve(RunConfig(), [layer]).train.terms != RunConfig().train.terms


def test_there_are_the_three_presets_from_fast_to_quality():
    steps = [resolve(RunConfig(), [config.preset(name)]).train.steps for name in ("fast", "default", "quality")]
    assert steps == sorted(set(steps))


def test_settings_are_read_without_torch():
    code = "import sys, sparse3d.train.config; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])

# SPDX-License-Identifier: Apache-2.0
"""Defaults < preset < stored run < command line; a value given by hand wins even where it equals a default."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sparse3d import config as configs
from sparse3d.cli.run_args import changed_settings, parse_run
from sparse3d.cli.train import Args, default_out
from sparse3d.errors import UsageError
from sparse3d.runs.config import RunConfig
from sparse3d.runs.layers import with_few_views, with_size
from sparse3d.train.config import TrainConfig
from sparse3d.train.splats.terms.config import TermsConfig


def settings(*words: str) -> RunConfig:
    return parse_run(Args, words, prog="train")[1]


def test_presets_are_below_values_given_by_hand() -> None:
    fast = configs.resolve(RunConfig(), [configs.preset("fast")])
    assert fast.train.steps != TrainConfig().steps
    assert settings("x", "--preset", "fast").train == fast.train
    assert settings("x", "--preset=fast").preset == "fast"
    by_hand = settings("x", "--preset", "fast", "--steps", str(TrainConfig().steps))
    assert by_hand.train.steps == TrainConfig().steps
    assert by_hand.train.density == fast.train.density


def test_both_backgrounds_and_the_one_seed() -> None:
    cfg = settings("x", "--background", "black", "--train-background", "random", "--seed", "7")
    assert (cfg.scene.background, cfg.train.background) == ("black", "random")
    assert (cfg.scene.seed, cfg.train.seed) == (7, 7)


def test_nested_flags_and_types() -> None:
    cfg = settings("x", "--density.cap", "123", "--exposure.enabled", "--rates.means", "1e-3", "--views", "22,25,28")
    assert cfg.train.density.cap == 123
    assert cfg.train.exposure.enabled
    assert cfg.train.rates.means == 1e-3
    assert cfg.scene.views == "22,25,28"
    assert type(cfg.train) is TrainConfig


def test_scene_path_is_kept_absolute() -> None:
    cfg = settings("some/scene", "--prior-depth", "depth", "--points", "a.ply")
    assert Path(cfg.scene_path).is_absolute()
    assert cfg.start.prior_depth == Path("depth").absolute()
    assert cfg.scene.points == Path("a.ply").absolute()
    assert cfg.scene.prior_matches is None


def test_changed_settings_name_what_is_not_default() -> None:
    changed = changed_settings(settings("x", "--max-side", "100", "--density.cap", "5"))
    assert "scene.max_side=100" in changed
    assert "train.density.cap=5" in changed
    assert not any(text.startswith("scene_path") for text in changed)


def test_resume_starts_from_the_stored_settings(tmp_path: Path) -> None:
    stored = settings("x", "--preset", "fast", "--steps", "77", "--max-side", "64")
    (tmp_path / "config.toml").write_text(configs.to_toml(stored))
    words = ("--out", str(tmp_path), "--resume", "--threads", "2")
    again = settings(*words)
    assert again.scene_path == stored.scene_path
    assert (again.preset, again.train.steps, again.scene.max_side) == ("fast", 77, 64)
    assert again.train.threads == 2
    with pytest.raises(UsageError, match="began with fast"):
        settings(*words, "--preset", "quality")


def test_values_for_few_photos_lie_over_the_preset_and_under_those_given_by_hand() -> None:
    layer = configs.few_views().values["train"]["terms"]
    plain = settings("x", "--preset", "fast")
    assert plain.given == ()
    assert with_few_views(plain, 13) == (plain, ())
    few, notes = with_few_views(plain, 12)
    assert few.train.terms.dropout == layer["dropout"] > 0
    assert few.train.steps == plain.train.steps
    assert notes[0].startswith("few photos (12): opacity dropout ")
    assert with_few_views(few, 3)[0] is few
    # By hand: the preset's own value, another one, and the layer's.
    for value in (0.0, 0.4, layer["dropout"]):
        cfg = settings("x", "--terms.dropout", str(value))
        assert cfg.given == ("train.terms.dropout",)
        few, _ = with_few_views(cfg, 3)
        assert few.train.terms.dropout == value
        assert few.train.terms.opacity_decay == layer["opacity_decay"]
    # A value set in Python that is not the preset's is by hand too.
    api = RunConfig(train=replace(TrainConfig(), terms=TermsConfig(dropout=0.3)))
    assert with_few_views(api, 3)[0].train.terms.dropout == 0.3


def test_few_views_on_and_off() -> None:
    assert with_few_views(settings("x", "--few-views", "on"), 100)[0].few_views_applied
    off = settings("x", "--few-views", "off")
    assert with_few_views(off, 3) == (off, ())
    assert "few_views=off" in changed_settings(off)


def test_resume_keeps_what_was_given_by_hand(tmp_path: Path) -> None:
    """Also where the first part ended before it had counted the photos."""
    first = settings("x", "--terms.dropout", "0")
    (tmp_path / "config.toml").write_text(configs.to_toml(first))
    again = settings("--out", str(tmp_path), "--resume")
    assert again.given == ("train.terms.dropout",)
    few, _ = with_few_views(again, 3)
    (tmp_path / "config.toml").write_text(configs.to_toml(few))
    resumed = settings("--out", str(tmp_path), "--resume")
    assert resumed == few
    assert with_few_views(resumed, 3)[0] == few


def test_default_run_folders_have_plain_names(tmp_path: Path) -> None:
    for scene, start in [("My Phötos (1)", "My_Phötos_1"), ("fox", "fox"), ("...", "scene")]:
        path = tmp_path / scene
        path.mkdir()
        out = default_out(path)
        assert out.parent == Path("runs")
        assert out.name.startswith(f"{start}-2"), out
    assert default_out(tmp_path / "fox" / "transforms.json").name.startswith("fox-")
    assert default_out(tmp_path / "clip.mp4").name.startswith("clip-")


def test_few_large_photos_take_fewer_steps_unless_something_else_was_chosen() -> None:
    def steps(*words: str, photos: int = 4, side: int = 960) -> int:
        cfg = with_size(settings("x", *words), side, side, photos)
        return with_few_views(cfg, photos)[0].train.steps

    assert steps() == 2200
    assert steps("--preset", "fast") == settings("x", "--preset", "fast").train.steps
    assert steps("--preset", "quality") == steps(side=480) == 3000
    assert steps("--steps", "2500") == 2500
    assert steps(photos=13) == steps("--few-views", "off") == settings("x").train.steps

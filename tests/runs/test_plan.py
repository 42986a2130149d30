# SPDX-License-Identifier: Apache-2.0
"""How long a run will take, and the effort that fits into given minutes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from sparse3d import config as configs
from sparse3d.render import render
from sparse3d.runs.config import RunConfig
from sparse3d.runs.plan import Work, fit_minutes, measure_speed, plan

PHONE = Work(sizes=[(3000, 4000)] * 8, held_out=2, has_cameras=False)


@pytest.fixture
def default() -> RunConfig:
    return configs.resolve(RunConfig(), [configs.preset("default")])


def seconds(cfg: RunConfig, work: Work = PHONE, speed: float = 1.0) -> float:
    return sum(plan(cfg, work, speed).values())


def with_side(cfg: RunConfig, side: int) -> RunConfig:
    return replace(cfg, scene=replace(cfg.scene, max_side=side))


def test_a_stage_that_is_not_there_takes_no_time(default: RunConfig) -> None:
    cfg = with_side(default, 640)
    assert list(plan(cfg, PHONE, 1.0)) == ["cameras", "start", "training", "evaluation"]
    assert "cameras" not in plan(cfg, replace(PHONE, has_cameras=True), 1.0)


def test_seconds_grow_with_the_work_and_fall_with_the_speed(default: RunConfig) -> None:
    small, large = with_side(default, 480), with_side(default, 960)
    assert plan(small, PHONE, 1.0)["training"] < plan(large, PHONE, 1.0)["training"]
    assert plan(small, PHONE, 1.0)["cameras"] == plan(large, PHONE, 1.0)["cameras"]
    fewer = replace(PHONE, sizes=PHONE.sizes[:4])
    assert plan(small, fewer, 1.0)["start"] < plan(small, PHONE, 1.0)["start"]
    assert seconds(small, speed=2.0) == pytest.approx(seconds(small) / 2.0)


def test_more_minutes_buy_more_steps_and_pixels(default: RunConfig) -> None:
    found = [fit_minutes(default, PHONE, 1.0, minutes) for minutes in (6.0, 10.0, 30.0)]
    steps = [cfg.train.steps for cfg, _ in found]
    sides = [cfg.scene.auto_side for cfg, _ in found]
    assert steps == sorted(set(steps))
    assert sides == sorted(set(sides))
    assert all(cfg.scene.max_side == "auto" for cfg, _ in found)
    assert f"{steps[1]:,} steps" in found[1][1]


def test_a_faster_machine_does_more_in_the_same_minutes(default: RunConfig) -> None:
    slow, fast = (fit_minutes(default, PHONE, speed, 6.0)[0] for speed in (1.0, 3.0))
    assert slow.train.steps < fast.train.steps


def test_what_was_given_by_hand_stays(default: RunConfig) -> None:
    cfg = replace(with_side(default, 800), given=("train.steps", "scene.max_side"))
    chosen, _ = fit_minutes(cfg, PHONE, 1.0, 6.0)
    assert chosen == cfg


def test_too_few_minutes_are_said_to_be_too_few(default: RunConfig) -> None:
    chosen, note = fit_minutes(default, PHONE, 1.0, 0.1)
    assert chosen.train.steps < default.train.steps
    assert "the least there is, and still it will take about" in note


def test_a_machine_is_as_fast_as_its_fastest_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each picture takes 44 ms by this clock, one of them 22: twice the reference machine's time.
    ticks = itertools.accumulate(itertools.chain([0.0, 0.044, 0.0, 0.022], itertools.cycle([0.0, 0.044])))
    monkeypatch.setattr("sparse3d.runs.plan.time.perf_counter", lambda: next(ticks))
    pictures = []
    monkeypatch.setattr("sparse3d.runs.plan.render", lambda splats, camera: pictures.append(render(splats, camera)))
    assert measure_speed() == pytest.approx(0.5)
    # What is timed is a picture of something.
    assert all(float((picture.alpha > 0.5).float().mean()) > 0.3 for picture in pictures)

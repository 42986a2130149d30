# SPDX-License-Identifier: Apache-2.0
"""Floaters removed during training: the planted ones go, the rest of the run's state follows, and bits are kept."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparse3d.errors import UsageError
from sparse3d.judge.air import Air
from sparse3d.judge.floaters import Floaters, find_floaters
from sparse3d.judge.photos import JudgingPhotos
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats
from sparse3d.train.config import DensityConfig, ExposureConfig, TrainConfig
from sparse3d.train.events import Cleaned, Event, Stepped
from sparse3d.train.run_folder import RunFolder, open_run
from sparse3d.train.splats.removal import FloaterRemoval, without
from sparse3d.train.splats.removal_config import RemovalConfig
from tests.judge.test_floaters import TRUE, before_cameras, with_more
from tests.train import kill_worker, tiny
from tests.train.test_resume import assert_same_run
from tests.train.tiny import loop, train

SOME = RemovalConfig(
    at=(0.5,), levels=8, dense_votes=0, stray=0.0, isolated=0.0, min_opacity=0.0, harmful=False, outside_at=()
)


def config(**floaters: Any) -> TrainConfig:
    cfg = replace(kill_worker.CONFIG, steps=12, density=DensityConfig(policy="fixed"), background="black")
    return replace(cfg, floaters=replace(SOME, **floaters), exposure=ExposureConfig(), checkpoint_every=0)


def planted(scene: Scene) -> Splats:
    """The true splats, and 16 bright ones before the cameras behind them in the tables."""
    places = before_cameras(scene, (0.7, 1.0))
    return with_more(tiny.true_splats(), places, 0.08, torch.full((len(places), 3), 0.95))


class Ball:
    """Holds what is nearer to the origin than `radius`."""

    def __init__(self, radius: float) -> None:
        self._radius = radius

    def contains(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        return np.linalg.norm(points, axis=1) < self._radius


def go(
    scene: Scene, cfg: TrainConfig, folder: RunFolder | None = None, stop_at: int = 0, **options: Any
) -> tuple[Splats, list[Event]]:
    stop, events = threading.Event(), []
    running = train(scene, planted(scene), cfg, folder, stop=stop, **options)
    while True:
        try:
            events.append(next(running))
        except StopIteration as end:
            return end.value, events
        if isinstance(events[-1], Stepped) and events[-1].step == stop_at:
            stop.set()


def same(a: Splats, b: Splats) -> bool:
    return all(torch.equal(left, right) for (_, left), (_, right) in zip(a.named(), b.named(), strict=True))


def test_planted_floaters_go_in_the_middle_of_a_run(tiny_scene: Scene):
    splats, events = go(tiny_scene, config())
    (cleaned,) = (event for event in events if isinstance(event, Cleaned))
    assert (cleaned.step, cleaned.kept, list(cleaned.removed)) == (6, False, ["front"])
    assert 16 <= cleaned.removed["front"] <= 20
    assert cleaned.count == splats.num_splats == TRUE + 16 - cleaned.removed["front"]
    assert float(splats.means.norm(dim=1).max()) < 1.5, "something is left before the cameras"
    left, events = go(tiny_scene, config(at=()))
    assert left.num_splats == TRUE + 16
    assert not any(isinstance(event, Cleaned) for event in events)


def test_the_change_for_a_training_run():
    splats = tiny.true_splats()
    found = Floaters(torch.arange(TRUE) % 3 == 0, {"front": 50})
    update = without(splats, found.remove)
    assert update is not None
    assert (update.removed, len(update.source_row), bool(update.is_new.any())) == (50, 100, False)
    assert torch.equal(update.params["means"], splats.means[update.source_row])
    assert not found.remove[update.source_row].any()
    assert without(splats, torch.zeros(TRUE, dtype=torch.bool)) is None


def test_moments_and_statistics_follow_their_splats(tiny_scene: Scene):
    # After step 9 of 12 floaters are looked for, and splats are not added any more.
    cfg = config(at=(0.75,))
    run = loop(tiny_scene, planted(tiny_scene), cfg)
    while run.step < 5:
        list(run.advance())
    trainee = tiny.trainee(run)
    trainee.stats.weight_max[:] = torch.arange(trainee.count)
    params, adam = trainee.params, trainee.adam
    before = {name: tensor.clone() for name, tensor in params.items()}
    found = FloaterRemoval(run.photos, cfg, {}).find(trainee.snapshot())
    assert found.update is not None
    assert found.counts["front"] == found.update.removed == TRUE + 16 - len(found.update.source_row)
    assert trainee.params is params
    assert all(torch.equal(tensor, before[name]) for name, tensor in params.items()), "looking changed the splats"

    (cleaned,) = trainee.refine(replace(tiny.shot(run.photos.view(0, 1)), number=9))
    assert isinstance(cleaned, Cleaned)
    rows = trainee.stats.weight_max.long()
    assert (cleaned.step, cleaned.count) == (9, len(rows))
    assert torch.equal(rows, found.update.source_row)
    assert len(rows) < TRUE + 16
    assert torch.equal(rows, rows.sort().values)
    assert float(adam.m["means"].abs().max()) > 0
    assert trainee.adam.step == 5
    for name, tensor in before.items():
        assert torch.equal(trainee.params[name], tensor[rows])
        assert torch.equal(trainee.adam.m[name], adam.m[name][rows])
        assert torch.equal(trainee.adam.v[name], adam.v[name][rows])


def test_the_same_bits_on_any_number_of_threads_and_after_a_stop(tiny_scene: Scene, tmp_path: Path):
    cfg = replace(
        kill_worker.config("adaptive"), steps=12,
        floaters=RemovalConfig(at=(0.4, 0.7, 1.0), levels=4, rounds=1, photos=3, max_share=0.6),
    )  # fmt: skip
    one, two, three = (go(tiny_scene, replace(cfg, threads=threads))[0] for threads in (1, 2, 3))
    assert one.num_splats < TRUE + 16
    assert same(one, two)
    assert same(one, three)
    for name, stop_at in (("a", 0), ("b", 6)):
        with open_run(tmp_path / name) as folder:
            go(tiny_scene, cfg, folder, stop_at=stop_at)
    with open_run(tmp_path / "b", resume=True) as folder:
        assert same(go(tiny_scene, cfg, folder, resume=True)[0], one)
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_more_than_the_share_stays(tiny_scene: Scene):
    splats, events = go(tiny_scene, config(max_share=0.01))
    (cleaned,) = (event for event in events if isinstance(event, Cleaned))
    assert cleaned.kept
    assert splats.num_splats == cleaned.count == TRUE + 16


def test_what_is_outside_of_the_hull_goes(tiny_scene: Scene):
    nothing = config(at=(0.25, 1.0), votes=0)
    splats, events = go(tiny_scene, nothing, hull=Ball(1.5))
    assert [event.removed for event in events if isinstance(event, Cleaned)] == [{"outside": 16}, {}]
    assert splats.num_splats == TRUE
    assert find_floaters(planted(tiny_scene), (), nothing.floaters, hull=Ball(1.5)).counts == {"outside": 16}


def test_photos_judge_as_the_run_sees_them(tiny_scene: Scene):
    """Through the exposure and the pose learned so far."""
    run = loop(tiny_scene, tiny.initial(), kill_worker.config("adaptive"))
    exposure, poses = run.photos.exposure, run.photos.poses
    assert exposure is not None
    assert poses is not None
    while run.step < 30:
        list(run.advance())
    plain = JudgingPhotos(run.photos.pictures, torch.zeros(3))[1]
    judges = run.photos.judges(scale=1, most=len(tiny_scene.train), depths={})
    assert judges.positions == tuple(range(len(tiny_scene.train)))
    judge = judges[1]
    assert np.array_equal(judge.camera.cam_from_world, poses.poses[1])
    assert not np.array_equal(judge.camera.cam_from_world, plain.camera.cam_from_world)
    assert torch.allclose(exposure.apply(1, judge.image), plain.image, atol=1e-6)
    assert not torch.allclose(judge.image, plain.image, atol=1e-6)


def test_settings_that_cannot_be_meant():
    with pytest.raises(UsageError, match=r"floaters\.at has 1\.5; it is a moment of the run"):
        RemovalConfig(at=(0.5, 1.5))
    with pytest.raises(UsageError, match=r"floaters\.at has 0;"):
        RemovalConfig(at=(0.0,))
    with pytest.raises(UsageError, match=r"floaters\.photos is 0"):
        RemovalConfig(photos=0)
    with pytest.raises(UsageError, match=r"floaters\.levels is 0"):
        RemovalConfig(levels=0)


def test_outside_a_hull_nothing_is_left_whatever_the_share(tiny_scene: Scene):
    cfg = config(at=(), outside_at=(0.5, 1.0), max_share=0.0)
    splats, events = go(tiny_scene, cfg, hull=Ball(1.5))
    cleaned = [event for event in events if isinstance(event, Cleaned)]
    assert [event.step for event in cleaned] == [6, 12]
    assert (cleaned[0].removed, cleaned[0].kept) == ({"outside": 16}, False)
    assert splats.num_splats == TRUE + 16 - sum(event.removed.get("outside", 0) for event in cleaned)
    assert Ball(1.5).contains(splats.means.numpy()).all()


def test_a_hull_that_holds_nothing_removes_nothing(tiny_scene: Scene):
    splats, events = go(tiny_scene, config(at=(), outside_at=(0.5,)), hull=Ball(0.0))
    (cleaned,) = (event for event in events if isinstance(event, Cleaned))
    assert (cleaned.kept, cleaned.removed) == (True, {"outside": TRUE + 16})
    assert splats.num_splats == TRUE + 16


def test_without_a_hull_no_step_is_a_moment_for_it(tiny_scene: Scene):
    _, events = go(tiny_scene, config(at=(), outside_at=(0.5, 1.0)))
    assert not any(isinstance(event, Cleaned) for event in events)


def test_beside_the_cameras_nothing_is_left(tiny_scene: Scene):
    surfaces = tiny.true_splats().means.numpy()
    air = Air.around([tiny_scene.cameras[i] for i in tiny_scene.train], surfaces)
    hanging = tiny_scene.cameras[tiny_scene.train[0]].position.astype(np.float32)
    begin = with_more(tiny.true_splats(), hanging[None] + np.float32(0.01), 0.3, torch.full((1, 3), 0.95))
    cfg = config(at=(), air_at=(0.5, 1.0))
    left, events = ended(train(tiny_scene, begin, cfg, surfaces=surfaces))
    cleaned = [event for event in events if isinstance(event, Cleaned)]
    assert [event.step for event in cleaned] == [6, 12]
    assert (cleaned[0].removed, cleaned[0].kept) == ({"close to the cameras": 1}, False)
    assert left.num_splats == TRUE
    assert not air.contains(left.means.numpy()).any()
    # Splats whose surfaces nobody knows, as of a file, have no air.
    left, events = ended(train(tiny_scene, begin, cfg))
    assert left.num_splats == TRUE + 1
    assert not any(isinstance(event, Cleaned) for event in events)


def ended(running) -> tuple[Splats, list[Event]]:
    events = []
    while True:
        try:
            events.append(next(running))
        except StopIteration as end:
            return end.value, events

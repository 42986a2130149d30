# SPDX-License-Identifier: Apache-2.0
"""What the loop asks of a trainee is enough for a representation that is none of splats."""

from __future__ import annotations

import math
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sparse3d.errors import DivergedError
from sparse3d.formats.tensor_file import read_tensors
from sparse3d.live import Slot, Snapshot
from sparse3d.records.scene import Scene
from sparse3d.train import checkpoint
from sparse3d.train.config import ScheduleConfig, TrainConfig
from sparse3d.train.events import Counted, Densified, Evaluated, Event, Finished, Started, Stepped
from sparse3d.train.loop import Around, Loop, train
from sparse3d.train.run_folder import RunFolder, open_run
from tests.train import kill_worker
from tests.train.point_grid import SIDE, PointGrid
from tests.train.test_resume import assert_same_run, work

CONFIG = TrainConfig(
    steps=60, report_every=5, eval_every=30, schedule=ScheduleConfig(half_size_until=0.3, min_side_px=16)
)
FEW, MANY = SIDE**3, (2 * SIDE) ** 3


def go(
    scene: Scene,
    cfg: TrainConfig,
    folder: RunFolder | None = None,
    *,
    resume: bool = False,
    stop_at: int | None = None,
    slot: Slot[Snapshot[Tensor]] | None = None,
) -> tuple[list[Event], Tensor]:
    events, stop = [], threading.Event()
    running = train(scene, PointGrid, cfg, folder, resume=resume, around=Around(slot=slot, stop=stop))
    while True:
        try:
            events.append(next(running))
        except StopIteration as end:
            return events, end.value
        if isinstance(events[-1], Stepped) and events[-1].step == stop_at:
            stop.set()


def test_points_train_through_the_same_loop(tiny_scene: Scene):
    slot: Slot[Snapshot[Tensor]] = Slot()
    events, colours = go(tiny_scene, CONFIG, slot=slot)
    reports = [event for event in events if isinstance(event, Stepped)]
    assert [event.step for event in reports] == list(range(5, 61, 5))
    # At the same size of the pictures, so that the losses can be compared.
    large = [event.loss for event in reports if event.image_scale == 1]
    small = [event.loss for event in reports if event.image_scale == 2]
    assert small[-1] < 0.8 * small[0]
    assert large[-1] < 0.9 * large[0]
    assert colours.shape == (MANY, 3)
    newest, _ = slot.get()
    assert newest is not None
    assert torch.equal(newest.value, colours)


def test_its_events_count_points(tiny_scene: Scene):
    events, _ = go(tiny_scene, CONFIG)
    counted = [event for event in events if isinstance(event, Counted)]
    assert {type(event) for event in counted} == {Started, Stepped, Densified, Evaluated, Finished}
    # After step 31 each point becomes eight.
    assert {(event.counted, event.step > 30, event.count) for event in counted} == {
        ("points", False, FEW), ("points", True, MANY),
    }  # fmt: skip
    assert [event.added for event in events if isinstance(event, Densified)] == [MANY - FEW]
    assert isinstance(events[0], Started)
    assert events[0].backend == "numpy"
    assert {event.details["side"] for event in events if isinstance(event, Stepped)} == {SIDE, 2 * SIDE}


def test_it_is_evaluated_through_the_same_loop(tiny_scene: Scene):
    before = Loop(tiny_scene, PointGrid, CONFIG).evaluate(None, final=False).psnr
    events, _ = go(tiny_scene, CONFIG)
    middle, final = (event for event in events if isinstance(event, Evaluated))
    assert (middle.step, middle.final, final.step, final.final) == (30, False, 60, True)
    assert before is not None
    assert final.psnr is not None
    assert math.isfinite(final.psnr)
    # All points of a ray are mixed, none hides another: such a picture gets no better than this.
    assert final.psnr > before + 1.5, (before, final.psnr)
    assert [row["name"] for row in final.per_view] == ["03.png", "07.png"]
    unlooked, _ = go(tiny_scene, replace(CONFIG, eval_every=0))
    assert next(event for event in unlooked if isinstance(event, Evaluated)).psnr == final.psnr


@pytest.mark.parametrize("stop_at", [5, 30, 45])
def test_a_stopped_run_resumes_to_the_same_bits(tiny_scene: Scene, tmp_path: Path, stop_at: int):
    cfg = replace(CONFIG, background="random")
    with open_run(tmp_path / "whole") as folder:
        go(tiny_scene, cfg, folder)
    with open_run(tmp_path / "parts") as folder:
        events, _ = go(tiny_scene, cfg, folder, stop_at=stop_at)
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].step) == ("stopped", stop_at)
    with open_run(tmp_path / "parts", resume=True) as folder:
        events, _ = go(tiny_scene, cfg, folder, resume=True)
    assert events[0].step == stop_at
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_resumes_to_the_same_bits(tiny_photos: Path, tmp_path: Path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert work(tiny_photos, whole, "points", "never") == 0
    for moment in ("step:13", "after-rename:1", "step:37"):
        assert work(tiny_photos, parts, "points", moment) == -signal.SIGKILL, moment
        assert 0 < checkpoint.load(parts).step < kill_worker.CONFIG.steps
    assert work(tiny_photos, parts, "points", "never") == 0
    assert_same_run(whole, parts)
    assert read_tensors(whole / checkpoint.FILE_NAME)[0]["colours"].shape == (MANY, 3)


def test_a_bad_point_stops_the_run_with_its_own_dump(tiny_scene: Scene, tmp_path: Path):
    with open_run(tmp_path / "run") as folder:
        loop = Loop(tiny_scene, PointGrid, CONFIG, folder)
        list(loop.advance())
        assert isinstance(loop.trainee, PointGrid)
        loop.trainee.colours[FEW // 2] = math.nan
        with pytest.raises(DivergedError, match=rf"step 2 of 60 .*the colour of point {FEW // 2} is not finite"):
            list(loop.advance())
    _, record = read_tensors(tmp_path / "run" / "dump-000002.safetensors")
    assert (record["kind"], record["step"]) == ("points", 2)

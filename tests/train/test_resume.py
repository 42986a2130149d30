# SPDX-License-Identifier: Apache-2.0
"""A run killed at any moment goes on and ends with the bits of an unbroken one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sparse3d.errors import DataError, UsageError
from sparse3d.formats.tensor_file import read_tensors
from sparse3d.records.scene import Scene
from sparse3d.train import checkpoint
from sparse3d.train.events import Event, Finished, Saved, Started, Stepped
from sparse3d.train.run_folder import open_run
from sparse3d.train.shots import Shot
from sparse3d.train.splats.trainee import SplatTrainee
from tests.train import kill_worker, tiny
from tests.train.tiny import train


def work(photos: Path, out: Path, policy: str, moment: str) -> int:
    command = [sys.executable, "-m", "tests.train.kill_worker", str(photos), str(out), policy, moment]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def assert_same_run(a: Path, b: Path) -> None:
    left, left_record = read_tensors(a / checkpoint.FILE_NAME)
    right, right_record = read_tensors(b / checkpoint.FILE_NAME)
    for record in (left_record, right_record):
        del record["seconds"], record["seconds_eval"]
    assert left_record == right_record
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), f"{name} differs"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("policy", ["adaptive", "mcmc"])
def test_killed_and_resumed_ends_with_the_same_bits(tiny_photos: Path, tmp_path: Path, policy: str):
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    assert work(tiny_photos, unbroken, policy, "never") == 0
    # Before any checkpoint, while one is written (safetensors, then json), just after, and between two.
    moments = ["step:5", "before-rename:1", "after-rename:1", "before-rename:2", "step:37", "before-rename:3"]
    for moment in moments if policy == "adaptive" else ["step:29"]:
        assert work(tiny_photos, broken, policy, moment) == -signal.SIGKILL, moment
    assert work(tiny_photos, broken, policy, "never") == 0
    assert_same_run(unbroken, broken)
    step = json.loads((broken / "checkpoint.json").read_text())["step"]
    assert step == kill_worker.CONFIG.steps


def go(scene: Scene, out: Path, cfg, *, resume: bool = False, stop_at: int | None = None) -> list[Event]:
    stop, events = threading.Event(), []
    with open_run(out, resume=resume) as folder:
        for event in train(scene, tiny.initial(), cfg, folder, resume=resume, stop=stop):
            events.append(event)
            if isinstance(event, Stepped) and event.step == stop_at:
                stop.set()
    return events


def test_stopped_and_resumed_ends_with_the_same_bits(tiny_scene: Scene, tmp_path: Path):
    cfg = kill_worker.config("adaptive")
    go(tiny_scene, tmp_path / "a", cfg)
    go(tiny_scene, tmp_path / "b", cfg, stop_at=13)
    # Settings that change no bit may be others in the second part.
    events = go(tiny_scene, tmp_path / "b", replace(cfg, threads=2, report_every=7, checkpoint_every=0), resume=True)
    assert isinstance(events[0], Started)
    assert events[0].step == 13
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "completed"
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_a_finished_run_resumes_to_its_end_at_once(tiny_scene: Scene, tmp_path: Path):
    cfg = replace(kill_worker.CONFIG, steps=6)
    go(tiny_scene, tmp_path / "a", cfg)
    before = read_tensors(tmp_path / "a" / checkpoint.FILE_NAME)[0]
    events = go(tiny_scene, tmp_path / "a", cfg, resume=True)
    assert not any(isinstance(event, Stepped) for event in events)
    after = read_tensors(tmp_path / "a" / checkpoint.FILE_NAME)[0]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_other_settings_are_refused_by_name(tiny_scene: Scene, tmp_path: Path):
    cfg = replace(kill_worker.CONFIG, steps=6)
    go(tiny_scene, tmp_path / "a", cfg)
    other = replace(cfg, seed=4, density=replace(cfg.density, cap=7))
    with pytest.raises(UsageError, match=r"cannot resume with other settings .*\(seed, density\.cap\)"):
        go(tiny_scene, tmp_path / "a", other, resume=True)


def test_other_photos_are_refused(tiny_scene: Scene, tmp_path: Path):
    cfg = replace(kill_worker.CONFIG, steps=6)
    go(tiny_scene, tmp_path / "a", cfg)
    with pytest.raises(DataError, match="begun on 8 training photos, the scene now has 7"):
        go(replace(tiny_scene, train=tiny_scene.train[:-1]), tmp_path / "a", cfg, resume=True)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_damaged_checkpoint_is_a_sentence(tiny_scene: Scene, tmp_path: Path, keep: int):
    cfg = replace(kill_worker.CONFIG, steps=3)
    go(tiny_scene, tmp_path / "a", cfg)
    path = tmp_path / "a" / checkpoint.FILE_NAME
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="not a file of tensors of this program, or damaged"):
        go(tiny_scene, tmp_path / "a", cfg, resume=True)


def test_checkpoints_come_at_their_interval(tiny_scene: Scene, tmp_path: Path):
    events = go(tiny_scene, tmp_path / "a", replace(kill_worker.CONFIG, steps=20))
    assert [event.step for event in events if isinstance(event, Saved)] == [8, 16, 20]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["checkpoint.json", "checkpoint.safetensors"]


def test_an_interrupt_between_steps_saves_and_one_inside_a_step_does_not(
    tiny_scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cfg = replace(kill_worker.CONFIG, checkpoint_every=0)
    with open_run(tmp_path / "between") as folder:
        running = train(tiny_scene, tiny.initial(), cfg, folder)
        while not (isinstance(event := next(running), Stepped) and event.step == 5):
            pass
        with pytest.raises(KeyboardInterrupt):
            running.throw(KeyboardInterrupt())
    assert checkpoint.load(tmp_path / "between").step == 5

    refine = SplatTrainee.refine

    def interrupted(trainee: SplatTrainee, shot: Shot):
        refine(trainee, shot)
        raise KeyboardInterrupt

    monkeypatch.setattr(SplatTrainee, "refine", interrupted)
    with open_run(tmp_path / "inside") as folder, pytest.raises(KeyboardInterrupt):
        for _ in train(tiny_scene, tiny.initial(), cfg, folder):
            pass
    assert not checkpoint.exists(tmp_path / "inside")

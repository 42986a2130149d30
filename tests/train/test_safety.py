# SPDX-License-Identifier: Apache-2.0
"""Runs that go wrong: diverged values, a full disk, a folder in use."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sparse3d.errors import DataError, DiskFullError, DivergedError, UsageError
from sparse3d.records.scene import Scene
from sparse3d.train import checkpoint
from sparse3d.train.config import DensityConfig, RatesConfig, ScheduleConfig, TrainConfig
from sparse3d.train.events import Saved
from sparse3d.train.run_folder import open_run
from sparse3d.train.splats.dump import read_dump, replay
from sparse3d.train.splats.safety import find_bad
from tests.train import tiny
from tests.train.tiny import loop, train

CONFIG = TrainConfig(
    steps=40,
    sh_degree=1,
    check_every=5,
    schedule=ScheduleConfig(half_size_until=0, min_side_px=16),
    density=DensityConfig(policy="fixed"),
)


def run_all(scene: Scene, cfg: TrainConfig, folder) -> None:
    for _ in train(scene, tiny.initial(), cfg, folder):
        pass


def test_exploding_values_stop_the_run_and_leave_a_dump(tiny_scene: Scene, tmp_path: Path):
    cfg = replace(CONFIG, rates=RatesConfig(scales=20.0))
    with open_run(tmp_path / "run") as folder, pytest.raises(DivergedError) as caught:
        run_all(tiny_scene, cfg, folder)
    text = str(caught.value)
    expected = r"diverged at step 5 of 40 on photo '\d\d.png': after step 5, log_scales of splat \d+ is"
    assert re.search(expected, text), text
    assert "all was sound after step 0" in text
    path = tmp_path / "run" / "dump-000005.safetensors"
    assert str(path) in text
    for backend in ("auto", "reference"):
        report = replay(path, backend)
        assert report.step == 5
        assert report.bad_before is not None
        assert report.bad_before.startswith("log_scales of splat")
        assert any("log_scales" in line for line in report.lines())


def test_a_loss_out_of_range_stops_before_anything_is_changed(tiny_scene: Scene, tmp_path: Path):
    with open_run(tmp_path / "run") as folder:
        run = loop(tiny_scene, tiny.initial(), CONFIG, folder)
        for _ in range(3):
            list(run.advance())
        params = tiny.trainee(run).params
        params["sh0"][:] = 3e30
        before = {name: tensor.clone() for name, tensor in params.items()}
        expected = r"step 4 of 40 .*: the loss is (nan|inf|.*e\+29).*sh0 of splat 0 is 3e\+30"
        with pytest.raises(DivergedError, match=expected):
            list(run.advance())
    inputs = read_dump(tmp_path / "run" / "dump-000004.safetensors")
    assert inputs.step == 4
    for name, tensor in inputs.params.items():
        assert torch.equal(tensor, before[name]), name
    report = replay(tmp_path / "run" / "dump-000004.safetensors")
    assert not report.loss_sound
    assert report.image_finite == 1.0


def test_a_replay_of_a_sound_step_is_sound(tiny_scene: Scene, tmp_path: Path):
    with open_run(tmp_path / "run") as folder:
        run = loop(tiny_scene, tiny.initial(), CONFIG, folder)
        shot = run.photos.next(1)
        run._train_step(shot)
        with pytest.raises(DivergedError, match="All parameters are finite"):
            run._diverged("a test", shot)
    report = replay(tmp_path / "run" / "dump-000001.safetensors")
    assert report.loss_sound
    assert report.bad_before is None
    assert report.bad_after is None
    assert 0 < report.largest_update["means"] < 0.1


def test_a_file_that_is_no_dump_is_said_so(tiny_scene: Scene, tmp_path: Path):
    with open_run(tmp_path / "run") as folder:
        run_all(tiny_scene, replace(CONFIG, steps=1), folder)
    with pytest.raises(DataError, match="holds a 'checkpoint', not the dump of a step"):
        replay(tmp_path / "run" / "checkpoint.safetensors")
    with pytest.raises(DataError, match="no such file"):
        replay(tmp_path / "none.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e5])
def test_find_bad_names_parameter_row_and_value(value: float):
    params = dict(tiny.initial().named())
    assert find_bad(params, 1.0) is None
    params["shN"] = params["shN"].clone()
    params["shN"][17, 1, 2] = value
    params["shN"][20, 0, 0] = value
    assert find_bad(params, 1.0) == f"shN of splat 17 is {value:g} (and 1 more splats)"


def full_disk(monkeypatch: pytest.MonkeyPatch, when: set[int]) -> None:
    """The system refuses to bring data to the disk at the stated calls of fsync (1 for the first)."""
    count = 0
    real = os.fsync

    def fsync(file: int) -> None:
        nonlocal count
        count += 1
        if count in when:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_full_disk_leaves_the_checkpoint_before(tiny_scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cfg = replace(CONFIG, checkpoint_every=10)
    # A checkpoint is two files; the second checkpoint's first one fails.
    full_disk(monkeypatch, {3})
    with open_run(tmp_path / "run") as folder, pytest.raises(DiskFullError, match=r"checkpoint\.safetensors could not"):
        run_all(tiny_scene, cfg, folder)
    monkeypatch.undo()
    assert checkpoint.load(tmp_path / "run").step == 10
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["checkpoint.json", "checkpoint.safetensors"]
    with open_run(tmp_path / "run", resume=True) as folder:
        saved = [e.step for e in train(tiny_scene, tiny.initial(), cfg, folder, resume=True) if isinstance(e, Saved)]
    assert saved == [20, 30, 40]


def test_a_run_folder_with_files_is_refused_without_a_flag(tmp_path: Path):
    out = tmp_path / "räume und läufe" / "run 1"
    with open_run(out) as folder:
        folder.write_json("metrics.json", {"psnr": 1.0})
        (out / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"is not empty \(metrics\.json, mine\.txt\); give --resume"), open_run(out):
        pass
    with pytest.raises(UsageError, match="contradict"), open_run(out, resume=True, overwrite=True):
        pass
    with open_run(out, resume=True):
        assert (out / "metrics.json").is_file()
    with open_run(out, overwrite=True):
        # Only what a run wrote goes.
        assert sorted(p.name for p in out.iterdir()) == ["lock", "mine.txt"]


def test_resuming_nothing_is_a_sentence(tmp_path: Path):
    with pytest.raises(UsageError, match="there is no run to resume"), open_run(tmp_path / "none", resume=True):
        pass
    assert not (tmp_path / "none").exists()


def test_a_file_or_a_place_without_rights_as_folder(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; --out wants a folder"), open_run(tmp_path / "file"):
        pass
    with pytest.raises(DataError, match="cannot be made"), open_run(tmp_path / "file" / "run"):
        pass


def test_a_folder_in_use_is_refused_until_its_process_dies(tmp_path: Path):
    out = tmp_path / "run"
    code = (
        "import sys; from pathlib import Path; from sparse3d.train.run_folder import open_run\n"
        "with open_run(Path(sys.argv[1])) as f:\n"
        "    f.write_text('config.toml', ''); print('ready', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(UsageError, match=rf"in use by another process \(pid {holder.pid}\)"):
            with open_run(out, resume=True):
                pass
    finally:
        holder.kill()
        holder.communicate()
    # Killed: the lock's file is still there, the lock is not.
    with open_run(out, resume=True) as folder:
        assert folder.path == out


def test_the_event_log_survives_a_line_cut_short(tmp_path: Path):
    out = tmp_path / "run"
    with open_run(out) as folder:
        folder.log({"event": "started", "step": 0})
    with (out / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "step')
    with open_run(out, resume=True) as folder:
        folder.log({"event": "started", "step": 5})
    lines = (out / "events.jsonl").read_text().splitlines()
    assert lines[0] == '{"event": "started", "step": 0}'
    assert lines[-1] == '{"event": "started", "step": 5}'
    assert len(lines) == 3

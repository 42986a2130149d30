# SPDX-License-Identifier: Apache-2.0
"""What may be asked of a run under way: each command, what it refuses, and that a steered run resumes to its bits."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparse3d.errors import UsageError
from sparse3d.geometry.regions import Box, Sphere
from sparse3d.live import Inbox, Slot, Snapshot
from sparse3d.records.scene import Scene
from sparse3d.splats import Splats
from sparse3d.train import checkpoint
from sparse3d.train.commands import (
    Allow,
    Command,
    Delete,
    DeleteRegion,
    KeepOut,
    Pause,
    Resume,
    SetDensity,
    SetRates,
    Stop,
)
from sparse3d.train.events import Cleaned, Event, Finished, Saved, Steered, Stepped
from sparse3d.train.loop import Around
from sparse3d.train.loop import train as train_loop
from sparse3d.train.run_folder import open_run
from sparse3d.train.splats.lineage import Lineage
from tests.train import kill_worker, tiny
from tests.train.point_grid import PointGrid
from tests.train.test_resume import assert_same_run

CONFIG = replace(kill_worker.CONFIG, snapshot_every=5)
MCMC = replace(CONFIG, density=replace(CONFIG.density, policy="mcmc"))
HALL = Sphere((0.3, 0.2, 0.0), 0.7)
Ask = Callable[[Snapshot[Splats]], Any]


class Steering:
    """One run whose commands are made when a step was reported. ask: by step, from the newest snapshot. quit: the run
    is left at its first answer, as a kill would."""

    def __init__(self, scene: Scene, cfg=CONFIG, out: Path | None = None, **ask: Ask) -> None:
        self.scene, self.cfg, self.out = scene, cfg, out
        self.ask = {int(name.removeprefix("at")): made for name, made in ask.items()}
        self.slot: Slot[Snapshot[Splats]] = Slot()
        self.inbox: Inbox[Command] = Inbox()
        self.stop = threading.Event()
        self.events: list[Event] = []
        self.splats: Splats | None = None

    def go(self, *, resume: bool = False, stop_at: int | None = None, quit_: bool = False) -> Steering:
        if self.out is None:
            return self._follow(None, resume, stop_at, quit_)
        with open_run(self.out, resume=resume) as folder:
            return self._follow(folder, resume, stop_at, quit_)

    def _follow(self, folder, resume: bool, stop_at: int | None, quit_: bool) -> Steering:
        running = tiny.train(
            self.scene, tiny.initial(), self.cfg, folder, resume=resume, slot=self.slot, commands=self.inbox,
            stop=self.stop,
        )  # fmt: skip
        while True:
            try:
                event = next(running)
            except StopIteration as end:
                self.splats = end.value
                return self
            self.events.append(event)
            if isinstance(event, Steered) and quit_:
                running.close()
                return self
            if isinstance(event, Stepped) and event.step in self.ask:
                newest, _ = self.slot.get()
                assert newest is not None
                asked = self.ask[event.step](newest)
                for command in asked if isinstance(asked, list) else [asked]:
                    assert self.inbox.put(command)
            if isinstance(event, Stepped) and event.step == stop_at:
                self.stop.set()

    @property
    def answers(self) -> list[Steered]:
        return [event for event in self.events if isinstance(event, Steered)]

    @property
    def finished(self) -> Finished:
        assert isinstance(self.events[-1], Finished)
        return self.events[-1]


def same_splats(a: Splats | None, b: Splats | None) -> bool:
    assert a is not None
    assert b is not None
    return a.num_splats == b.num_splats and all(
        torch.equal(left, right) for (_, left), (_, right) in zip(a.named(), b.named(), strict=True)
    )


def third(snapshot: Snapshot[Splats]) -> Delete:
    return Delete(np.arange(0, snapshot.value.num_splats, 3), snapshot.changes)


STEERED: dict[str, Ask] = {
    "rates": lambda _: SetRates({"sh0": 0.02, "means": 0, "means_final": 0}),
    "density": lambda _: SetDensity({"policy": "mcmc", "cap": 300, "mcmc_growth": 0.3}),
    "delete": third,
    "delete region": lambda _: DeleteRegion(HALL),
    "keep out": lambda _: [KeepOut(HALL), KeepOut(Box((-0.8, 0, 0), (0.3, 2, 2)))],
    "allow": lambda _: [KeepOut(HALL), Allow(HALL)],
    "all": lambda newest: [third(newest), SetRates({"opacities": 0.1}), KeepOut(HALL), SetDensity({"cap": 150})],
}


def test_an_inbox_without_commands_changes_no_bit(tiny_scene: Scene, tmp_path: Path):
    steered = Steering(tiny_scene, out=tmp_path / "a").go()
    with open_run(tmp_path / "b") as folder:
        events = list(tiny.train(tiny_scene, tiny.initial(), CONFIG, folder))
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert steered.finished.commands == 0
    assert len(events) == len(steered.events)
    assert "commands" not in json.loads((tmp_path / "a" / "checkpoint.json").read_text())


@pytest.mark.parametrize("cfg", [CONFIG, MCMC], ids=["adaptive", "mcmc"])
@pytest.mark.parametrize("what", STEERED)
def test_a_steered_run_resumes_to_its_bits(tiny_scene: Scene, tmp_path: Path, what: str, cfg):
    whole = Steering(tiny_scene, cfg, tmp_path / "whole", at13=STEERED[what]).go()
    assert whole.answers
    assert all(answer.applied for answer in whole.answers), [answer.said for answer in whole.answers]
    assert {answer.step for answer in whole.answers} == {13}
    # Stopped later, and left at the answer, before any later checkpoint: both know what was done.
    stopped = Steering(tiny_scene, cfg, tmp_path / "stopped", at13=STEERED[what]).go(stop_at=37)
    assert (stopped.finished.reason, stopped.finished.step) == ("stopped", 37)
    Steering(tiny_scene, cfg, tmp_path / "left", at13=STEERED[what]).go(quit_=True)
    for name in ("stopped", "left"):
        resumed = Steering(tiny_scene, cfg, tmp_path / name).go(resume=True)
        assert resumed.finished.commands == len(whole.answers)
        assert_same_run(tmp_path / "whole", tmp_path / name)
    assert len(checkpoint.load(tmp_path / "whole").commands) == len(whole.answers)
    plain = Steering(tiny_scene, cfg).go()
    if what != "allow":
        assert not same_splats(whole.splats, plain.splats), "the command changed nothing"


def test_a_pause_waits_for_commands_and_changes_no_bit(tiny_scene: Scene):
    plain = Steering(tiny_scene).go()
    steered = Steering(tiny_scene, at9=lambda _: Pause())
    later = threading.Timer(0.3, lambda: steered.inbox.put(Resume()))
    later.start()
    steered.go()
    later.join()
    assert [(answer.command, answer.step, answer.applied) for answer in steered.answers] == [
        ("pause", 9, True), ("resume", 9, True),
    ]  # fmt: skip
    assert same_splats(steered.splats, plain.splats)
    assert steered.finished.commands == 0


def test_a_paused_run_is_edited_and_shows_it(tiny_scene: Scene):
    steered = Steering(tiny_scene, at10=lambda newest: [Pause(), third(newest)])
    seen: list[Snapshot[Splats]] = []

    def watch() -> None:
        version = 0
        while not seen or seen[-1].value.num_splats >= tiny.initial().num_splats:
            newest, version = steered.slot.wait_newer(version, timeout_s=30.0)
            assert newest is not None
            seen.append(newest)
        steered.inbox.put(Resume())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    steered.go()
    watcher.join(30.0)
    assert not watcher.is_alive()
    shown = seen[-1]
    assert shown.step == 10
    assert shown.value.num_splats == steered.answers[1].count


def test_a_paused_run_can_be_stopped_from_outside(tiny_scene: Scene, tmp_path: Path):
    steered = Steering(tiny_scene, out=tmp_path / "run", at9=lambda _: Pause())
    later = threading.Timer(0.3, steered.stop.set)
    later.start()
    steered.go()
    later.join()
    assert (steered.finished.reason, steered.finished.step) == ("stopped", 9)
    assert checkpoint.load(tmp_path / "run").step == 9


def test_stop_saves_and_the_rest_gives_the_same_bits(tiny_scene: Scene, tmp_path: Path):
    Steering(tiny_scene, out=tmp_path / "whole").go()
    stopped = Steering(tiny_scene, out=tmp_path / "parts", at21=lambda _: Stop()).go()
    assert (stopped.finished.reason, stopped.finished.step) == ("stopped", 21)
    assert [event.step for event in stopped.events if isinstance(event, Saved)][-1] == 21
    Steering(tiny_scene, out=tmp_path / "parts").go(resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_region_that_is_kept_out_stays_empty(tiny_scene: Scene):
    def inside(splats: Splats | None) -> int:
        assert splats is not None
        return int(HALL.contains(splats.means.numpy()).sum())

    plain, once, kept = (
        Steering(tiny_scene, at6=ask).go()
        for ask in (lambda _: [], lambda _: DeleteRegion(HALL), lambda _: KeepOut(HALL))
    )
    assert inside(plain.splats) > 20
    # What is deleted once grows back from its neighbours; what is kept out is empty at the end, and that is told.
    assert inside(once.splats) > 0
    assert inside(kept.splats) == 0
    cleaned = [event for event in kept.events if isinstance(event, Cleaned)]
    assert cleaned
    assert all(event.removed.keys() == {"kept out"} and not event.kept for event in cleaned)


def test_rates_of_zero_hold_the_splats(tiny_scene: Scene):
    names = ("means", "sh0", "shN", "opacities", "scales", "quats", "means_final")
    cfg = replace(CONFIG, density=replace(CONFIG.density, policy="fixed"))
    steered = Steering(tiny_scene, cfg, at15=lambda _: SetRates(dict.fromkeys(names, 0.0))).go()
    at_15 = Steering(tiny_scene, cfg, at15=lambda _: Stop()).go()
    assert same_splats(steered.splats, at_15.splats)


def test_an_old_selection_takes_what_has_become_of_it(tiny_scene: Scene):
    """Deleted after step 30 with a selection of step 5: density control has changed the splats in between."""
    selected: list[Snapshot[Splats]] = []

    def select(newest: Snapshot[Splats]) -> list[Command]:
        selected.append(newest)
        return []

    steered = Steering(tiny_scene, at10=select, at30=lambda _: third(selected[0])).go()
    [answer] = steered.answers
    assert answer.applied
    found = re.fullmatch(r"deleted (\d+) of (\d+) splats", answer.said)
    assert found is not None
    gone, before = int(found[1]), int(found[2])
    assert before - gone == answer.count
    assert before > selected[0].value.num_splats, "nothing was added between; the test tells nothing"
    assert gone > len(third(selected[0]).rows), "the copies stayed"


def test_lineage_follows_splits_copies_and_removals():
    lineage = Lineage()
    lineage.remember()
    # Five splats: row 1 goes, row 2 is copied; then row 0 is moved onto what was row 4.
    lineage.add(5, torch.tensor([0, 2, 3, 4, 2]))
    lineage.add(5, torch.tensor([3, 1, 2, 3, 4]))
    assert lineage.now([2], 0, 5).tolist() == [False, True, False, False, True]
    assert lineage.now([4], 0, 5).tolist() == [True, False, False, True, False]
    assert lineage.now([1, 0], 0, 5).tolist() == [False] * 5
    assert lineage.now([0], 2, 5).tolist() == [True, False, False, False, False]
    assert lineage.now(torch.tensor([0, 0, 1, 0, 0], dtype=torch.bool), 1, 5).tolist() == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_a_selection_older_than_what_is_remembered_is_refused():
    lineage = Lineage(most_rows=12)
    lineage.remember()
    for _ in range(3):
        lineage.add(5, torch.arange(5))
    assert int(lineage.now([1], 1, 5).sum()) == 1
    with pytest.raises(UsageError, match="3 changes of the splats old, and only the last 2 are remembered"):
        lineage.now([1], 0, 5)


WRONG: dict[str, tuple[Ask, str]] = {
    "negative rate": (lambda _: SetRates({"sh0": -1.0}), "rates.sh0 is -1; give a finite number, 0 or more"),
    "rate that is no number": (lambda _: SetRates({"sh0": math.nan}), "rates.sh0 is nan; give a finite number"),
    "unknown rate": (lambda _: SetRates({"sh": 1.0}), "rates: unknown key 'sh'; did you mean 'shN'"),
    "half a decay": (lambda _: SetRates({"means": 0.0}), "give 0 for both, or for none"),
    "no values": (lambda _: SetRates({}), "no settings were given"),
    "values that are none": (lambda _: SetRates(3), "no settings were given"),  # type: ignore[arg-type]
    "text for a number": (lambda _: SetDensity({"cap": "many"}), "density: cap is 'many', expected int"),
    "unknown policy": (lambda _: SetDensity({"policy": "mcm"}), "did you mean 'mcmc'"),
    "no splats": (lambda _: SetDensity({"cap": 0}), "density.cap is 0; give 1 or more"),
    "start after stop": (lambda _: SetDensity({"start": 0.9, "stop": 0.5}), "0 <= start <= stop <= 1"),
    "share above one": (lambda _: SetDensity({"prune_opacity": 1}), "give a value between 0 and 1"),
    "mask of wrong length": (
        lambda newest: Delete(np.ones(7, bool), newest.changes), "the mask has 7 entries, the snapshot it names has "
    ),
    "row beyond the end": (lambda newest: Delete([0, 10_000], newest.changes), "the selection goes from 0 to 10000"),
    "negative row": (lambda newest: Delete([-1], newest.changes), "the selection goes from -1 to -1"),
    "fractions": (lambda newest: Delete([0.5], newest.changes), "give a mask or whole numbers"),
    "no rows": (lambda newest: Delete(np.zeros(0, np.int64), newest.changes), "the selection is empty"),
    "rows that are none": (lambda newest: Delete("all", newest.changes), "no list of numbers and no mask"),
    "change to come": (lambda newest: Delete([0], newest.changes + 99), "select in a snapshot of this run"),
    "everything": (
        lambda newest: Delete(np.ones(newest.value.num_splats, bool), newest.changes), "that would delete all"
    ),
    "empty region": (lambda _: DeleteRegion(Sphere((50, 0, 0), 1)), "none of the splats"),
    "the whole scene": (lambda _: KeepOut(Sphere((0, 0, 0), 99)), "that would delete all"),
    "a region that is none": (lambda _: KeepOut(None), "NoneType is no region"),  # type: ignore[arg-type]
    "never kept out": (lambda _: Allow(HALL), "this sphere is not kept out"),
    "no command": (lambda _: "delete", "str is no command of a run"),
}  # fmt: skip


def test_wrong_commands_are_answered_and_change_no_bit(tiny_scene: Scene, tmp_path: Path):
    plain = Steering(tiny_scene, out=tmp_path / "plain").go()
    steered = Steering(
        tiny_scene, out=tmp_path / "run", at10=lambda newest: [make(newest) for make, _ in WRONG.values()]
    ).go()
    assert len(steered.answers) == len(WRONG)
    for (what, (_, said)), answer in zip(WRONG.items(), steered.answers, strict=True):
        assert not answer.applied, what
        assert said in answer.said, what
        json.dumps(answer.to_json(), allow_nan=False)
    assert same_splats(steered.splats, plain.splats)
    assert_same_run(tmp_path / "plain", tmp_path / "run")


def test_a_command_after_the_last_step_is_answered(tiny_scene: Scene):
    steered = Steering(tiny_scene, at60=lambda _: KeepOut(HALL)).go()
    [answer] = steered.answers
    assert not answer.applied
    assert "the run is over" in answer.said
    assert not steered.inbox.put(Pause())


def test_points_refuse_what_they_do_not_know(tiny_scene: Scene):
    inbox: Inbox[Command] = Inbox()
    asked = [
        SetRates({"sh0": 1.0}),
        SetDensity({"cap": 3}),
        Delete([0], 0),
        DeleteRegion(HALL),
        KeepOut(HALL),
        Allow(HALL),
    ]
    for command in (Pause(), *asked, Resume()):
        inbox.put(command)
    events = list(train_loop(tiny_scene, PointGrid, replace(CONFIG, steps=4), around=Around(commands=inbox)))
    answers = [event for event in events if isinstance(event, Steered)]
    assert [answer.applied for answer in answers] == [True, *[False] * len(asked), True]
    assert all("a run on points does not know the command" in answer.said for answer in answers[1:-1])
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].commands) == ("completed", 0)

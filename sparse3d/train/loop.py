# SPDX-License-Identifier: Apache-2.0
"""The training loop: a generator of events that knows none of its readers, and nothing of what it trains.

It owns photos, their order, exposure and poses, the clock, checkpoints and stopping. What is trained stands behind
`train.trainee.Trainee`.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparse3d.errors import DataError, DiskFullError, DivergedError
from sparse3d.judge.background import evaluation_background
from sparse3d.judge.evaluate import evaluate
from sparse3d.kernels.step import photometric
from sparse3d.live import Inbox, Slot, Snapshot
from sparse3d.loss import Lpips
from sparse3d.records.scene import Scene
from sparse3d.train import checkpoint as checkpoints
from sparse3d.train.clock import Clock
from sparse3d.train.commands import Command
from sparse3d.train.config import TrainConfig, binding_values, check_resumable
from sparse3d.train.events import Evaluated, Event, Finished, Saved, Started, Stepped
from sparse3d.train.run_folder import RunFolder
from sparse3d.train.safety import is_sound_loss
from sparse3d.train.shots import Shot, TrainingPhotos
from sparse3d.train.steer import Steering
from sparse3d.train.trainee import MakeTrainee, TraineeSetup


@dataclass(frozen=True)
class Around:
    """What a run has to do with the world around it; only a command changes a bit of the result.

    slot: gets a copy of what is trained at intervals, after a command and at the end. stop: when set, the step under
    way is finished, a checkpoint saved, and the run ends with Finished("stopped"). commands: read between steps, each
    answered by a `Steered` event; closed at the end. lpips: also measured, where given. notes: for `Started`.
    """

    slot: Slot[Snapshot[Any]] | None = None
    stop: threading.Event | None = None
    commands: Inbox[Command] | None = None
    lpips: Lpips | None = None
    notes: tuple[str, ...] = ()

    @property
    def stopped(self) -> bool:
        return self.stop is not None and self.stop.is_set()


def train(
    scene: Scene,
    make: MakeTrainee,
    cfg: TrainConfig,
    folder: RunFolder | None = None,
    *,
    resume: bool = False,
    around: Around = Around(),
    learned: Mapping[str, Tensor] | None = None,
) -> Generator[Event, None, Any]:
    """Train what `make` makes on the scene's training photos; yields events and returns its last snapshot.

    folder: None writes nothing. resume: go on from the folder's checkpoint where there is one; the result has the same
    bits as that of an unbroken run (`make` must be given the same start). learned: exposures and poses of an earlier
    run on the same photos (its checkpoint's `extra`). Raises DataError without training photos, UsageError where
    settings differ from the checkpoint's, DivergedError, and DiskFullError with the files of before still whole.
    """
    loop = Loop(scene, make, cfg, folder)
    loop.photos.restore(learned or {}, partly=True)
    if around.commands is not None:
        loop.trainee.remember()
    if resume and folder is not None and checkpoints.exists(folder.path):
        loop.restore(checkpoints.load(folder.path))
    yield loop.started(around.notes)
    loop.clock.start()
    try:
        while loop.step < cfg.steps and not around.stopped and not loop.steering.stopping:
            yield from loop.advance(around)
    except KeyboardInterrupt:
        # Inside a step the state is half changed: the last checkpoint stays the one to resume from.
        if folder is not None and not loop.in_step:
            loop.save()
        raise
    loop.clock.pause()
    if folder is not None:
        yield Saved(loop.step, "checkpoint", loop.save())
    if around.commands is not None:
        yield from [loop.steering.refuse(command, loop.trainee, loop.step) for command in around.commands.close()]
    result = loop.trainee.snapshot()
    if around.slot is not None:
        around.slot.put(Snapshot(loop.step, loop.trainee.changes, result))
    completed = loop.step >= cfg.steps
    if completed:
        yield loop.evaluate(around.lpips, final=True)
    yield loop.finished("completed" if completed else "stopped")
    return result


class Loop:
    """One run under way. `advance` does one step and what is due after it; `save` and `restore` carry everything that
    the result depends on. For those who bring a loop of their own."""

    def __init__(self, scene: Scene, make: MakeTrainee, cfg: TrainConfig, folder: RunFolder | None = None) -> None:
        if not scene.train:
            raise DataError(f"{scene.root}: there is no photo to train on; all are held out or none was found")
        self.scene, self.cfg, self.folder = scene, cfg, folder
        self.generators = {
            "views": torch.Generator().manual_seed(cfg.seed),
            "noise": torch.Generator().manual_seed(cfg.seed + 0x5EED),
            "windows": torch.Generator().manual_seed(cfg.seed + 0x3D17),
            "terms": torch.Generator().manual_seed(cfg.seed + 0x7E2A),
        }
        self.photos = TrainingPhotos(scene, cfg, self.generators)
        self.trainee = make(TraineeSetup(scene, cfg, self.photos, self.generators))
        self.photometric = photometric(cfg.backend)
        self.steering = Steering()
        self.step = 0
        self.in_step = False
        self.clock = Clock()
        self._losses: list[float] = []
        self._last_check = 0

    @property
    def _counted(self) -> tuple[int, int, str]:
        """The fields that every counting event begins with."""
        return self.step, self.trainee.count, self.trainee.counted

    def started(self, notes: tuple[str, ...] = ()) -> Started:
        view = self.photos.view(0, 1)
        views = (len(self.scene.train), len(self.scene.test))
        return Started(
            *self._counted, self.cfg.steps, *views, self.trainee.backend, self.cfg.threads, view.width, view.height,
            notes,
        )  # fmt: skip

    def finished(self, reason: str) -> Finished:
        seconds = (self.clock.seconds, self.clock.seconds_eval)
        return Finished(*self._counted, reason, *seconds, len(self.steering.done))

    def advance(self, around: Around = Around()) -> Generator[Event, None, None]:
        """What was asked for since the step before, then one step and what is due after it. No step where it was asked
        to stop (`steering.stopping`, `around.stop`)."""
        cfg = self.cfg
        if around.commands is not None:
            yield from self._obey(around.commands, around)
            if self.steering.stopping or around.stopped:
                return
        self.in_step = True
        shot = self.photos.next(self.step + 1)
        report = self._train_step(shot)
        changes = list(self.trainee.refine(shot))
        if changes or self.step == cfg.steps or _due(cfg.check_every, self.step):
            self._check(shot)
        self.in_step = False
        yield from changes
        if report is not None:
            yield report
        if around.slot is not None and _due(cfg.snapshot_every, self.step):
            self._show(around.slot)
        if self.step == cfg.steps:
            return
        if self.folder is not None and _due(cfg.checkpoint_every, self.step):
            yield Saved(self.step, "checkpoint", self.save())
        if _due(cfg.eval_every, self.step):
            self.clock.pause()
            yield self.evaluate(around.lpips, final=False)
            self.clock.start()

    def _obey(self, commands: Inbox[Command], around: Around) -> Generator[Event, None, None]:
        """Do all that was asked; while paused, wait for more."""
        yield from self._do(commands.take(), around)
        if not self.steering.paused:
            return
        self.clock.pause()
        while self.steering.paused and not self.steering.stopping and not around.stopped:
            self.steering.wait(commands, around.stop)
            yield from self._do(commands.take(), around)
        self.clock.start()

    def _do(self, asked: list[Command], around: Around) -> Generator[Event, None, None]:
        """Shown first and saved before it is told: a run killed after the answer resumes with what it says."""
        before = len(self.steering.done)
        self.in_step = True
        answers = [self.steering.do(command, self.trainee, self.step) for command in asked]
        self.in_step = False
        saved: list[Event] = []
        if len(self.steering.done) > before:
            if around.slot is not None:
                self._show(around.slot)
            if self.folder is not None:
                saved.append(Saved(self.step, "checkpoint", self.save()))
        yield from answers
        yield from saved

    def _show(self, slot: Slot[Snapshot[Any]]) -> None:
        slot.put(Snapshot(self.step, self.trainee.changes, self.trainee.snapshot()))

    def _train_step(self, shot: Shot) -> Stepped | None:
        rendering = self.trainee.render(shot)
        found, v_image = self.photos.loss(shot, rendering.image, self.photometric)
        if not is_sound_loss(found.loss):
            self._diverged(f"the loss is {found.loss:g}", shot)
        report = self._report(shot, found.loss, found.squared_error)
        v_pose = self.trainee.step(shot, v_image)
        if self.photos.poses is not None and v_pose is not None:
            self.photos.poses.step(shot.position, v_pose)
        self.step = shot.number
        return report

    def _report(self, shot: Shot, loss: float, squared_error: float) -> Stepped | None:
        self._losses.append(loss)
        if shot.number % self.cfg.report_every and shot.number != self.cfg.steps:
            return None
        loss = math.fsum(self._losses) / len(self._losses)
        self._losses = []
        psnr = -10.0 * math.log10(max(squared_error, 1e-12))
        return Stepped(
            shot.number, self.trainee.count, self.trainee.counted, self.cfg.steps, loss, psnr, self.clock.seconds,
            shot.scale, self.trainee.details(),
        )  # fmt: skip

    def _check(self, shot: Shot) -> None:
        bad = self.trainee.check()
        if bad is not None:
            self._diverged(f"after step {self.step}, {bad} (all was sound after step {self._last_check})", shot, bad)
        self._last_check = self.step

    def _diverged(self, reason: str, shot: Shot, bad: str | None = None) -> None:
        """Write a dump and raise DivergedError. bad: what is wrong with a parameter, where the reason says so."""
        text = f"training diverged at step {shot.number} of {self.cfg.steps} on photo {shot.name!r}: {reason}."
        if bad is None:
            text += f" {self.trainee.check() or 'All parameters are finite'}."
        if self.folder is not None:
            path = self.folder.file(f"dump-{shot.number:06d}.safetensors")
            try:
                self.trainee.dump(path, shot, reason)
                text += f" Its inputs are in {path}: `sparse3d replay {path}` runs the step again."
            except DiskFullError:
                text += " Its inputs could not be written: the disk is full."
        raise DivergedError(text + " Lower learning rates, or another --seed, may avoid it.")

    def evaluate(self, lpips: Lpips | None, *, final: bool) -> Evaluated:
        """Scores on the held-out photos. Changes nothing that training reads."""
        began = time.perf_counter()
        background = evaluation_background(self.scene, self.cfg.background)
        scores = evaluate(self.scene, self.scene.test, lambda c: self.trainee.picture(c, background), lpips)
        self.clock.seconds_eval += time.perf_counter() - began
        return Evaluated(
            *self._counted, scores.psnr, scores.ssim, scores.lpips, self.clock.seconds, self.clock.seconds_eval, final,
            scores.psnr_full, scores.ssim_full, scores.per_view,
        )  # fmt: skip

    def save(self) -> Path:
        """Write the checkpoint; returns its path."""
        assert self.folder is not None
        return checkpoints.save(
            self.folder.path,
            checkpoints.Checkpoint(
                step=self.step,
                tensors=self.trainee.tensors(),
                state=self.trainee.state(),
                generators={name: generator.get_state() for name, generator in self.generators.items()},
                order=self.photos.order.state(),
                config=binding_values(self.cfg),
                names=self._photo_names(),
                seconds=self.clock.seconds,
                seconds_eval=self.clock.seconds_eval,
                extra=self.photos.tensors(),
                commands=self.steering.done,
            ),
        )

    def restore(self, found: checkpoints.Checkpoint) -> None:
        """Go on from a checkpoint. Raises UsageError where settings differ, DataError where photos do."""
        where = str(self.folder.path) if self.folder is not None else "checkpoint"
        check_resumable(found.config, self.cfg, where)
        names = self._photo_names()
        if names != found.names:
            raise DataError(
                f"{where}: the run was begun on {len(found.names)} training photos, the scene now has {len(names)} or "
                "others; restore the photos, or start again with --overwrite"
            )
        try:
            self.trainee.restore(found.tensors, found.state)
            for name, generator in self.generators.items():
                generator.set_state(found.generators[name])
            self.photos.restore(found.extra)
        except KeyError as error:
            raise DataError(f"{where}: the checkpoint lacks {error}; train again with --overwrite") from None
        self.photos.order.restore(found.order)
        self.step = found.step
        self.steering.done = list(found.commands)
        self.clock.restore(found.seconds, found.seconds_eval)
        self._last_check = found.step

    def _photo_names(self) -> list[str]:
        return [self.scene.names[i] for i in self.scene.train]


def _due(every: int, step: int) -> bool:
    return every > 0 and step % every == 0

# SPDX-License-Identifier: Apache-2.0
"""How the loop does what is asked of it between two steps."""

from __future__ import annotations

import threading
from typing import Any

from sparse3d.errors import DataError, UsageError
from sparse3d.live import Inbox
from sparse3d.train.commands import Command, Pause, Resume, Stop
from sparse3d.train.events import Steered
from sparse3d.train.trainee import Trainee

# How often a paused run looks whether it was told to stop from outside, which wakes nobody.
_LOOK_EVERY_S = 0.2


class Steering:
    """What was asked of one run. done: the commands that changed what is trained, oldest first, as JSON holds them;
    they stand in the checkpoint."""

    def __init__(self) -> None:
        self.paused = False
        self.stopping = False
        self.done: list[dict[str, Any]] = []

    def do(self, command: Any, trainee: Trainee, step: int) -> Steered:
        """Do one command after `step` steps, or say why not."""
        asked = command.asked() if isinstance(command, Command) else {}
        name = command.name if isinstance(command, Command) else type(command).__name__
        try:
            said, applied = self._do(command, trainee, step, asked), True
        except (UsageError, DataError) as error:
            said, applied = str(error), False
        return Steered(step, trainee.count, trainee.counted, name, asked, applied, said)

    def refuse(self, command: Any, trainee: Trainee, step: int) -> Steered:
        """The answer to a command that came after the last step."""
        name, asked = (command.name, command.asked()) if isinstance(command, Command) else (type(command).__name__, {})
        said = "the run is over, so nothing was done; edit the finished scene instead"
        return Steered(step, trainee.count, trainee.counted, name, asked, False, said)

    def wait(self, commands: Inbox[Any], stop: threading.Event | None) -> None:
        """Wait until a command is there, or the run shall stop."""
        while not (stop is not None and stop.is_set()):
            if commands.wait(_LOOK_EVERY_S):
                return

    def _do(self, command: Any, trainee: Trainee, step: int, asked: dict[str, Any]) -> str:
        if isinstance(command, Pause):
            self.paused = True
            return "paused"
        if isinstance(command, Resume):
            self.paused = False
            return "going on"
        if isinstance(command, Stop):
            self.stopping = True
            return "stopping, and saving a checkpoint"
        if not isinstance(command, Command):
            raise UsageError(f"{type(command).__name__} is no command of a run; send one of sparse3d.train.commands")
        said = trainee.obey(command)
        self.done.append({"step": step, "command": command.name, **asked, "said": said})
        return said

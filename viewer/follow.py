# SPDX-License-Identifier: Apache-2.0
"""Following a run of another process: its newest checkpoint, and at last its splats. Nothing is written."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sparse3d import formats
from sparse3d.errors import DataError
from sparse3d.train import checkpoint as checkpoints
from sparse3d.viewer.subject import Shown, Subject, shown_of_checkpoint  # pyright: ignore[reportMissingImports]

_LOOK_EVERY_S = 1.0


class Follower:
    """Looks once a second; `changed` is called in its thread after something newer is in the subject's slot."""

    def __init__(self, subject: Subject, changed: Callable[[], None], tell: Callable[[str], None]) -> None:
        self._subject, self._changed, self._tell = subject, changed, tell
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def _work(self) -> None:
        last = self._stamp()
        while not self._stopped.wait(_LOOK_EVERY_S):
            try:
                if self._is_finished():
                    splats = formats.read(self._subject.path / "splat.ply")
                    self._subject.shown.put(Shown(splats))
                    self._tell("the run is finished; the page shows its splats")
                    self._changed()
                    return
                stamp = self._stamp()
                if stamp != last:
                    last = stamp
                    self._subject.shown.put(shown_of_checkpoint(self._subject.path))
                    self._changed()
            except (DataError, OSError) as error:
                self._tell(f"the run's newest state cannot be read, and the page keeps the one before: {error}")
                last = self._stamp()

    def _is_finished(self) -> bool:
        return (self._subject.path / "splat.ply").is_file()

    def _stamp(self) -> tuple[int, int]:
        try:
            found = (self._subject.path / checkpoints.FILE_NAME).stat()
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_size

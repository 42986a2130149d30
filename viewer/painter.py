# SPDX-License-Identifier: Apache-2.0
"""The one thread that draws for every browser: its newest camera only, small while it moves, whole when it rests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from sparse3d.viewer.cameras import Seen  # pyright: ignore[reportMissingImports]

# Seconds without a new camera after which a browser rests, and the seconds that a picture while moving may take.
_REST_S, _MOVING_S = 0.2, 0.045
MOST_PIXELS, _FIRST_PIXELS, _FEWEST_PIXELS = 1280 * 960, 640 * 360, 160 * 90


class Browser(Protocol):
    """What the painter asks of a browser; called in the painter's thread only."""

    def seen(self) -> Seen | None: ...

    def paint(self, seen: Seen, pixels: int, *, resting: bool) -> None: ...


@dataclass
class _Client:
    browser: Browser
    moved_at: float = 0.0
    changed: int = 1
    drawn: int = 0
    whole: int = 0
    turn: int = 0


@dataclass
class Pace:
    """How fast pictures were made lately: seconds of the last one while moving, and how many were made at all."""

    seconds: float = 0.0
    pictures: int = 0
    pixels: float = field(default=float(_FIRST_PIXELS))


class Painter:
    """Start it with `start`; `stop` waits for the picture in work. No browser waits for another's rest."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._condition = threading.Condition()
        self._clients: dict[int, _Client] = {}
        self._stopped = False
        self._turn = 0
        self._troubles: set[str] = set()
        self.pace = Pace()
        self._thread = threading.Thread(target=self._work, name="painter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def add(self, number: int, browser: Browser) -> None:
        with self._condition:
            self._clients[number] = _Client(browser, moved_at=time.monotonic())
            self._condition.notify_all()

    def remove(self, number: int) -> None:
        with self._condition:
            self._clients.pop(number, None)

    def moved(self, number: int) -> None:
        """The browser's camera is another."""
        self._change(number, time.monotonic())

    def changed(self, number: int | None = None) -> None:
        """What the browser shows (None: what all show) is another; its camera stands."""
        self._change(number, 0.0)

    def _change(self, number: int | None, moved_at: float) -> None:
        with self._condition:
            for key, client in self._clients.items():
                if number in (None, key):
                    client.changed += 1
                    client.moved_at = max(client.moved_at, moved_at)
            self._condition.notify_all()

    def _work(self) -> None:
        while True:
            with self._condition:
                job = self._next()
                while job is None and not self._stopped:
                    self._condition.wait(timeout=_REST_S / 4 if self._unfinished() else None)
                    job = self._next()
                if self._stopped or job is None:
                    return
                client, resting = job
                version = client.changed
                self._turn += 1
                client.turn = self._turn
            self._paint(client, resting)
            client.drawn = version
            if resting:
                client.whole = version

    def _next(self) -> tuple[_Client, bool] | None:
        """The browser that waited longest for a picture: first those that move, then those that came to rest."""
        now = time.monotonic()
        in_turn = sorted(self._clients.values(), key=lambda client: client.turn)
        for client in in_turn:
            if client.drawn < client.changed and now - client.moved_at < _REST_S:
                return client, False
        for client in in_turn:
            if client.whole < client.changed and now - client.moved_at >= _REST_S:
                return client, True
        return None

    def _unfinished(self) -> bool:
        return any(client.whole < client.changed for client in self._clients.values())

    def _paint(self, client: _Client, resting: bool) -> None:
        began = time.perf_counter()
        try:
            seen = client.browser.seen()
            if seen is None:
                return
            client.browser.paint(seen, MOST_PIXELS if resting else int(self.pace.pixels), resting=resting)
        except Exception as error:
            # Whatever one browser does, the thread lives on for the others.
            self._say_once(f"a picture could not be drawn: {error or type(error).__name__}")
            return
        took = time.perf_counter() - began
        self.pace.pictures += 1
        if not resting:
            self.pace.seconds = took
            better = self.pace.pixels * min(1.25, max(0.7, _MOVING_S / max(took, 1e-6)))
            self.pace.pixels = min(float(_FIRST_PIXELS * 2), max(float(_FEWEST_PIXELS), better))

    def _say_once(self, sentence: str) -> None:
        """The same trouble is told once, not with every picture."""
        if sentence not in self._troubles:
            self._troubles.add(sentence)
            self._tell(sentence)

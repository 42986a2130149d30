# SPDX-License-Identifier: Apache-2.0
"""viser's server behind a door of our own: who may come in, by which address, with what, and how often.

viser listens on every interface and asks nobody for a token. We open the socket ourselves and stand in for
`websockets.asyncio.server.serve` while viser starts, so that every request meets `door.Door` first. Where viser does
not start by that name, nothing is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import logging
import secrets
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from sparse3d.errors import BackendError, UsageError
from sparse3d.viewer.door import Door  # pyright: ignore[reportMissingImports]

# The release that the tests ran with, and the one that the viewer asks for.
TESTED = (1, 1)
LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"
FIRST_PORT, _PORTS_TRIED = 8580, 50
_TO_NOBODY = "Queued an? .* on a closed connection"
_starting = threading.Lock()


@dataclass(frozen=True)
class Limits:
    """Of one browser: bytes of a message, messages and bytes a second (over two seconds). browsers: at one time."""

    message_bytes: int = 1 << 20
    messages_a_second: int = 400
    bytes_a_second: int = 4 << 20
    browsers: int = 8


@dataclass(frozen=True)
class Served:
    """server: viser's. address: with the token, for the user's browser. lan_addresses: the same for other devices."""

    server: Any
    address: str
    lan_addresses: tuple[str, ...]
    port: int
    token: str

    def stop(self) -> None:
        """Let go of the port and of every browser; safe to call twice."""
        with contextlib.suppress(RuntimeError), contextlib.redirect_stdout(io.StringIO()):
            self.server.stop()


def require_viser() -> ModuleType:
    """viser, if it is a release that the door was tried with. Raises BackendError with one sentence otherwise."""
    try:
        viser = importlib.import_module("viser")
    except ImportError:
        raise BackendError("the live viewer needs viser 1.1; install it with: pip install 'viser>=1.1,<1.2'") from None
    found = getattr(viser, "__version__", None)
    parts = found.split(".") if isinstance(found, str) else []
    known = tuple(int(part) for part in parts[:2] if part.isdecimal())
    if known == TESTED:
        return viser
    state = "older" if len(known) < 2 or known < TESTED else "newer"
    wanted = ".".join(map(str, TESTED))
    raise BackendError(
        f"the live viewer was tried with viser {wanted} and does not start with {found or 'this version'}, which is "
        f"{state}; install it with: pip install 'viser>={wanted},<{TESTED[0]}.{TESTED[1] + 1}'"
    )


def start(*, share_lan: bool = False, port: int | None = None, limits: Limits | None = None) -> Served:
    """Start viser behind the door, on this machine only, or with `share_lan` for the local network too.

    port: None for the first free one from 8580. Raises UsageError where the port cannot be had, BackendError where
    viser is missing, of another release, or did not start through the door.
    """
    viser = require_viser()
    limits = limits or Limits()
    # A browser may leave while its picture is drawn; that is no news.
    warnings.filterwarnings("ignore", message=_TO_NOBODY)
    listening = _open_socket(EVERYWHERE if share_lan else LOOPBACK, port)
    bound = listening.getsockname()[1]
    names = (LOOPBACK, "localhost", *(_lan_addresses() if share_lan else ()))
    door = Door(secrets.token_urlsafe(24), bound, names, f"viser-v{viser.__version__}")
    try:
        server = _start_behind(viser, door, listening, limits)
    except BaseException:
        listening.close()
        raise
    addresses = tuple(f"http://{name}:{bound}/?token={door.token}" for name in names)
    return Served(server, addresses[0], addresses[2:], bound, door.token)


def _start_behind(viser: ModuleType, door: Door, listening: socket.socket, limits: Limits) -> Any:
    with _wrapped_serve(door, listening, limits) as was_called, contextlib.redirect_stdout(io.StringIO()):
        server = _class_without_sharing(viser)(host=LOOPBACK, port=door.port, verbose=False)
        if not was_called.is_set():
            server.stop()
            raise BackendError(
                f"viser {viser.__version__} did not start its server in the way that the viewer makes safe, so nothing "
                "was started; install viser 1.1.1"
            )
    return server


def _class_without_sharing(viser: ModuleType) -> type:
    """ViserServer that opens no tunnel to an outside host, whoever asks."""

    def request_share_url(self: Any, verbose: bool = True) -> None:
        return None

    return type("LocalServer", (viser.ViserServer,), {"request_share_url": request_share_url})


@contextlib.contextmanager
def _wrapped_serve(door: Door, listening: socket.socket, limits: Limits) -> Iterator[threading.Event]:
    """While this lasts, `websockets.asyncio.server.serve` serves our socket behind the door; the event says it did."""
    module: Any = importlib.import_module("websockets.asyncio.server")
    called = threading.Event()
    with _starting:
        real = module.serve

        def serve(handler: Any, _host: Any, _port: Any, **settings: Any) -> Any:
            called.set()
            asyncio.get_running_loop().set_exception_handler(_be_quiet)
            settings["process_request"] = door.before(settings.get("process_request"))
            settings["max_size"] = limits.message_bytes
            settings["logger"] = _silent_logger()
            settings["create_connection"] = _counting(module.ServerConnection, limits)
            return real(_guarded(handler, limits), sock=listening, **settings)

        module.serve = serve
        try:
            yield called
        finally:
            module.serve = real


def _guarded(handler: Callable, limits: Limits) -> Callable:
    """The handler, for so many browsers at once; what a browser sends that viser cannot read ends that browser only."""
    inside = 0

    async def guarded(connection: Any) -> None:
        nonlocal inside
        if inside >= limits.browsers:
            await connection.close(1013, "too many browsers are connected")
            return
        inside += 1
        try:
            await handler(connection)
        except Exception:
            await connection.close(1002, "the message cannot be read")
        finally:
            inside -= 1

    return guarded


def _counting(base: type, limits: Limits) -> type:
    """A connection that ends where more comes than a person's browser sends."""

    class Counting(base):
        _since, _messages, _bytes = 0.0, 0, 0

        async def recv(self, *words: Any, **settings: Any) -> Any:
            data = await super().recv(*words, **settings)
            now = time.monotonic()
            if now - self._since > 2.0:
                self._since, self._messages, self._bytes = now, 0, 0
            self._messages += 1
            self._bytes += len(data)
            if self._messages > 2 * limits.messages_a_second or self._bytes > 2 * limits.bytes_a_second:
                await self.close(1008, "too many messages")
                return await super().recv(*words, **settings)
            return data

    return Counting


def _be_quiet(_loop: Any, _context: dict[str, Any]) -> None:
    """Errors of single connections are no news for the terminal."""


def _silent_logger() -> logging.Logger:
    logger = logging.Logger("sparse3d.viewer")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def _open_socket(host: str, port: int | None) -> socket.socket:
    wanted = range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED) if port is None else (port,)
    for number in wanted:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, number))
        except (OSError, OverflowError):
            listening.close()
            continue
        return listening
    if port is None:
        raise UsageError(f"no port from {wanted[0]} to {wanted[-1]} is free; give a free one with --port")
    raise UsageError(f"--port {port}: cannot be had; give another, or leave --port out for the first free one")


def _lan_addresses() -> tuple[str, ...]:
    """This machine's addresses in its networks; nothing is sent to find them."""
    found: list[str] = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # An address kept for documentation: connecting a UDP socket only chooses the way out.
        probe.connect(("192.0.2.1", 9))
        found.append(probe.getsockname()[0])
    with contextlib.suppress(OSError):
        found += [str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    return tuple(dict.fromkeys(name for name in found if not name.startswith("127.")))

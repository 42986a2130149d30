# SPDX-License-Identifier: Apache-2.0
"""`sparse3d view`: a page in the browser that shows a run or a file of splats."""

from __future__ import annotations

import contextlib
import signal
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sparse3d.cli.parse import parse
from sparse3d.cli.terminal import say
from sparse3d.errors import UsageError


@dataclass(frozen=True)
class Args:
    """Show a run, or a file of splats, in any browser: walk through it, stand where the photos were taken, see depth,
    normals and what supports each splat. A run that another process trains is followed by its checkpoints. Nothing is
    changed. The address goes to stdout; Ctrl-C ends it."""

    what: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE")]
    """Run folder, or a file of splats."""
    open: bool = False
    """Open the page in this machine's browser."""
    port: int | None = None
    """Port to listen on (default: the first free one from 8580)."""
    share_lan: bool = False
    """Let other devices of the local network in, too; without, only this machine. Both need the address's token."""
    threads: int = 0
    """Threads of the kernels (0: one a core)."""
    drop_invalid: bool = False
    """Leave out splats that hold NaN or infinite values, and count them."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="view")
    if args.port is not None and not 1 <= args.port <= 65535:
        raise UsageError(f"--port {args.port}: give 1 to 65535")
    from sparse3d.kernels import cpu
    from sparse3d.viewer.page import Page  # pyright: ignore[reportMissingImports]
    from sparse3d.viewer.safe import require_viser  # pyright: ignore[reportMissingImports]
    from sparse3d.viewer.subject import open_subject  # pyright: ignore[reportMissingImports]

    require_viser()
    cpu.set_threads(args.threads)
    subject = open_subject(args.what, drop_invalid=args.drop_invalid)
    for note in subject.notes:
        say(note)
    page = Page(subject, say)
    with _until_interrupted() as ended:
        try:
            served = page.start(share_lan=args.share_lan, port=args.port)
            say(f"{subject.now.splats.num_splats:,} splats; open this address in a browser, Ctrl-C ends it:")
            print(served.address, flush=True)
            for address in served.lan_addresses:
                say(f"from other devices of this network: {address}")
            if args.open and not webbrowser.open(served.address):
                say("note: no browser could be started; open the address by hand")
            while not ended.wait(timeout=1.0):
                pass
        finally:
            page.stop()
    return 0


@contextlib.contextmanager
def _until_interrupted() -> Iterator[threading.Event]:
    """Set by Ctrl-C or SIGTERM, the usual ways to end a page."""
    ended = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield ended
        return
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

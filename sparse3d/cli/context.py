# SPDX-License-Identifier: Apache-2.0
"""What the entry point and a command share: when the process began, and where a failed command's run folder is."""

from __future__ import annotations

import time
from pathlib import Path

# The clock of seconds.total; this module is among the first that are imported.
began = time.perf_counter()
run_folder: Path | None = None


def reset() -> None:
    set_run_folder(None)


def set_run_folder(path: Path | None) -> None:
    """A command says where the traceback of an unexpected error belongs."""
    global run_folder
    run_folder = path

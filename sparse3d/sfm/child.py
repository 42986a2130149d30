# SPDX-License-Identifier: Apache-2.0
"""Starts `sfm.worker` in a child process, passes on its progress, and ends it when it takes too long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparse3d.errors import DataError
from sparse3d.memory import child_ended

Progress = Callable[[str, float], None]


def run_worker(job: dict[str, Any], folder: Path, timeout_s: float, progress: Progress) -> dict[str, Any]:
    """The worker's result for `job`; `folder` holds the job's files and gets the worker's. Raises DataError where the
    child process breaks down or takes longer than `timeout_s`."""
    count = len(job["photos"])
    job_path, log_path, result_path = folder / "job.json", folder / "log.txt", folder / "worker_result.json"
    job_path.write_text(json.dumps(job), encoding="utf-8")
    code = _supervised([sys.executable, "-m", "sparse3d.sfm.worker", str(job_path)], log_path, timeout_s, progress)
    if code is None:
        raise DataError(
            f"Structure from motion of {count} photos was ended after {timeout_s:g} seconds; take fewer photos "
            "(--views 60) or give camera poses"
        )
    if code != 0 or not result_path.is_file():
        said = _last_words(log_path.read_text(encoding="utf-8", errors="replace"))
        raise DataError(
            f"Structure from motion of {count} photos broke down (its process ended with code {code}): {said}; try "
            "again with other photos, or give camera poses"
        )
    return json.loads(result_path.read_text(encoding="utf-8"))


def _supervised(command: list[str], log_path: Path, timeout_s: float, progress: Progress) -> int | None:
    """Exit code of the command, None where it was killed for taking too long. Its standard input stays open as long as
    we live; its standard error goes to the log."""
    with log_path.open("wb") as log:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=_environment())
        late = threading.Event()

        def stop() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(timeout_s, stop)
        timer.start()
        try:
            assert child.stdout is not None
            for line in child.stdout:
                _report(line, progress)
            code = child.wait()
        finally:
            timer.cancel()
            if child.poll() is None:
                child.kill()
                child.wait()
            child_ended()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()
    return None if late.is_set() else code


def _environment() -> dict[str, str]:
    """Ours, with this package first on the path and one thread for each matrix product: the worker itself compares many
    pairs at once."""
    package_root = str(Path(__file__).resolve().parents[2])
    out = dict(os.environ) | {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    out["PYTHONPATH"] = os.pathsep.join([package_root, *filter(None, [out.get("PYTHONPATH")])])
    return out


def _last_words(log: str) -> str:
    """The most telling line of a broken-down child's log: a failed check, an exception, a signal, else the last one."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for sign in ("Check failed", "Error: ", "Fatal", "*** SIG"):
        telling = [line for line in lines if sign in line]
        if telling:
            return telling[-1][:300]
    return lines[-1][:300] if lines else "it said nothing"


def _report(line: bytes, progress: Progress) -> None:
    """A line of the child that is no progress report (a library's own chatter) is passed over."""
    try:
        said = json.loads(line)
        stage, fraction = str(said["stage"]), float(said["fraction"])
    except (ValueError, KeyError, TypeError):
        return
    progress(stage, fraction)

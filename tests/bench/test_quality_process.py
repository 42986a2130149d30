# SPDX-License-Identifier: Apache-2.0
"""The measurement with real training processes: results, a failure, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparse3d.cli.main import main
from tests.bench.helpers import write_scene
from tests.train import tiny

NAMES = [camera.name for camera in tiny.cameras()]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scenes") / "Szene é 1")


def test_real_runs_and_one_that_fails(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = write_scene(tmp_path / "cut")
    photo = bad / NAMES[4]
    photo.write_bytes(photo.read_bytes()[:-200])
    words = ["bench", "quality", str(scene), str(bad), "--protocol", "every8", "--seeds", "1", "--out",
             str(tmp_path / "q"), "--json", "--", "--steps", "5", "--threads", "1"]  # fmt: skip
    assert main(words) == 1
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    good, failed = result["cells"]
    assert good["ok"], good
    assert good["psnr"] > 5
    assert good["peak_rss_mb"] > 50
    assert good["seconds"]["total"] > 0
    assert not failed["ok"]
    assert NAMES[4] in failed["why"]
    assert failed["why"].endswith("(exit code 3)")
    assert "1 of 2: Szene é 1, 3 views, seed 0: PSNR" in captured.err
    assert "protocol: adapted: Szene é 1 is not one of" in captured.err
    assert (tmp_path / "q" / "runs" / good["cell"] / "splat.ply").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_ctrl_c_ends_the_run_and_keeps_what_is_there(scene: Path, tmp_path: Path, repo: Path) -> None:
    out = tmp_path / "q"
    words = ["bench", "quality", str(scene), "--protocol", "every8", "--seeds", "2", "--out", str(out), "--", "--steps",
             "1000000", "--threads", "1"]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "sparse3d", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=repo,
        env={**os.environ, "PYTHONPATH": str(repo)},
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Szene"):
            break
    # The child has the run folder's lock once it is under way.
    lock = out / "runs" / "Szene_é_1-3v-s0" / "lock"
    while not lock.is_file() and process.poll() is None:
        time.sleep(0.02)
    pid = int(lock.read_text())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "go on with the same command and --out" in err
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

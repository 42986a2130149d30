# SPDX-License-Identifier: Apache-2.0
"""torch's OpenMP threads sleep while they wait, for library users as well, unless the user wants it otherwise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def wait_policy(code: str, repo: Path, **variables: str) -> tuple[str, str]:
    """OMP_WAIT_POLICY in the environment of a fresh interpreter that ran `code`, and what OpenMP took from it ("" where
    this system's OpenMP does not say)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport os\nprint(os.environ['OMP_WAIT_POLICY'])"],
        cwd=repo,
        env={**environment, "OMP_DISPLAY_ENV": "true", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    shown = re.search(r"OMP_WAIT_POLICY\s*=\s*'(\w+)'", out.stderr)
    return out.stdout.split()[-1], shown[1] if shown else ""


@pytest.mark.parametrize(
    "code", ["import sparse3d, torch", "import sparse3d.kernels", "from sparse3d.render import render"]
)
def test_importing_sparse3d_first_lets_openmp_sleep(repo: Path, code: str) -> None:
    found, taken = wait_policy(code, repo)
    assert found == "PASSIVE"
    assert taken in ("PASSIVE", "")
    assert taken or sys.platform != "linux", "libgomp no longer says what it took: is torch built with another OpenMP?"


def test_the_users_value_wins(repo: Path) -> None:
    found, taken = wait_policy("import sparse3d, torch", repo, OMP_WAIT_POLICY="ACTIVE")
    assert found == "ACTIVE"
    assert taken in ("ACTIVE", "")


PICTURE = """
import torch, sys
from pathlib import Path
import numpy as np
from sparse3d.camera import Camera
from sparse3d.kernels.cpu import set_threads
from sparse3d.render import render
from sparse3d.splats import Splats

def threads():
    return len(list(Path("/proc/self/task").iterdir()))

torch.set_num_threads(4)
set_threads(1)
n = 40_000
grid = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (n, 3)).astype(np.float32))
splats = Splats(
    means=grid, quats_wxyz=torch.from_numpy(np.tile(np.float32([1, 0, 0, 0]), (n, 1))),
    log_scales=torch.from_numpy(np.full((n, 3), -4.0, np.float32)),
    logit_opacities=torch.from_numpy(np.zeros(n, np.float32)),
    sh0=torch.from_numpy(np.zeros((n, 1, 3), np.float32)), shN=torch.from_numpy(np.zeros((n, 0, 3), np.float32)),
)
pose = np.eye(4)
pose[2, 3] = 3.0
camera = Camera(640, 480, 500.0, 500.0, 320.0, 240.0, pose)
render(splats.select(torch.arange(4)), Camera(8, 8, 5.0, 5.0, 4.0, 4.0, pose))
before = threads()
render(splats, camera)
own = threads() - before
torch.ones(640 * 480 * 8).add_(1.0)
print(own, threads() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_a_picture_starts_no_thread_of_torch(repo: Path) -> None:
    """Threads of torch spin after each call, if it was imported before sparse3d could say otherwise."""
    out = subprocess.run([sys.executable, "-c", PICTURE], cwd=repo, capture_output=True, text=True, check=True)
    by_picture, by_torch = map(int, out.stdout.split())
    assert by_torch > 0, "torch started no thread for a large sum either: the test can't fail"
    assert by_picture == 0

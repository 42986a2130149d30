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
